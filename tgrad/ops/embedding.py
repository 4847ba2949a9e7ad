"""Lookup tables: rows of a matrix by index, and the sum of gradients back into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import no_grad
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def _check(weight: Tensor, indices: Tensor) -> None:
    for which, a in (("weight", weight), ("indices", indices)):
        if not isinstance(a, Variable):
            raise TypeError(f"embedding(): argument '{which}' must be Tensor, not {_kind(a)}")
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight.shape)}")
    if indices.dtype is not dtypes.int64 and indices.dtype is not dtypes.int32:
        raise RuntimeError(
            "embedding: Expected tensor for argument #1 'indices' to have one of the following "
            f"scalar types: Long, Int; but got {indices.dtype.name} instead"
        )
    _check_range(indices, weight.shape[0])


def _kind(a: object) -> str:
    return type(a).__name__


def _check_range(indices: Tensor, rows: int) -> None:
    """Raise IndexError for an index out of range; only where looking does not stall a GPU."""
    i = indices.array
    if isinstance(i, np.ndarray) and i.size and (i.min() < 0 or i.max() >= rows):
        wrong = i[(i < 0) | (i >= rows)].flat[0]
        raise IndexError(f"embedding: index out of range in self: {wrong} of {rows} rows")


@op(spaces=("tgrad",))
def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Spec:  # fmt: skip
    """weight[indices]: a row of the table for each index.

    The row ``padding_idx`` gets no gradient; ``scale_grad_by_freq`` divides each row's gradient by
    how often it was looked up.
    Shape: (V, D) and (*) to (*, D). dtype: the table's; indices are int64 or int32.
    Raises: IndexError for an index out of range (on the CPU; on a GPU its row is NaN),
    RuntimeError for other ranks and dtypes, NotImplementedError for ``sparse``.
    """
    _check(weight, indices)
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not available")
    return Spec((*indices.shape, weight.shape[1]), weight.dtype)


@gradient(embedding, "weight")
def _(g, weight_spec, indices, padding_idx, scale_grad_by_freq):
    rows = weight_spec.shape[0]
    return embedding_backward(g, indices, rows, padding_idx, scale_grad_by_freq)


@op
def embedding_backward(
    g: Tensor, indices: Tensor, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Spec:
    """(rows, D): the sum of the g of each row's lookups, by frequency their mean.

    Repeated indices add up in float32 or wider; where deterministic algorithms are asked for, in
    the order of the lookups on a GPU too.
    """
    return Spec((rows, g.shape[-1]), g.dtype)


@gradient(embedding_backward, "g")
def _(gg, indices, rows, padding_idx, scale_grad_by_freq):
    y = embedding(gg, indices)
    if scale_grad_by_freq:
        ones = gg.new_ones((*indices.shape, 1))
        counts = embedding_backward(ones, indices, rows, -1, False)
        y = y / embedding(counts, indices)
    return y * (indices != padding_idx).unsqueeze(-1) if padding_idx >= 0 else y


@composite(spaces=("tgrad",))
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows at ``indices`` whose ``norm_type``-norm exceeds ``max_norm`` down to it."""
    _check(input, indices)
    with no_grad():
        used = indices.flatten()
        rows = input.index_select(0, used)
        norms = rows.norm(norm_type, 1, keepdim=True)
        shrunk = rows * (max_norm / (norms + 1e-7)).clamp(max=1.0)
        input.index_copy_(0, used, shrunk)
    return input
