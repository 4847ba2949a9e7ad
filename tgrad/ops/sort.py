"""Sorting and what is read off sorted rows: k largest, median, mode. NaN sorts last, as largest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes, return_types
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.extrema import argmax, pick, place
from tgrad.ops.reduction import (
    _sum,  # pyright: ignore[reportPrivateUsage]
    check_flag,
    check_not_empty,
    single_dim,
    with_out,
)
from tgrad.pointwise import pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- sorting -------------------------------------------------------------------------------------


@op(spaces=())
def _sort(x: Tensor, dim: int, descending: bool, k: int) -> tuple[Spec, Spec]:
    """The first k of x sorted along ``dim``, and where they were; equal ones keep their order."""
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :]) if x.shape else ()
    return Spec(shape, x.dtype), Spec(shape, dtypes.int64)


@gradient(_sort)
def _(g0, y1, x_spec, dim):
    return place(g0, y1, dim, x_spec.shape[dim]) if x_spec.shape else g0


def _rows(name: str, input: Tensor, dim: int) -> tuple[int, int]:
    """The dim, and how many elements lie along it."""
    if input.dtype.is_complex:
        raise RuntimeError(f"{name}: complex dtypes have no order, got {input.dtype.name}")
    axis = single_dim(name, input.ndim, dim)
    return axis, input.shape[axis] if input.shape else 1


@composite
@with_out
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> return_types.sort:
    """``(values, indices)`` in ascending (or descending) order along ``dim``.

    Always stable: equal elements keep their order, whatever ``stable`` says. NaN counts as larger
    than any number.
    Raises: IndexError for a dim out of range, RuntimeError for complex dtypes.
    """
    axis, n = _rows("sort", input, dim)
    return return_types.sort(*_sort(input, axis, bool(descending), n))


@composite
@with_out
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along ``dim``; see :func:`sort`. dtype: int64."""
    axis, n = _rows("argsort", input, dim)
    return _sort(input, axis, bool(descending), n)[1]


@composite
@with_out
def msort(input: Tensor) -> Tensor:
    """The input sorted along its first dim."""
    axis, n = _rows("msort", input, 0)
    return _sort(input, axis, False, n)[0]


@composite
@with_out
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> return_types.topk:
    """``(values, indices)`` of the k largest (or smallest) along ``dim``, sorted either way.

    Of equal elements the first count. Raises: RuntimeError unless 0 <= k <= n, or for bool;
    IndexError for a dim out of range.
    """
    axis, n = _rows("topk", input, dim)
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"topk(): argument 'k' must be int, not {type(k).__name__}")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("topk does not support bool dtypes")
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: selected index k out of range: k is {k}, the dim has {n}")
    if not input.shape:
        return return_types.topk(*_sort(input, axis, False, 1))
    return return_types.topk(*_sort(input, axis, bool(largest), k))


# ---- order statistics ----------------------------------------------------------------------------


def _at(
    found: tuple[Tensor, Tensor], position: Tensor, dim: int, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """Sorted values and their indices at ``position``, which has size 1 along ``dim``."""
    values, indices = pick(found[0], position, dim), pick(found[1], position, dim)
    if not keepdim:
        shape = (*values.shape[:dim], *values.shape[dim + 1 :])
        values, indices = values.reshape(shape), indices.reshape(shape)
    return values, indices


@composite
@with_out
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.kthvalue:
    """``(values, indices)`` of the k-th smallest element along ``dim``, k from 1.

    Raises: RuntimeError for k out of range, IndexError for a dim out of range.
    """
    axis, n = _rows("kthvalue", input, dim)
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    found = _sort(input, axis, False, k)
    if not input.shape:
        return return_types.kthvalue(*found)
    values, indices = (a.narrow(axis, k - 1, 1) for a in found)
    if not check_flag("kthvalue", keepdim):
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    return return_types.kthvalue(values, indices)


@pointwise(spaces=())
def _is_nan(x):
    """1 where x is NaN, else 0."""
    return xp.where(x != x, 1, 0)


@pointwise(spaces=(), accepts="int")
def _middle(nans, n: int, middle: int):
    """Where the median is among n sorted elements: the lower middle, or the first NaN."""
    return xp.where(nans > 0, n - nans, middle)


@pointwise(spaces=(), accepts="int")
def _middle_number(nans, n: int):
    """Where the median of the numbers is among n sorted elements, ``nans`` of them NaN."""
    return xp.where(nans < n, xp.bitwise_right_shift(n - nans - 1, 1), 0)


def _median(name: str, input: Tensor, dim: int | None, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The middle of what :func:`_sort` gives, chosen by the count of NaN at the end."""
    if dim is None:
        input, dim = input.reshape(-1), 0
    axis, n = _rows(name, input, dim)
    check_not_empty(name, input.shape, (axis,), False)
    found = _sort(input, axis, False, n)
    if not input.shape:
        return found
    with_nan = input.dtype.is_floating_point
    flags = _is_nan(input.detach()) if with_nan else input.detach()
    nans = _sum(flags, (axis,), True, dtypes.int64)
    nans = nans if with_nan else nans * 0
    middle = _middle(nans, n, (n - 1) // 2) if name == "median" else _middle_number(nans, n)
    return _at(found, middle, axis, keepdim)


@composite
@with_out
def median(
    input: Tensor, dim: int | None = None, keepdim: bool = False
) -> Tensor | return_types.median:
    """The lower median of all, or ``(values, indices)`` along ``dim``; NaN where there is one.

    The gradient goes to the element returned.
    Raises: IndexError where the dim is empty or out of range.
    """
    return _median_overload("median", input, dim, keepdim)


@composite
@with_out
def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False
) -> Tensor | return_types.nanmedian:
    """The :func:`median` of the elements that are not NaN; NaN where there are none."""
    return _median_overload("nanmedian", input, dim, keepdim)


def _median_overload(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if dim is None and input.numel() == 0:
        return input.new_full((), float("nan"))
    values, indices = _median(name, input, dim, check_flag(name, keepdim))
    if dim is None:
        return values
    return (return_types.median if name == "median" else return_types.nanmedian)(values, indices)


@op(spaces=())
def _run_lengths(x: Tensor, dim: int) -> Spec:
    """How many of the elements just before each, itself included, equal it along ``dim``."""
    return Spec(x.shape, dtypes.int64)


@composite
@with_out
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.mode:
    """``(values, indices)`` of the most frequent element along ``dim``, the smallest of several.

    The index is that of its last appearance. Raises: IndexError where the dim is empty.
    """
    axis, n = _rows("mode", input, dim)
    check_not_empty("mode", input.shape, (axis,), False)
    found = _sort(input, axis, False, n)
    if not input.shape:
        return return_types.mode(*found)
    at = argmax(_run_lengths(found[0].detach(), axis), axis, True)
    return return_types.mode(*_at(found, at, axis, check_flag("mode", keepdim)))
