"""Histograms with edges, of numbers and of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes, return_types
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.reduction import with_out
from tgrad.ops.search import searchsorted

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def _edges(name: str, x: Tensor, bins: Any, low: float, high: float) -> Tensor:
    """The edges that are given, or ``bins`` equal intervals from ``low`` to ``high``."""
    if isinstance(bins, Variable):
        if bins.ndim != 1 or not bins.numel():
            raise RuntimeError(
                f"{name}(): bins tensor should have one dimension and elements, got "
                f"{list(bins.shape)}"
            )
        if bins.dtype is not x.dtype:
            raise RuntimeError(
                f"{name}(): bins tensor should have dtype {x.dtype.name}, got {bins.dtype.name}"
            )
        return bins.detach()
    if bins < 1:
        raise RuntimeError(f"{name}(): bins must be > 0, but got {bins}")
    return x.new_tensor(np.linspace(low, high, bins + 1), dtype=x.dtype)


def _range(name: str, x: Tensor, range: Sequence[float] | None) -> tuple[float, float]:
    """The bounds given, or those of the elements, as wide as 1 where they are equal."""
    if range is not None:
        low, high = (float(v) for v in range)
    else:
        low, high = (x.min().item(), x.max().item()) if x.numel() else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}(): range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}(): min should not exceed max, but got min {low} max {high}")
    return (low - 0.5, high + 0.5) if low == high and range is None else (low, high)


def _places(x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """(bin of each element, whether it is in one); the last bin holds its upper edge."""
    last = edges.shape[0] - 2
    place = searchsorted(edges, x.contiguous(), right=True) - 1
    place = OPS["where"].function(x == edges[-1], last, place)
    return place.clamp(0, max(last, 0)), (x >= edges[0]) & (x <= edges[-1])


def _weights(name: str, x: Tensor, weight: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if weight is None:
        return x.new_ones(shape)
    if tuple(weight.shape) != shape:
        raise RuntimeError(
            f"{name}(): if weight tensor is provided it should have the same shape as the input "
            f"tensor, got {list(weight.shape)} and {list(shape)}"
        )
    if weight.dtype is not x.dtype:
        raise RuntimeError(f"{name}(): expected weight of dtype {x.dtype.name}")
    return weight.detach()


def _check(name: str, input: Tensor) -> None:
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


@composite
@with_out
def histogram(
    input: Tensor,
    bins: int | Tensor = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogram:
    """(how many elements, or the sum of their weights, in each bin; the edges of the bins).

    ``bins`` are edges in ascending order, or how many equal ones from ``range``, from the smallest
    to the largest element where not given. A bin holds its lower edge, the last one both. Elements
    outside do not count. ``density`` divides by the total and the widths.
    Shape: any -> (B), (B + 1). dtype: the input's. Without gradient.
    Raises: RuntimeError for bins or weights of another shape or dtype and bounds that are not
    finite, NotImplementedError for integers.
    """
    _check("histogram", input)
    x = input.detach().flatten()
    low, high = (0.0, 0.0) if isinstance(bins, Variable) else _range("histogram", x, range)
    edges = _edges("histogram", x, bins, low, high)
    each = _weights("histogram", input, weight, tuple(input.shape)).flatten()
    place, inside = _places(x, edges)
    counts = x.new_zeros((edges.shape[0] - 1,))
    if counts.numel():
        counts = OPS["_scatter_add"].function(counts, 0, place, each * inside)
    if density:
        counts = counts / counts.sum() / (edges[1:] - edges[:-1])
    return return_types.histogram(counts, edges)


@composite(spaces=("tgrad",))
def histogramdd(
    input: Tensor,
    bins: int | Sequence[int] | Sequence[Tensor],
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogramdd:
    """:func:`histogram` of points: the last dim are their coordinates, ``bins`` those of each.

    ``range`` is (low, high) of each coordinate, one after the other.
    Shape: (..., D) -> (B1, ..., BD) and D tensors of edges. dtype: the input's.
    Raises: as :func:`histogram`, and for bins of another number than D.
    """
    _check("histogramdd", input)
    if input.ndim < 2:
        raise RuntimeError(
            f"histogramdd(): input tensor should have at least 2 dimensions, but got {input.ndim}"
        )
    d = input.shape[-1]
    x = input.detach().reshape(-1, d)
    each_bins = [bins] * d if isinstance(bins, int) else list(bins)
    if len(each_bins) != d:
        raise RuntimeError(
            f"histogramdd(): expected {d} sequences of bin edges for a {d}-dimensional histogram "
            f"but got {len(each_bins)}"
        )
    if range is not None and len(range) != 2 * d:
        raise RuntimeError(
            f"histogramdd(): for a {d}-dimensional histogram range should have {2 * d} elements, "
            f"but got {len(range)}"
        )
    weights = _weights("histogramdd", input, weight, tuple(input.shape[:-1])).flatten()
    place: Any = x.new_zeros((x.shape[0],), dtype=dtypes.int64)
    edges = []
    for k, own in enumerate(each_bins):
        column = x[:, k]
        given = None if range is None else range[2 * k : 2 * k + 2]
        bounds = (0.0, 0.0) if isinstance(own, Variable) else _range("histogramdd", column, given)
        found = _edges("histogramdd", x, own, *bounds)
        at, inside = _places(column, found)
        place = place * (found.shape[0] - 1) + at
        weights = weights * inside
        edges.append(found)
    sizes = [e.shape[0] - 1 for e in edges]
    zeros = x.new_zeros((math.prod(sizes),))
    counts = OPS["_scatter_add"].function(zeros, 0, place, weights).reshape(sizes)
    if density:
        counts = counts / counts.sum()
        for k, e in enumerate(edges):
            counts = counts / (e[1:] - e[:-1]).reshape([*[1] * k, -1, *[1] * (d - k - 1)])
    return return_types.histogramdd(counts, tuple(edges))
