"""Copies with conversion, by the pointwise kernel of the identity."""

from __future__ import annotations

from tgrad.dispatch import kernel
from tgrad.dtypes import from_numpy_dtype
from tgrad.kernels.cuda import pointwise
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


def identity(x):
    return x


@kernel("copy", "cuda")
def copy(y, x, dtype=None):
    pointwise.launch_expression(identity, [y], [x], from_numpy_dtype(x.dtype))


@kernel("_overwrite", "cuda")
def _overwrite(y, x, source):
    same = source.ptr == y.ptr and source.strides == y.strides and source.shape == y.shape
    if source.owner is y.owner and not same and meet(y, source):
        # Programs run in any order: elements must be read before any of them is written.
        fresh = cuda.empty(source.shape, source.dtype)
        copy(fresh, source)
        source = fresh
    copy(y, source)


def meet(a: CudaArray, b: CudaArray) -> bool:
    """Whether the stretches of memory that two arrays span overlap."""
    (low_a, high_a), (low_b, high_b) = span(a), span(b)
    return low_a < high_b and low_b < high_a


def span(a: CudaArray) -> tuple[int, int]:
    steps = [s * (n - 1) for n, s in zip(a.shape, a.strides, strict=True)]
    low, high = sum(s for s in steps if s < 0), sum(s for s in steps if s > 0)
    return a.ptr + low, a.ptr + high + a.itemsize
