"""Losses that want scores a margin apart: of classes, of sets of labels, of triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.activation import logsigmoid
from tgrad.ops.distance import pairwise_distance
from tgrad.ops.elementwise_loss import reduced
from tgrad.ops.likelihood import check_tensors
from tgrad.ops.loss import reduction_of

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

LOSS = ("nn.functional",)


def check_scores(name: str, input: Tensor, target: Tensor) -> None:
    """Raise unless the input is (N, C), (C) or one number, floating, and targets are int64."""
    check_tensors(name, input=input, target=target)
    if input.ndim > 2 or 0 in input.shape[-1:]:
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}: expected scalar type int64 but found {target.dtype.name}")


def check_classes(message: str, target: Tensor, low: int, high: int) -> None:
    """Raise for a class outside [low, high); only where looking does not stall a GPU."""
    t = target.array
    if isinstance(t, np.ndarray) and t.size and (t.min() < low or t.max() >= high):
        raise RuntimeError(message)


@composite(spaces=LOSS)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over i != t of weight[t] max(0, margin - input[t] + input[i])^p / C, then a reduction.

    Shape: (N, C) and classes (N) in [0, C), or (C) and () or (1); weight (C).
    dtype: the input's, floating; targets are int64.
    Raises: ValueError for p other than 1 and 2, RuntimeError for other shapes and dtypes and for a
        class out of range (on the CPU; on a GPU the row's loss is then undefined).
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    check_scores("multi_margin_loss", input, target)
    rows, classes = (1, input.numel()) if input.ndim < 2 else input.shape
    if target.ndim > 1 or target.numel() != rows:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input "
            f"samples (batch size). Expected target size [{rows}], but got {list(target.shape)}. "
            f"Input has shape {list(input.shape)}."
        )
    if weight is not None and weight.shape[0] != classes:
        raise RuntimeError(
            f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
        )
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"expected scalar type {input.dtype.name} but found {weight.dtype.name}")
    check_classes("multi_margin_loss: target out of range", target, 0, classes)
    x, at = input.reshape(rows, classes), target.reshape(rows, 1)
    own = input.new_zeros(rows, classes).scatter(1, at, 1.0) != 0
    z = (margin - x.gather(1, at) + x).masked_fill(own, 0).relu()
    z = z if p == 1 else z * z
    if weight is not None:
        z = z * weight[at]
    losses = z.sum(1) / classes
    if input.ndim < 2 and target.ndim == 0:
        losses = losses.reshape(())
    return reduced(losses, reduction)


@composite(spaces=LOSS)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over labels j and classes i that are none of max(0, 1 - input[j] + input[i]) / C.

    A row's labels are its targets up to the first -1. Then a reduction.

    Shape: (N, C) and (N, C), or (C) and (C)
    dtype: the input's, floating; targets are int64.
    Raises: RuntimeError for other shapes and dtypes, and for a target outside [-1, C) (on the CPU).
    Memory: N * C for each label that a row has; for C on a GPU, where they are not counted.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_scores("multilabel_margin_loss", input, target)
    if target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    rows, classes = (1, input.numel()) if input.ndim < 2 else input.shape
    check_classes("multilabel_margin_loss: target is out of range", target, -1, classes)
    x, at = input.reshape(rows, classes), target.reshape(rows, classes)
    valid = (at < 0).cumsum(1) == 0
    if valid.is_cpu:
        most = int(valid.sum(1).amax()) if rows else 0
        at, valid = at[:, :most], valid[:, :most]
    # One class more takes the places that hold no label.
    labels = input.new_zeros(rows, classes + 1).scatter(1, at.masked_fill(~valid, classes), 1.0)
    other = labels[:, :classes] == 0
    wanted = x.gather(1, at.masked_fill(~valid, 0))
    z = (1 - wanted.unsqueeze(2) + x.unsqueeze(1)).relu()
    z = z.masked_fill(~(valid.unsqueeze(2) & other.unsqueeze(1)), 0)
    losses = z.sum((1, 2)) / classes
    return reduced(losses if input.ndim == 2 else losses.reshape(()), reduction)


@composite(spaces=LOSS)
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight (target log(s) + (1 - target) log(1 - s)) for s = sigmoid(input), over the classes.

    Its mean along the last dim, then a reduction over the rest.
    Shape: (..., C) and the same. Raises: ValueError for an unknown reduction, IndexError for a
        number, RuntimeError for shapes that do not broadcast.
    """
    check_tensors("multilabel_soft_margin_loss", input=input, target=target)
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    if input.ndim == 0:
        raise IndexError(
            "multilabel_soft_margin_loss: Dimension specified as -1 but tensor has no dimensions"
        )
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduced(losses.sum(-1) / input.shape[-1], reduction)


@composite(spaces=LOSS)
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), then a reduction.

    ``distance_function`` is any function of two tensors, pairwise_distance by default. ``swap``
    takes d(positive, negative) where that is smaller (Balntas et al. 2016).
    Raises: ValueError for margin <= 0 and an unknown reduction, RuntimeError for other ranks.
    """
    check_tensors("triplet_margin_with_distance_loss", anchor=anchor, positive=positive,
                  negative=negative)  # fmt: skip
    reduction = reduction_of(None, None, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((margin + near - far).clamp_min(0), reduction)


__all__ = ["multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
           "triplet_margin_with_distance_loss"]  # fmt: skip
