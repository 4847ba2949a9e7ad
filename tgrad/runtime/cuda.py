"""The active GPU runtime: NVIDIA's driver, or the emulator if ``TRITON_INTERPRET=1`` asks for it.

Kernels reach the device through :func:`launch`, everything else through :func:`active`. Nothing
here is touched before the first CUDA tensor: initialising the driver breaks later forks.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import here

if TYPE_CHECKING:
    from tgrad.runtime.gpu import Gpu

_active: Any = None
_lock = threading.Lock()


def is_emulated() -> bool:
    """Whether ``TRITON_INTERPRET=1`` asks for the emulator; read as Triton itself reads it."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def is_available() -> bool:
    """Whether CUDA tensors can be made here. Leaves the driver alone, so that the process may still
    fork."""
    return _active is not None or is_emulated() or count_gpus() > 0


# How many GPUs the driver would offer, asked without NVIDIA's bindings: a tenth of a second less.
COUNT = """
import ctypes
cuda, n = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(n))
print(n.value)
"""


@functools.cache
def count_gpus() -> int:
    """The number of GPUs that the driver would offer to this process; 0 without what is needed.

    Another process asks: only an initialised driver knows (CUDA_VISIBLE_DEVICES, broken driver),
    and this one must not have one yet. Remembered, since it takes a tenth of a second.
    """
    if not all(map(is_installed, ("cuda.bindings", "triton"))) or not has_driver():
        return 0
    command = [sys.executable, "-I", "-S", "-c", COUNT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):  # no interpreter of its own, or a hung driver
        return 0
    return int(done.stdout) if done.returncode == 0 else 0


def device_count() -> int:
    """The number of GPUs; 0 where there is none. Leaves the driver alone."""
    if _active is not None:
        return _active.device_count()
    return 1 if is_emulated() else count_gpus()


def is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def has_driver() -> bool:
    """Whether NVIDIA's driver library is found; loading it initialises nothing."""
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def active() -> Gpu:
    """The runtime in use; the emulator has the same interface.

    Raises: RuntimeError where there is no GPU and no emulator.
    """
    runtime = _active if _active is not None else start()
    sink = here.place.sink
    return runtime if sink is None else sink.watched(runtime)


def start() -> Any:
    """Make the runtime. A failure leaves nothing behind: the next call tries again."""
    global _active
    with _lock:
        if _active is None:
            _active = make()
    return _active


def make() -> Any:
    if is_emulated():
        from tgrad.runtime.emulator import Emulator

        return Emulator()
    try:
        from tgrad.runtime.gpu import Gpu

        return Gpu()
    except (ImportError, RuntimeError) as reason:
        raise RuntimeError(
            f"Found no NVIDIA GPU that tgrad can use ({reason}). Set TRITON_INTERPRET=1 before the "
            "program starts to run the same kernels in Triton's interpreter on the CPU."
        ) from reason


class Forked:
    """The runtime in a child that was forked after CUDA had been initialised: nothing works."""

    is_emulated = False

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you "
            "must use the 'spawn' start method"
        )


def _after_fork() -> None:
    global _active, _lock
    _lock = threading.Lock()  # another thread may have held it
    if _active is not None and not _active.is_emulated:
        _active = Forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
    """Uninitialised contiguous device memory."""
    made = (_active if _active is not None else start()).empty(shape, dtype)
    sink = here.place.sink
    return made if sink is None else sink.allocated(made)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *args: CudaArray | int | float | np.integer,
    num_warps: int = 4,
    num_stages: int = 3,
    **constants: Any,
) -> None:
    """Run a ``@triton.jit`` kernel over ``grid`` on the current stream.

    ``args`` are the kernel's runtime arguments in order: arrays (passed as pointers), ints (32 bits
    where they fit), floats (32 bits; ``np.float64`` for 64). ``constants`` are its ``tl.constexpr``
    arguments by name; each set of values is compiled once. An empty grid launches nothing.
    """
    runtime = _active if _active is not None else start()
    runtime.launch(kernel, grid, args, constants, num_warps=num_warps, num_stages=num_stages)
