"""Losses that compare element with element: each one expression and its gradient, then a mean."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.recorded import named
from tgrad.autograd.variable import Variable
from tgrad.dispatch import composite, gradient
from tgrad.ops.loss import reduction_of
from tgrad.pointwise import derivative, pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

LOSS = ("nn.functional",)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def weighted(losses: Tensor, weight: Tensor | None, input: Tensor, reduction: str) -> Tensor:
    """The reduced losses; with weights, "mean" divides by their sum."""
    if weight is None:
        return reduced(losses, reduction)
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    losses = losses * weight
    return losses.sum() / weight.sum() if reduction == "mean" else reduced(losses, reduction)


def check_pair(name: str, input: Tensor, target: Tensor, accepts: int = dtypes.FLOAT) -> None:
    """Raise unless both are tensors of floats; warn where they only broadcast."""
    for which, a in (("input", input), ("target", target)):
        if not isinstance(a, Variable):
            raise TypeError(f"{name}(): argument '{which}' must be Tensor, not {type(a).__name__}")
    if max(input.dtype.category, target.dtype.category) < accepts:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


# ---- differences ---------------------------------------------------------------------------------


@pointwise(spaces=())
def squared_error(x, target):
    """(x - target)^2."""
    d = x - target
    return d * d


@derivative(squared_error, "x", "target")
def squared_error_backward(g, x, target):
    """2 g (x - target), and its negative."""
    d = g * 2 * (x - target)
    return d, -d


@composite(spaces=LOSS)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2, then its mean, sum or neither; "mean" by ``weight`` where given.

    Shape: any that broadcast (with a warning). Raises: ValueError for an unknown reduction,
    NotImplementedError for integers.
    """
    check_pair("mse_loss", input, target)
    reduction = reduction_of(size_average, reduce, reduction)
    loss = weighted(squared_error(input, target), weight, input, reduction)
    return loss if weight is not None else named(loss, "MseLossBackward0")


@pointwise(spaces=())
def absolute_error(x, target):
    """|x - target|."""
    return xp.abs(x - target)


@derivative(absolute_error, "x")
def absolute_error_backward(g, x, target):
    """g sign(x - target)."""
    return xp.where(xp.gt(x, target), g, xp.where(xp.lt(x, target), -g, 0))


@gradient(absolute_error, "target")
def _(g, x, target):
    return absolute_error_backward(g, target, x)


