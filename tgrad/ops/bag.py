"""Bags of rows of a lookup table, each summed, averaged or reduced to its maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import composite
from tgrad.ops.embedding import embedding, embedding_renorm_

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def check_bags(input: Tensor, weight: Tensor, offsets: Tensor | None, last: bool) -> None:
    """Raise unless input is (B, L), or 1-D with 1-D ``offsets``."""
    for which, a in (("input", input), ("weight", weight)):
        if not isinstance(a, Variable):
            raise TypeError(
                f"embedding_bag(): argument '{which}' must be Tensor, not {type(a).__name__}"
            )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
    elif input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    elif not isinstance(offsets, Variable):
        raise ValueError(f"offsets has to be a 1D Tensor but got {offsets}")
    elif offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    elif last and not offsets.shape[0]:
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    for which, a in (("indices", input), ("offsets", offsets)):
        if a is not None and a.dtype not in (dtypes.int32, dtypes.int64):
            raise RuntimeError(
                f"embedding_bag: expected {which} of dtype int64 or int32, but got {a.dtype.name}"
            )
    if not weight.dtype.is_floating_point:
        raise RuntimeError(
            f"embedding_bag: expected weight of a floating dtype, but got {weight.dtype.name}"
        )


def check_values(input: Tensor, rows: int, offsets: Tensor | None) -> None:
    """Raise for an index or offset out of range; only where looking does not stall a GPU."""
    i = input.array
    if isinstance(i, np.ndarray) and i.size and (i.min() < 0 or i.max() >= rows):
        at = int(np.flatnonzero((i.ravel() < 0) | (i.ravel() >= rows))[0])
        raise RuntimeError(
            f"embedding_bag: Index {at} of input takes value {i.ravel()[at]} which is not in the "
            f"valid range [0, {rows})"
        )
    o = None if offsets is None else offsets.array
    if isinstance(o, np.ndarray) and o.size:
        if o[0] != 0:
            raise RuntimeError(
                "embedding_bag: offsets[0] has to be 0, i.e., the first sequence in the mini-batch "
                f"has to start from position 0. However, got {o[0]}"
            )
        if o.max() > i.size:
            raise RuntimeError(
                f"embedding_bag: offsets[-1] can not be greater than input's length {i.size} but "
                f"got offsets[-1] of {o.max()}"
            )
        if (np.diff(o) < 0).any():
            raise RuntimeError(f"embedding_bag: offsets must not decrease, got {o.tolist()}")


def check_options(
    input: Tensor, weight: Tensor, mode: str, per_sample_weights: Tensor | None,
    scale_grad_by_freq: bool, sparse: bool,
) -> None:  # fmt: skip
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is None:
        return
    if per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then "
            f"it must have the same shape as the input ({input.shape})"
        )
    if mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}')."
        )
    if per_sample_weights.dtype is not weight.dtype:
        raise RuntimeError(
            f"embedding_bag: expected per_sample_weights of dtype {weight.dtype.name}, but got "
            f"{per_sample_weights.dtype.name}"
        )


@composite(spaces=("nn.functional",))
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The "sum", "mean" or "max" of weight[i] over the indices i of each bag; 0 for an empty one.

    Bag b of a 1-D input is input[offsets[b] : offsets[b + 1]], the last one up to the end; with
    ``include_last_offset`` the last offset is that end, and what is past it is in no bag. Indices
    equal to ``padding_idx`` count as absent. ``per_sample_weights`` multiply the rows of a sum.
    ``max_norm`` first shrinks, in place, the rows used whose ``norm_type``-norm exceeds it.

    Shape: (B, L), or (n) with offsets (B); weight (V, D) -> (B, D)
    dtype: that of weight, floating; indices are int64 or int32
    Raises: ValueError for wrong ranks and options, RuntimeError for other dtypes and for indices or
        offsets out of range (on the CPU; on a GPU such a row is NaN), NotImplementedError for
        weights with another mode and for ``sparse``.
    Memory: n * D for the rows, beside the result.
    """
    check_bags(input, weight, offsets, include_last_offset)
    check_options(input, weight, mode, per_sample_weights, scale_grad_by_freq, sparse)
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, but "
            f"got {padding_idx}"
        )
    check_values(input, rows, offsets)
    if max_norm is not None:
        embedding_renorm_(weight, input, max_norm, norm_type)
    padding = -1 if padding_idx is None else padding_idx % rows
    taken = embedding(weight, input, padding, scale_grad_by_freq, sparse)
    present = input.ne(padding)
    if per_sample_weights is not None:
        taken = taken * per_sample_weights.unsqueeze(-1)
    if offsets is None:
        return of_matrix(taken, present.unsqueeze(-1), mode)
    bags = offsets.shape[0] - include_last_offset
    return of_bags(taken, present.unsqueeze(-1), bag_of_each(input, offsets), bags, mode)


def bag_of_each(input: Tensor, offsets: Tensor) -> Tensor:
    """The bag of each index: how many bags have begun, less one."""
    n = input.shape[0]
    begun = offsets.new_zeros(n + 1, dtype=dtypes.int64)
    begun = begun.index_add(0, offsets, begun.new_ones(offsets.shape[0]))
    return begun[:n].cumsum(0) - 1


def of_matrix(taken: Tensor, present: Tensor, mode: str) -> Tensor:
    """Bags of equal length: taken (B, L, D), present (B, L, 1) -> (B, D)."""
    if mode == "max":
        if not taken.shape[1]:
            return taken.sum(1)
        least = taken.masked_fill(~present, -float("inf")).max(1)[0]
        return least.masked_fill(~present.any(1), 0)
    total = taken.masked_fill(~present, 0).sum(1)
    return total if mode == "sum" else total / present.sum(1).clamp_min(1).to(total.dtype)


def of_bags(taken: Tensor, present: Tensor, bag: Tensor, bags: int, mode: str) -> Tensor:
    """Bags one after the other: taken (n, D), present (n, 1), bag (n) -> (B, D)."""
    # One bag more takes the padding, and what include_last_offset leaves over.
    bag = bag.masked_fill(~present.squeeze(-1), bags).clamp_max(bags)
    zeros = taken.new_zeros(bags + 1, taken.shape[1])
    if mode == "max":
        return zeros.scatter_reduce(
            0, bag.unsqueeze(-1).expand_as(taken), taken, "amax", include_self=False
        )[:bags]
    total = zeros.index_add(0, bag, taken)[:bags]
    if mode == "sum":
        return total
    count = zeros[:, 0].index_add(0, bag, taken.new_ones(taken.shape[0]))[:bags]
    return total / count.clamp_min(1).unsqueeze(-1)


__all__ = ["embedding_bag"]
