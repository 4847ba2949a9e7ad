"""Where values belong among sorted boundaries, and how many fall between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, op
from tgrad.ops.index import check_bounds
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _searchsorted(sequence: Tensor, x: Tensor, right: bool, dtype: dtypes.dtype) -> Spec:
    """How many elements of a row of ``sequence`` (..., S) stand before each x (..., K), or (K).

    Before: smaller, or with ``right`` smaller or equal; NaN is largest. By binary search.
    """
    return Spec(x.shape, dtype)


@composite
@with_out
def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """The first place in each sorted row where ``input`` could be inserted, keeping the order.

    ``right`` (``side`` "right") gives the last such place. ``sorter`` is an order, as of
    ``argsort``, that sorts the rows.

    Shape: (..., S), (..., K) -> (..., K), rows of one number serve any input shape.
    dtype: int64, or int32 with ``out_int32``.
    Raises: RuntimeError for shapes, dtypes or a sorter that do not fit, or a side that contradicts.
    """
    name = "searchsorted"
    sequence = sorted_sequence
    x: Any = input
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"{name}(): side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError(f"{name}(): side and right can't be set to opposites")
        right = side == "right"
    if not isinstance(x, Variable):
        if sequence.ndim != 1:
            raise RuntimeError(
                f"{name}(): input value can be a scalar only when sorted_sequence has 1 dimension"
            )
        if isinstance(x, float) and not sequence.dtype.is_floating_point:
            sequence = sequence.to(dtypes.get_default_dtype())
        x = sequence.new_tensor(x)
    if not sequence.ndim:
        raise RuntimeError(f"{name}(): sorted_sequence must have at least 1 dimension")
    if sequence.ndim > 1 and (x.ndim != sequence.ndim or x.shape[:-1] != sequence.shape[:-1]):
        raise RuntimeError(
            f"{name}(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            f"boundaries tensor and input value tensor must match, but we got boundaries tensor "
            f"{list(sequence.shape)} and input value tensor {list(x.shape)}"
        )
    common = dtypes.promote_types(sequence.dtype, x.dtype)
    sequence, x = sequence.to(common), x.to(common)
    if sorter is not None:
        sequence = _arranged(sequence, sorter)
    return _searchsorted(
        sequence.detach().contiguous(),
        x.detach().contiguous(),
        bool(right),
        dtypes.int32 if out_int32 else dtypes.int64,
    )


def _arranged(sequence: Tensor, sorter: Tensor) -> Tensor:
    if sorter.shape != sequence.shape:
        raise RuntimeError(
            "searchsorted(): boundary and sorter must have the same size, but got "
            f"{list(sequence.shape)} and {list(sorter.shape)}"
        )
    if sorter.dtype is not dtypes.int64:
        raise RuntimeError(
            f"searchsorted(): sorter must be a tensor of long dtype but got {sorter.dtype.name}"
        )
    check_bounds(sorter, sorter.ndim - 1, sequence.shape[-1], RuntimeError)
    return OPS["_gather"].function(sequence, sequence.ndim - 1, sorter)


@composite
@with_out
def bucketize(
    input: Tensor | float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The number of the interval between sorted ``boundaries`` that each element lies in.

    Interval i is boundaries[i - 1] < x <= boundaries[i]; with ``right`` the upper end is outside
    and the lower inside. Shape: any. Raises: RuntimeError unless ``boundaries`` is a vector.
    """
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@composite
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on occurs, or the sum of the ``weights`` where it does.

    Shape: (N) -> (max(input) + 1), at least ``minlength``.
    dtype: int64; with weights float64, or float32 as they are.
    Raises: RuntimeError for another rank, negative inputs, a negative ``minlength`` or weights of
    another length, NotImplementedError unless inputs are integers.
    """
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if input.dtype.category is not dtypes.int64.category:
        raise NotImplementedError(f"\"bincount\" not implemented for '{input.dtype.name}'")
    if input.ndim == 1 and not input.numel():
        return input.new_zeros((minlength,), dtype=dtypes.int64)
    if input.ndim != 1 or int(input.min().item()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    length = max(int(input.max().item()) + 1, minlength)
    if weights is None:
        each = input.new_ones(input.shape, dtype=dtypes.int64)
    else:
        each = weights if weights.dtype is dtypes.float32 else weights.double()
    zeros = each.new_zeros((length,))
    return OPS["_scatter_add"].function(zeros, 0, input.long(), each.detach())


@composite
@with_out
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of ``bins`` equal intervals from ``min`` to ``max``.

    Where both are 0 the smallest and largest element stand for them. Elements outside, and NaN, are
    not counted; the last interval holds ``max`` itself.

    Shape: any -> (bins). dtype: the input's.
    Raises: RuntimeError for bins < 1, min > max or bounds that are not finite, NotImplementedError
    for integers.
    """
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"histc\" not implemented for '{input.dtype.name}'")
    if bins < 1:
        raise RuntimeError(f"histc(): bins must be > 0, but got {bins}")
    x = input.detach().reshape(-1)
    low, high = float(min), float(max)
    if low == high and x.numel():
        low, high = float(x.min().item()), float(x.max().item())
    if low == high:
        low, high = low - 1, high + 1
    if not (low - low == 0 and high - high == 0):
        raise RuntimeError(f"histc(): range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("histc(): max must be larger than min")
    inside = (x >= low) & (x <= high)
    place = ((x - low) * (bins / (high - low))).masked_fill(~inside, 0).long().clamp(0, bins - 1)
    return OPS["_scatter_add"].function(x.new_zeros((bins,)), 0, place, inside.to(x.dtype))
