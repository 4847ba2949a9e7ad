"""Losses over classes: negative log-likelihood and cross entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.norm import statistics_dtype
from tgrad.ops.softmax import log_softmax, softmax

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction asked for, in the older way too. Raises ValueError for an unknown one."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _outputs(x: Tensor, target: Tensor, reduction: str) -> tuple[Spec, Spec]:
    shape = target.shape if reduction == "none" else ()
    return Spec(shape, x.dtype), Spec((), statistics_dtype(x))


@op(spaces=())
def _nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> tuple[Spec, Spec]:
    """(loss, total weight): -weight[t] x[t] along dim 1, 0 where t is ``ignore_index``.

    "mean" divides the sum by the total weight of the targets. On a GPU, a target out of range
    makes the loss NaN.
    """
    return _outputs(x, target, reduction)


@gradient(_nll_loss, "x")
def _(g0, x_spec, target, weight, y1, ignore_index, reduction):
    return nll_loss_backward(g0, target, weight, y1, x_spec.shape, ignore_index, reduction)


@op
def nll_loss_backward(
    g: Tensor, target: Tensor, weight: Tensor | None, total: Tensor, shape: tuple[int, ...],
    ignore_index: int, reduction: str,
) -> Spec:  # fmt: skip
    """-g weight[t] at t, 0 elsewhere; "mean" divides by ``total``."""
    return Spec(shape, g.dtype)


@gradient(nll_loss_backward, "g")
def _(gg, target, weight, ignore_index, reduction):
    return _nll_loss(gg, target, weight, ignore_index, reduction)[0]


@op(spaces=())
def _cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> tuple[Spec, Spec, Spec]:
    """(loss, log(sum(exp(x))) along dim 1, total weight): :func:`_nll_loss` of log_softmax(x).

    Beside x itself, which lives on anyway, one number a row is all that backward needs.
    """
    loss, total = _outputs(x, target, reduction)
    return loss, Spec(target.shape, total.dtype), total


@gradient(_cross_entropy, "x")
def _(g0, x, target, weight, y1, y2, ignore_index, reduction):
    return cross_entropy_backward(g0, x, target, weight, y1, y2, ignore_index, reduction)


@op
def cross_entropy_backward(
    g: Tensor, x: Tensor, target: Tensor, weight: Tensor | None, lse: Tensor, total: Tensor,
    ignore_index: int, reduction: str,
) -> Spec:  # fmt: skip
    """g weight[t] (exp(x - lse) - [class = t]); "mean" divides by ``total``."""
    return Spec(x.shape, x.dtype)


@gradient(cross_entropy_backward, "g", "x")
def _(gg, g, x, target, weight, total, ignore_index, reduction):
    p = softmax(x, 1)
    z = gg - (p * gg).sum(1, keepdim=True)
    dg = _nll_loss(z, target, weight, ignore_index, reduction)[0]
    at = nll_loss_backward(g, target, weight, total, x.shape, ignore_index, reduction)
    return dg, -p * z * at.sum(1, keepdim=True)


# ---- public --------------------------------------------------------------------------------------


def _check_classes(name: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Raise as PyTorch does unless ``target`` holds a class for each row of ``input``."""
    if target.dtype is not dtypes.int64 and target.dtype is not dtypes.uint8:
        raise RuntimeError(
            f"{name}: expected target dtype to be Long or Byte, but got {target.dtype.name}"
        )
    if input.ndim == 2 and target.ndim != 1:
        raise RuntimeError(
            f"{name}: 0D or 1D target tensor expected, multi-target not supported, got "
            f"{target.ndim}D"
        )
    if input.ndim > 2 and target.ndim != input.ndim - 1:
        raise RuntimeError(
            f"{name}: only batches of spatial targets supported ({input.ndim - 1}D tensors) but "
            f"got targets of dimension: {target.ndim}"
        )
    classes = input.shape[1]
    if input.shape[2:] != target.shape[1:]:
        wanted = [input.shape[0], *input.shape[2:]]
        raise RuntimeError(f"{name}: Expected target size {wanted}, got {list(target.shape)}")
    if weight is not None:
        if weight.shape != (classes,):
            raise RuntimeError(
                f"{name}: weight tensor should be defined either for all {classes} classes or no "
                f"classes but got weight tensor of shape: {list(weight.shape)}"
            )
        if weight.dtype is not input.dtype:
            raise RuntimeError(
                f"{name}: expected weight of dtype {input.dtype.name} but found {weight.dtype.name}"
            )


