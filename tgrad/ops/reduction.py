"""Reductions over one, several or all dims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import Spec, composite, gradient, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


def normalize_dims(name: str, ndim: int, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """``dim`` as sorted non-negative axes; None and () mean all.

    Raises IndexError out of range, RuntimeError for a dim given twice.
    """
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    span = max(ndim, 1)
    for d in dims:
        if not -span <= d < span:
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [{-span}, {span - 1}],"
                f" but got {d})"
            )
    axes = sorted(d % span for d in dims)
    for a, b in zip(axes, axes[1:]):  # noqa: B905 - pairs
        if a == b:
            raise RuntimeError(f"{name}: dim {a} appears multiple times in the list of dims")
    return tuple(axes) if ndim else ()


def reduced(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def restore(g: Tensor, x_spec: Spec, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """``g`` with the reduced dims back in as size 1."""
    return g if keepdim else g.reshape(reduced(x_spec.shape, dim, True))


@op(spaces=())
def _sum(x: Tensor, dim: tuple[int, ...], keepdim: bool, dtype: dtype) -> Spec:
    """Sum over the axes ``dim``, accumulated in float32 or wider; exact for integers."""
    return Spec(reduced(x.shape, dim, keepdim), dtype)


@gradient(_sum)
def _(g, x_spec, dim, keepdim):
    return restore(g, x_spec, dim, keepdim).expand(x_spec.shape)


@composite
def sum(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """Sum over ``dim``, or over everything.

    dtype: integers and bool sum to int64, all others keep theirs unless ``dtype`` is given.
    Raises: IndexError for a dim out of range, RuntimeError for one given twice.
    """
    axes = normalize_dims("sum", input.ndim, dim)
    if dtype is None:
        dtype = dtypes.int64 if input.dtype.category < dtypes.FLOAT else input.dtype
    return _sum(input, axes, keepdim, dtype)