@composite(spaces=LOSS)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, then its mean, sum or neither; "mean" by ``weight`` where given.

    Shape and Raises: as :func:`mse_loss`.
    """
    check_pair("l1_loss", input, target, dtypes.INT)
    reduction = reduction_of(size_average, reduce, reduction)
    return weighted(absolute_error(input, target), weight, input, reduction)


@pointwise(spaces=())
def huber_error(x, target, delta: float):
    """d^2 / 2 for d = |x - target| up to delta, else delta (d - delta / 2)."""
    d = xp.abs(x - target)
    return xp.where(xp.le(d, delta), d * d * 0.5, (d - delta * 0.5) * delta)


@derivative(huber_error, "x")
def huber_error_backward(g, x, target, delta: float):
    """g (x - target), cut off at g delta either way."""
    d = x - target
    return g * xp.minimum(xp.maximum(d, -delta), delta)


@gradient(huber_error, "target")
def _(g, x, target, delta):
    return huber_error_backward(g, target, x, delta)


@composite(spaces=LOSS)
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """d^2 / 2 for d = |input - target| up to ``delta``, else delta (d - delta / 2) (Huber 1964).

    Raises: RuntimeError unless delta > 0, otherwise as :func:`mse_loss`.
    """
    check_pair("huber_loss", input, target)
    reduction = reduction_of(None, None, reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    losses = huber_error(input, target, delta)
    if weight is None:
        return named(reduced(losses, reduction), "HuberLossBackward0")
    if weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return reduced(losses * weight, reduction)


@composite(spaces=LOSS)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) for d = |input - target| below ``beta``, else d - beta / 2; |d| for beta 0.

    Raises: RuntimeError for beta < 0, otherwise as :func:`mse_loss`.
    Source: Girshick 2015, arXiv:1504.08083.
    """
    check_pair("smooth_l1_loss", input, target)
    reduction = reduction_of(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return reduced(absolute_error(input, target), reduction)
    loss = reduced(huber_error(input, target, beta), reduction) / beta
    return named(loss, "SmoothL1LossBackward0")


# ---- probabilities -------------------------------------------------------------------------------


@pointwise(spaces=(), accepts="float")
def bernoulli_loss(x, target):
    """-(target log x + (1 - target) log(1 - x)), either logarithm at least -100."""
    return (target - 1) * xp.maximum(xp.log1p(-x), -100.0) - target * xp.maximum(xp.log(x), -100.0)


@derivative(bernoulli_loss, "x")
def bernoulli_loss_backward(g, x, target):
    """g (x - target) / (x (1 - x)), the denominator at least 1e-12."""
    return g * xp.div(x - target, xp.maximum((1 - x) * x, 1e-12))


@gradient(bernoulli_loss, "target")
def _(g, x):
    return g * ((-x).log1p().clamp(min=-100.0) - x.log().clamp(min=-100.0))


@composite(spaces=LOSS)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight (target log(input) + (1 - target) log(1 - input)), then mean, sum or neither.

    Logarithms are cut off at -100. Raises: ValueError where sizes differ, RuntimeError for an input
    outside [0, 1] (on the CPU).
    """
    reduction = reduction_of(size_average, reduce, reduction)
    _check_sizes(
        input, target, f"Using a target size ({target.shape}) that is different to the input size "
        f"({input.shape}) is deprecated. Please ensure they have the same size.",
    )  # fmt: skip
    if input.is_cpu and input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("all elements of input should be between 0 and 1")
    losses = bernoulli_loss(input, target)
    loss = reduced(losses if weight is None else losses * weight, reduction)
    return named(loss, "BinaryCrossEntropyBackward0")


def _check_sizes(input: Tensor, target: Tensor, message: str) -> None:
    if input.shape != target.shape:
        raise ValueError(message)


@pointwise(spaces=(), accepts="float")
def logistic_loss(x, target):
    """max(x, 0) - x target + log(1 + e^-|x|)."""
    return xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))


@derivative(logistic_loss, "x")
def logistic_loss_backward(g, x, target):
    """g (sigmoid(x) - target)."""
    return g * (xp.sigmoid(x) - target)


@gradient(logistic_loss, "target")
def _(g, x):
    return -g * x


@composite(spaces=LOSS)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """:func:`binary_cross_entropy` of sigmoid(input), without overflow.

    ``pos_weight``, broadcast, multiplies the term of target 1. Raises: ValueError where sizes
    differ.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    _check_sizes(
        input, target,
        f"Target size ({target.shape}) must be the same as input size ({input.shape})",
    )  # fmt: skip
    losses = logistic_loss(input, target)
    if pos_weight is not None:  # log(1 + e^-x) once more for each further unit of weight
        losses = losses + (pos_weight - 1) * target * logistic_loss(-input, input.new_zeros(()))
    loss = reduced(losses if weight is None else losses * weight, reduction)
    return named(loss, "BinaryCrossEntropyWithLogitsBackward0")


@pointwise(spaces=(), accepts="float")
def divergence(x, target):
    """target (log target - x), 0 where target is 0."""
    return xp.where(xp.eq(target, 0), 0, target * xp.log(target)) - target * x


@derivative(divergence, "x")
def divergence_backward(g, target):
    """-g target."""
    return -g * target


@gradient(divergence, "target")
def _(g, x, target):
    return g * (target.log() + 1 - x)


@composite(spaces=LOSS)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log(target) - input) for log-probabilities ``input``, then a reduction.

    "batchmean" divides the sum by the first size, which is the divergence of Kullback and Leibler;
    "mean" (with a warning) by the number of elements. ``log_target``: targets are logarithms too.
    """
    if size_average is None and reduce is None and reduction == "batchmean":
        kind = "sum"
    else:
        kind = reduction_of(size_average, reduce, reduction)
        if kind == "mean":
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support "
                "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
                "definition.",
                stacklevel=2,
            )
    losses = target.exp() * (target - input) if log_target else divergence(input, target)
    y = reduced(losses, kind)
    return y / input.shape[0] if reduction == "batchmean" and input.ndim else y


# ---- margins -------------------------------------------------------------------------------------


@composite(spaces=LOSS)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1, then a reduction."""
    reduction = reduction_of(size_average, reduce, reduction)
    near = input.masked_fill(target != 1, 0)
    far = (margin - input).clamp_min(0).masked_fill(target != -1, 0)
    return reduced(near + far, reduction)


@composite(spaces=LOSS)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target (input1 - input2) + margin), then a reduction.

    Raises: RuntimeError unless all have the same number of dims.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return reduced((margin - target * (input1 - input2)).clamp_min(0), reduction)


@composite(spaces=LOSS)
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target input)), then a reduction."""
    reduction = reduction_of(size_average, reduce, reduction)
    loss = reduced(logistic_loss(target * input, input.new_ones(())), reduction)
    return named(loss, "SoftMarginLossBackward0")


@composite(spaces=LOSS)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1, then a reduction.

    Shape: (N, D), (N, D) and (N), or (D), (D) and (). Raises: RuntimeError for other ranks.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if input1.ndim != target.ndim + 1 or input2.ndim != input1.ndim or target.ndim > 1:
        raise RuntimeError(
            f"cosine_embedding_loss: {target.ndim}D target tensor expects {target.ndim + 1}D input "
            f"tensors, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    # 1e-12 as in PyTorch: zero vectors have a gradient.
    squares = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / squares.sqrt()
    near = (1 - cosine).masked_fill(target != 1, 0)
    far = (cosine - margin).clamp_min(0).masked_fill(target != -1, 0)
    return reduced(near + far, reduction)


@composite(spaces=LOSS)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin), then a reduction.

    Distances are p-norms along the last dim of the difference plus ``eps``. ``swap`` takes
    |positive - negative| where that is smaller (Balntas et al. 2016). Raises: ValueError for
    margin <= 0.
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    reduction = reduction_of(size_average, reduce, reduction)
    near = (anchor - positive + eps).norm(p, -1)
    far = (anchor - negative + eps).norm(p, -1)
    if swap:
        far = far.minimum((positive - negative + eps).norm(p, -1))
    return reduced((near - far + margin).clamp_min(0), reduction)
