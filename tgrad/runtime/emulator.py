"""A GPU on host memory: Triton's interpreter runs the kernels' own source.

Chosen by ``TRITON_INTERPRET=1``. Arrays are still :class:`CudaArray` and still do not answer to
NumPy, so a program or test written for ``cuda`` runs here unchanged.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tgrad.runtime import memory
from tgrad.runtime.array import CudaArray, contiguous_strides


class Emulator:
    """One device. The methods are the interface that the driver's runtime has too."""

    is_emulated = True
    name = "emulated (Triton interpreter)"

    def device_count(self) -> int:
        return 1

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
        block = memory.empty(shape, dtype)
        strides = contiguous_strides(shape, dtype.itemsize)
        return CudaArray(block, block.ctypes.data, shape, strides, dtype)

    def to_host(self, a: CudaArray) -> np.ndarray:
        """A host copy with ``a``'s shape, contiguous."""
        return self._window(a).copy()

    def from_host(self, a: np.ndarray) -> CudaArray:
        """A contiguous device copy."""
        out = self.empty(a.shape, a.dtype)
        self._window(out)[...] = a
        return out

    def copy_from_host(self, out: CudaArray, a: np.ndarray) -> None:
        self._window(out)[...] = a

    def synchronize(self) -> None:
        """Nothing is ever pending here."""

    def launch(
        self, kernel: Any, grid: tuple[int, ...], args: tuple, constants: dict, **options: int
    ) -> None:
        """Run ``kernel`` once per grid cell; ``options`` (warps, stages) mean nothing here."""
        del options
        if 0 in grid:
            return
        pointers = [_Pointer(a) if isinstance(a, CudaArray) else a for a in args]
        with np.errstate(all="ignore"):  # masked-off lanes compute on zeros
            kernel[grid](*pointers, **constants)

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