def _check_range(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raise IndexError for a class out of range; only where looking does not stall a GPU."""
    t = target.array
    if not isinstance(t, np.ndarray) or not t.size or (t.min() >= 0 and t.max() < classes):
        return
    wrong = t[((t < 0) | (t >= classes)) & (t != ignore_index)]
    if wrong.size:
        raise IndexError(f"Target {wrong[0]} is out of bounds.")


def _check_tensors(name: str, **given: object) -> None:
    for which, a in given.items():
        if not isinstance(a, Variable):
            raise TypeError(f"{name}(): argument '{which}' must be Tensor, not {type(a).__name__}")


def _check_batch(input: Tensor, target: Tensor) -> None:
    if not target.ndim or input.shape[0] != target.shape[0]:
        found = target.shape[0] if target.ndim else 1
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({found})."
        )


def _check_float(name: str, input: Tensor) -> None:
    if input.dtype.category != dtypes.FLOAT:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


@composite(spaces=("nn.functional",))
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] input[target] for log-probabilities along dim 1.

    Shape: (N, C, *) and targets (N, *) in [0, C), or (C) and (); weight (C). "mean" is weighted;
    it is NaN where every target is ``ignore_index``.
    dtype: the input's; targets are int64 or uint8.
    Raises: ValueError for other batch sizes or reductions, RuntimeError for other shapes and
    dtypes, IndexError for a class out of range (on the CPU; on a GPU the loss is then NaN).
    """
    _check_tensors("nll_loss", input=input, target=target)
    reduction = reduction_of(size_average, reduce, reduction)
    if input.ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    _check_float("nll_loss", input)
    if input.ndim == 1:
        rows = (input.unsqueeze(0), target.reshape(1) if target.numel() == 1 else target)
        loss = nll_loss(*rows, weight, None, ignore_index, None, reduction)
        return loss.reshape(()) if reduction == "none" else loss
    _check_batch(input, target)
    _check_classes("nll_loss", input, target, weight)
    _check_range(target, input.shape[1], ignore_index)
    return _nll_loss(input, target, weight, ignore_index, reduction)[0]


@composite(spaces=("nn.functional",))
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-weight[t] log(softmax(input)[t]) along dim 1; targets are classes t, or probabilities.

    ``label_smoothing`` e mixes the target with the uniform distribution: (1 - e) target + e / C.
    Shape: (N, C, *) and targets (N, *) in [0, C), or probabilities (N, C, *); (C) and () or (C).
    "mean" is over the targets by weight; over probabilities it divides by N times the positions.
    dtype and Raises: as :func:`nll_loss`, and RuntimeError for a smoothing outside [0, 1].
    Source: label smoothing is Szegedy et al. 2015, arXiv:1512.00567.
    """
    _check_tensors("cross_entropy_loss", input=input, target=target)
    reduction = reduction_of(size_average, reduce, reduction)
    if input.ndim == 0:
        raise IndexError(
            "cross_entropy: Dimension out of range (expected to be in range of [-1, 0], but got 1)"
        )
    if label_smoothing > 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    soft = target.shape == input.shape
    if soft and not target.dtype.is_floating_point:
        raise RuntimeError(
            "cross_entropy: Expected floating point type for target with class probabilities, got "
            f"{target.dtype.name}"
        )
    _check_float("log_softmax", input)
    if input.ndim == 1:
        target = target.unsqueeze(0) if soft or target.ndim == 0 else target
        rest = (weight, None, ignore_index, None, reduction, label_smoothing)
        loss = cross_entropy(input.unsqueeze(0), target, *rest)
        return loss.reshape(()) if reduction == "none" else loss
    _check_batch(input, target)
    if soft:
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    _check_classes("cross_entropy", input, target, weight)
    _check_range(target, input.shape[1], ignore_index)
    if label_smoothing > 0:
        return _smoothed(input, target, weight, ignore_index, reduction, label_smoothing)
    return _cross_entropy(input, target, weight, ignore_index, reduction)[0]


def _along_classes(weight: Tensor, ndim: int) -> Tensor:
    return weight.reshape(1, -1, *[1] * (ndim - 2))


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = input.shape[1]
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / classes
    products = log_softmax(input, 1) * target
    if weight is not None:
        products = products * _along_classes(weight, input.ndim)
    if reduction == "none":
        return -products.sum(1)
    total = -products.sum()
    return total if reduction == "sum" else total / (input.numel() / max(classes, 1))


def _smoothed(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    logs = log_softmax(input, 1)
    loss, total = _nll_loss(logs, target, weight, ignore_index, reduction)
    weighted = logs if weight is None else logs * _along_classes(weight, input.ndim)
    uniform = -weighted.sum(1).masked_fill(target == ignore_index, 0)
    if reduction != "none":
        uniform = uniform.sum()
    if reduction == "mean":
        uniform = uniform / total.detach().to(uniform.dtype)
    return loss * (1 - smoothing) + uniform * (smoothing / input.shape[1])
