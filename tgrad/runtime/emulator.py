"""A GPU on host memory: Triton's interpreter runs the kernels' own source.

Chosen by ``TRITON_INTERPRET=1``. Arrays are still :class:`CudaArray` and still do not answer to
NumPy, so a program or test written for ``cuda`` runs here unchanged.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad.runtime import memory, pinned
from tgrad.runtime.array import CudaArray, contiguous_strides
from tgrad.runtime.current import here
from tgrad.runtime.host_driver import HostDriver
from tgrad.runtime.pool import HostPool, OutOfMemoryError, Rows, Totals, readable
from tgrad.runtime.stream import forbid_capture, waits_for_gpu


class HostMemory:
    """The host's allocator with the face of a GPU's pool: its counters, peaks and limit."""

    def __init__(self) -> None:
        self.baseline: dict[str, int] = {}
        self.limit: int | None = None
        self.retries = self.ooms = 0

    @property
    def totals(self) -> Totals:
        found, allocator = Totals(), memory.allocator
        found.allocated, found.reserved = allocator.allocated(), allocator.reserved
        found.peak = allocator.peak = max(allocator.peak, found.allocated)
        found.peak_reserved = allocator.peak_reserved
        found.retries, found.ooms = self.retries, self.ooms
        return found

    def rows(self) -> Rows:
        """What is held and kept; the host counts no past."""
        return [(size, (held, held), (held, held), (there, there))
                for size, there, held in memory.allocator.counts()]  # fmt: skip

    def reset_peaks(self) -> None:
        allocator = memory.allocator
        allocator.exact_peak = True
        allocator.peak, allocator.peak_reserved = allocator.allocated(), allocator.reserved

    def check(self, nbytes: int) -> None:
        """Raise OutOfMemoryError if ``nbytes`` more would pass the limit."""
        allocator = memory.allocator
        if self.limit is None or allocator.reserved + nbytes <= self.limit:
            return
        self.retries += 1
        allocator.release()
        if allocator.reserved + nbytes > self.limit:
            self.ooms += 1
            raise OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {readable(nbytes)}. The emulated GPU may "
                f"use {readable(self.limit)}; {readable(allocator.allocated())} are allocated."
            )


class Emulator:
    """One device. The methods are the interface that the driver's runtime has too.

    Work on a stream that a CUDA graph is captured from is kept, with the arrays that it names, and
    runs when the graph is replayed; all other work is done when a call returns.
    """

    is_emulated = True
    name = "emulated (Triton interpreter)"

    def __init__(self) -> None:
        self.driver = HostDriver()
        self.pinned = HostPool(self.driver, contextlib.nullcontext)
        self.memory = HostMemory()

    def pool(self, index: int) -> HostMemory:
        return self.memory

    def device_count(self) -> int:
        return 1

    def enter(self, index: int) -> contextlib.AbstractContextManager:
        """Inside, the device's context is current; here there is none."""
        return contextlib.nullcontext()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
        if self.memory.limit is not None:
            self.memory.check(math.prod(shape) * dtype.itemsize)
        block = memory.empty(shape, dtype)
        strides = contiguous_strides(shape, dtype.itemsize)
        return CudaArray(block, block.ctypes.data, shape, strides, dtype)

    def to_host(self, a: CudaArray, non_blocking: bool = False) -> np.ndarray:
        """A host copy with ``a``'s shape, contiguous; page-locked if ``non_blocking``."""
        if non_blocking:
            out = pinned.empty(a.shape, a.dtype)
            self.copy_to_host(out, a)
            return out
        waits_for_gpu(
            "Reading a CUDA tensor on the host (.cpu(), .item(), .tolist(), printing, a mask as an "
            "index, an op without a CUDA kernel)"
        )
        return self._window(a).copy()

    def from_host(self, a: np.ndarray, non_blocking: bool = False) -> CudaArray:
        """A contiguous device copy."""
        out = self.empty(a.shape, a.dtype)
        self.copy_from_host(out, a)
        return out

    def copy_from_host(self, out: CudaArray, a: np.ndarray) -> None:
        """Copy in stream order. A graph copies what ``a`` holds now at every replay, or from
        page-locked memory what it holds then."""
        if self.driver.capture_status(here.place.stream) and not pinned.is_pinned(a):
            a = a.copy()
        self._submit(lambda: np.copyto(self._window(out), a, casting="unsafe"))

    def copy_to_host(self, out: np.ndarray, a: CudaArray) -> None:
        """Copy into page-locked memory in stream order, without waiting for it."""
        self._submit(lambda: np.copyto(out, self._window(a)))

    def synchronize(self, index: int = 0) -> None:
        """Nothing is ever pending here."""
        forbid_capture("synchronize()")

    def empty_cache(self) -> None:
        """Give memory that nobody holds back to the system."""
        memory.allocator.release()
        self.pinned.release()

    def launch(
        self, kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict, **options: int
    ) -> None:
        """Run ``kernel`` once per grid cell; ``options`` (warps, stages) mean nothing here."""
        del options
        if 0 in grid:
            return
        pointers = [
            _Pointer(a) if isinstance(a, CudaArray)
            else int(a) if isinstance(a, bool)  # which Triton 3.6 makes 32 bits wide and refuses
            else a
            for a in args
        ]  # fmt: skip

        def run() -> None:
            with np.errstate(all="ignore"):  # masked-off lanes compute on zeros
                kernel[grid](*pointers, **constants)

        self._submit(run)

    def _submit(self, work: Callable[[], None]) -> None:
        self.driver.submit(here.place.stream, work)

    @staticmethod
    def _window(a: CudaArray) -> np.ndarray:
        """Host view of device memory; may outlive nothing, so it never leaves this class."""
        low = sum(s * (n - 1) for n, s in zip(a.shape, a.strides, strict=True) if s < 0)
        high = sum(s * (n - 1) for n, s in zip(a.shape, a.strides, strict=True) if s > 0)
        if a.size == 0:
            return np.empty(a.shape, a.dtype)
        memory = (ctypes.c_char * (high - low + a.itemsize)).from_address(a.ptr + low)
        return np.ndarray(a.shape, a.dtype, memory, -low, a.strides)  # pyright: ignore[reportArgumentType]


class _Pointer:
    """The methods of a torch.Tensor that Triton's interpreter asks of a pointer argument."""

    def __init__(self, a: CudaArray):
        import triton.language as tl

        self.array = a
        self.dtype = (
            tl.int1 if a.dtype == np.bool_ else getattr(tl, _TRITON.get(a.dtype.name, a.dtype.name))
        )

    def data_ptr(self) -> int:
        return self.array.ptr

    def untyped_storage(self) -> _Pointer:
        return self

    def cpu(self) -> _Pointer:
        return self

    def copy_(self, other: _Pointer) -> None:
        """Host and device memory are the same."""

    def new_empty(self, *shape: Any, **options: Any) -> _Pointer:
        return _Pointer(self.array)

    def set_(self, *storage: Any) -> None:
        """Already set."""

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return self.array.strides


_TRITON = {"bool": "int1"}
