"""What a Tensor holds: an ``np.ndarray`` on the CPU, a :class:`CudaArray` on a GPU.

Both are a pointer, a shape, strides in bytes and an owner of the memory, and both answer to
``transpose``, ``reshape`` and basic ``[...]`` with a view that shares it; :func:`as_strided`
covers the rest. View ops are written once against these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class CudaArray:
    """Strided memory on a GPU. It does not answer to NumPy; ``runtime.cuda`` copies it.

    ``owner`` frees the memory when the last array over it goes. ``strides`` are in bytes as
    NumPy's are; ``steps`` are the same in elements, as kernels take them.
    """

    __slots__ = ("device", "dtype", "layout", "owner", "ptr", "shape", "size", "strides")

    def __init__(
        self,
        owner: object,
        ptr: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype,
        device: int = 0,
    ):
        self.owner, self.ptr, self.shape, self.strides = owner, ptr, shape, strides
        self.dtype, self.device = dtype, device
        self.size = math.prod(shape)
        self.layout: Any = None  # runtime.plan's, once it has looked for it

    ndim = property(lambda self: len(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    steps = property(lambda self: tuple(s // self.dtype.itemsize for s in self.strides))

    @property
    def T(self) -> CudaArray:
        return self.transpose()

    @property
    def is_contiguous(self) -> bool:
        return self.size == 0 or _is_contiguous(self.shape, self.strides, self.dtype.itemsize)

    def restride(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> CudaArray:
        """The same memory, ``offset`` bytes on, seen with another shape and strides."""
        return CudaArray(self.owner, self.ptr + offset, shape, strides, self.dtype, self.device)

    def transpose(self, *axes: Any) -> CudaArray:
        order = axes[0] if len(axes) == 1 else axes or range(self.ndim)[::-1]
        shape = tuple(self.shape[i] for i in order)
        return self.restride(shape, tuple(self.strides[i] for i in order), 0)

    def reshape(self, *shape: Any) -> CudaArray:
        """A view; ValueError where only a copy could have that shape."""
        new = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        strides = reshape_strides(self.shape, self.strides, new, self.dtype.itemsize)
        if strides is None:
            raise ValueError(f"cannot view {self.shape} with strides {self.strides} as {new}")
        return self.restride(new, strides, 0)

    def view(self, dtype: np.dtype) -> CudaArray:
        """The same bits read as another dtype of the same size."""
        assert dtype.itemsize == self.dtype.itemsize
        return CudaArray(self.owner, self.ptr, self.shape, self.strides, dtype, self.device)

    def __getitem__(self, index: Any) -> CudaArray:
        """Basic indexing: ints, slices, None and Ellipsis, already checked."""
        index = index if isinstance(index, tuple) else (index,)
        given = sum(i is not None and i is not Ellipsis for i in index)
        if Ellipsis not in index:
            index = (*index, Ellipsis)
        shape, strides, offset, axis = [], [], 0, 0
        for i in index:
            if i is None:
                shape.append(1)
                strides.append(0)
            elif i is Ellipsis:
                rest = self.ndim - given
                shape += self.shape[axis : axis + rest]
                strides += self.strides[axis : axis + rest]
                axis += rest
            elif isinstance(i, slice):
                start, stop, step = i.indices(self.shape[axis])
                length = len(range(start, stop, step))
                offset += start * self.strides[axis] if length else 0
                shape.append(length)
                strides.append(step * self.strides[axis])
                axis += 1
            else:
                offset += (i % self.shape[axis]) * self.strides[axis]
                axis += 1
        return self.restride(tuple(shape), tuple(strides), offset)

    def __repr__(self) -> str:
        return f"CudaArray({self.shape}, {self.dtype}, device={self.device}, ptr={self.ptr:#x})"


Array = np.ndarray | CudaArray


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True


def is_contiguous(a: Array) -> bool:
    """Whether the elements lie in row-major order without gaps."""
    return a.flags.c_contiguous if isinstance(a, np.ndarray) else a.is_contiguous


def contiguous_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Row-major strides in bytes."""
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def as_strided(
    a: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> Array:
    """View ``a``'s memory, ``offset`` bytes after its first element, with strides in bytes.

    The caller vouches that every element lies inside the memory of ``a``'s owner.
    """
    if isinstance(a, CudaArray):
        return a.restride(shape, strides, offset)
    block = a.base
    if type(block) is np.ndarray and block.dtype == np.uint8 and block.ndim == 1:
        # Laid over an allocator block: 0.8 us, where NumPy's as_strided takes 5.
        start = a.__array_interface__["data"][0] - block.__array_interface__["data"][0] + offset
        return np.ndarray(shape, a.dtype, block, start, strides)  # pyright: ignore[reportArgumentType]
    if offset == 0 and a.dtype.char in _PLAIN and a.flags.c_contiguous:
        try:
            return np.ndarray(shape, a.dtype, a, 0, strides)  # pyright: ignore[reportArgumentType]
        except ValueError:  # a window past the end of `a`, into the memory that it is a part of
            pass
    if offset or 0 in a.shape:
        a = np.lib.stride_tricks.as_strided(a, a.shape or (1,), a.strides or (0,))
        holder = _Strided(a, shape, strides, offset)
        return np.asarray(holder).view(a.dtype)  # the interface knows bfloat16 as 2 bytes only
    return np.lib.stride_tricks.as_strided(a, shape, strides)


_PLAIN = "?bBhilqfdFD"  # dtypes that Python's buffers know


class _Strided:
    """NumPy's array interface around existing memory, for offsets before the first element."""

    def __init__(self, a: np.ndarray, shape: tuple, strides: tuple, offset: int):
        self.base = a
        self.__array_interface__ = {
            **a.__array_interface__,
            "data": (a.__array_interface__["data"][0] + offset, False),
            "shape": shape,
            "strides": strides,
        }


def expand(a: Array, shape: tuple[int, ...]) -> Array:
    """``a`` broadcast to ``shape`` by strides of 0."""
    extra = len(shape) - len(a.shape)
    strides = (0,) * extra + tuple(
        0 if n == 1 and m != 1 else s
        for n, m, s in zip(a.shape, shape[extra:], a.strides, strict=True)
    )
    return as_strided(a, shape, strides)


def reshape_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Strides that show the same elements with shape ``new``, or None where only a copy could.

    Axes that are contiguous with each other form one run; a new axis may split a run but not
    join two.
    """
    if math.prod(shape) == 0:
        return contiguous_strides(new, itemsize)
    runs: list[tuple[int, int]] = []  # (elements, stride of the innermost), innermost first
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n == 1:
            continue
        if runs and s == runs[-1][0] * runs[-1][1]:
            runs[-1] = (runs[-1][0] * n, runs[-1][1])
        else:
            runs.append((n, s))
    result, run = [], 0
    left, step = runs[0] if runs else (1, itemsize)
    for n in reversed(new):
        if n == 1:
            result.append(step)
            continue
        if left == 1:
            run += 1
            left, step = runs[run]
        if left % n:
            return None
        result.append(step)
        left, step = left // n, step * n
    return tuple(reversed(result))
