"""A GPU without memory that writes down what it is asked to launch and computes nothing.

With it in the place of the driver's runtime, the ordinary dispatcher runs ops at the sizes of real
models on a machine without a GPU, and every kernel can be compiled for the arguments, constants
and options it would have been launched with. Chosen by :func:`recording`, never by a user.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tgrad.runtime import cuda, plan
from tgrad.runtime.array import CudaArray, contiguous_strides

ALIGN = 512  # bytes: what a driver's allocations start on
FIRST = 1 << 44  # no address of the host, so that a stray read would fault


class Launch(NamedTuple):
    """One launch. ``args`` are the runtime arguments in order: arrays, ints and floats."""

    op: str
    kernel: Any
    grid: tuple[int, ...]
    args: tuple[CudaArray | int | float, ...]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int


class Block:
    """What owns an array: an address, and the contents where the host gave them."""

    __slots__ = ("contents", "ptr", "size")

    def __init__(self, ptr: int, size: int, contents: np.ndarray | None):
        self.ptr, self.size, self.contents = ptr, size, contents


class Recorder:
    """One device of the runtime's interface. What is read back from it and was never written
    from the host is all ones, so that counts that decide a later launch are not zero.
    """

    is_emulated = False
    name = "recorder (nothing is computed)"

    def __init__(self, arch: int = 90) -> None:
        self.arch = arch  # 90 for sm_90
        self.launches: list[Launch] = []
        self.op = ""  # whoever runs ops names them here
        self.next = FIRST

    def device_count(self) -> int:
        return 1

    def empty(
        self, shape: tuple[int, ...], dtype: np.dtype, contents: np.ndarray | None = None
    ) -> CudaArray:
        nbytes = math.prod(shape) * dtype.itemsize
        block = Block(self.next, nbytes, contents)
        self.next += -(-max(nbytes, 1) // ALIGN) * ALIGN
        return CudaArray(block, block.ptr, shape, contiguous_strides(shape, dtype.itemsize), dtype)

    def to_host(self, a: CudaArray, non_blocking: bool = False) -> np.ndarray:
        known = a.owner.contents if isinstance(a.owner, Block) else None
        if known is not None and (known.shape, known.dtype) == (a.shape, a.dtype):
            return known.copy()
        return np.ones(a.shape, a.dtype)

    def from_host(self, a: np.ndarray, non_blocking: bool = False) -> CudaArray:
        return self.empty(a.shape, a.dtype, a.copy())

    def copy_from_host(self, out: CudaArray, a: np.ndarray) -> None:
        """Nothing to write to."""

    def synchronize(self, index: int | None = None) -> None:
        """Nothing is ever pending here."""

    def launch(
        self, kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict, **options: int
    ) -> None:
        if 0 in grid:
            return
        warps, stages = options["num_warps"], options["num_stages"]
        self.launches.append(Launch(self.op, kernel, grid, args, constants, warps, stages))


@contextlib.contextmanager
def recording(arch: int = 90) -> Iterator[Recorder]:
    """Make a new :class:`Recorder` of sm_``arch`` the active runtime inside the ``with`` block.

    ``arch`` 0 records what the emulator would run. Raises: RuntimeError for any other under
    ``TRITON_INTERPRET=1``, where kernels are not what a GPU runs.
    """
    if cuda.is_emulated() and arch:
        raise RuntimeError("recording: kernels are emulated here; start with TRITON_INTERPRET=0")
    before, cuda._active = cuda._active, Recorder(arch)  # pyright: ignore[reportAttributeAccessIssue]
    planned = plan.enable(False)  # a replay would go to the GPU
    try:
        yield cuda._active  # pyright: ignore[reportReturnType]
    finally:
        cuda._active = before
        plan.enable(planned)
