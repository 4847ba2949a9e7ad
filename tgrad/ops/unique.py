"""Unique elements: sort, number the runs of equal neighbours, keep the start of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import Spec, composite, op
from tgrad.ops.extrema import pick, place
from tgrad.ops.reduction import _any  # pyright: ignore[reportPrivateUsage]
from tgrad.ops.scan import _cumsum, _shift  # pyright: ignore[reportPrivateUsage]
from tgrad.ops.sort import _sort  # pyright: ignore[reportPrivateUsage]
from tgrad.ops.view import normalize_dim

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _differs(x: Tensor) -> Spec:
    """Whether each element differs from the one before it along dim 0; the first does not."""
    return Spec(x.shape, dtypes.bool_)


@op(spaces=())
def _lexsort(x: Tensor) -> Spec:
    """The order that sorts the rows of a matrix, first column first; equal rows keep theirs."""
    return Spec(x.shape[:1], dtypes.int64)


@op(spaces=())
def _run_starts(x: Tensor, count: int) -> Spec:
    """Where each of ``count`` runs starts, from the number of the run that each element is in."""
    return Spec((count,), dtypes.int64)


def _runs(x: Tensor, wants_counts: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """(starts of runs of equal rows of x, the number of each row's run, lengths of runs)."""
    n = x.shape[0]
    new = _differs(x)
    if x.ndim == 2:
        new = _any(new, (1,), False)
    run = _cumsum(new, 0, False, dtypes.int64)
    count = int(run[-1].item()) + 1 if n else 0
    starts = _run_starts(run, count)
    lengths = _shift(starts, 0, -1, float(n)) - starts if wants_counts else None  # pyright: ignore[reportOperatorIssue]
    return starts, run, lengths


def _rows_at(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows] of a vector or a matrix."""
    if x.ndim == 1:
        return pick(x, rows, 0)
    return pick(x, rows.reshape(-1, 1).expand(rows.shape[0], x.shape[1]), 0)


def _as_rows(name: str, input: Tensor, dim: int | None) -> tuple[Tensor, tuple[int, ...]]:
    """The input as a vector, or with ``dim`` as a matrix of its slices, and the slices' shape."""
    input = input.detach()
    if input.dtype.is_complex:
        raise RuntimeError(f"{name}: complex dtypes have no order, got {input.dtype.name}")
    if dim is None:
        return input.reshape(-1), ()
    if not input.shape:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    axis = normalize_dim(name, dim, input.ndim)
    first = input.permute(axis, *[i for i in range(input.ndim) if i != axis])
    if 0 in first.shape[1:]:
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be "
            "applied"
        )
    return first.reshape(first.shape[0], math.prod(first.shape[1:])), first.shape[1:]


def _result(
    values: Tensor,
    shape: tuple[int, ...],
    dim: int | None,
    inverse: Tensor | None,
    counts: Tensor | None,
) -> Tensor | tuple[Tensor, ...]:
    if dim is not None:
        values = values.reshape(values.shape[0], *shape)
        axis = dim % values.ndim
        values = values.permute(*range(1, axis + 1), 0, *range(axis + 1, values.ndim))
    results = (values, *(a for a in (inverse, counts) if a is not None))
    return results if len(results) > 1 else values


@composite
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The distinct elements in ascending order, or the distinct slices along ``dim``.

    ``return_inverse`` adds where each element is in the result, ``return_counts`` how often each
    one appears. No two NaN are equal. Sorted whatever ``sorted`` says; no gradient.
    Raises: IndexError for a dim out of range, RuntimeError for slices without elements.
    """
    x, shape = _as_rows("unique", input, dim)
    if x.ndim == 1:
        ordered, order = _sort(x, 0, False, x.shape[0])
    else:
        order = _lexsort(x)
        ordered = _rows_at(x, order)
    starts, run, counts = _runs(ordered, return_counts)
    inverse = None
    if return_inverse:
        inverse = place(run, order, 0, x.shape[0])
        inverse = inverse.reshape(input.shape) if dim is None else inverse
    return _result(_rows_at(ordered, starts), shape, dim, inverse, counts)


@composite
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The first of each run of equal elements, or slices along ``dim``; see :func:`unique`."""
    x, shape = _as_rows("unique_consecutive", input, dim)
    starts, run, counts = _runs(x, return_counts)
    inverse = run if return_inverse else None
    if inverse is not None and dim is None:
        inverse = inverse.reshape(input.shape)
    return _result(_rows_at(x, starts), shape, dim, inverse, counts)
