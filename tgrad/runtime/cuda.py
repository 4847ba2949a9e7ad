"""The active GPU runtime: NVIDIA's driver, or the emulator if ``TRITON_INTERPRET=1`` asks for it.

Kernels reach the device through :func:`launch`, everything else through :func:`active`. Nothing
here is touched before the first CUDA tensor: initialising the driver breaks later forks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.runtime.array import CudaArray

if TYPE_CHECKING:
    from tgrad.runtime.emulator import Emulator

_active: Emulator | None = None


def is_emulated() -> bool:
    """Whether ``TRITON_INTERPRET=1`` asks for the emulator; read as Triton itself reads it."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def is_available() -> bool:
    """Whether CUDA tensors can be made here."""
    return is_emulated()


def active() -> Emulator:
    """The runtime in use. Raises RuntimeError where there is no GPU and no emulator."""
    global _active
    if _active is None:
        if not is_available():
            raise RuntimeError(
                "Found no NVIDIA GPU that tgrad can use. Set TRITON_INTERPRET=1 before the program "
                "starts to run the same kernels in Triton's interpreter on the CPU."
            )
        from tgrad.runtime.emulator import Emulator

        _active = Emulator()
    return _active


def empty(shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
    """Uninitialised contiguous device memory."""
    return active().empty(shape, dtype)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *args: CudaArray | int | float,
    num_warps: int = 4,
    num_stages: int = 3,
    **constants: Any,
) -> None:
    """Run a ``@triton.jit`` kernel over ``grid`` on the current stream.

    ``args`` are the kernel's runtime arguments in order: arrays (passed as pointers), ints (32 bits
    where they fit), floats (32 bits; ``np.float64`` for 64). ``constants`` are its ``tl.constexpr``
    arguments by name; each set of values is compiled once. An empty grid launches nothing.
    """
    active().launch(kernel, grid, args, constants, num_warps=num_warps, num_stages=num_stages)
