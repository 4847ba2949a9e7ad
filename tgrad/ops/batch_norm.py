"""Normalisation over the batch: batch norm, and instance norm as batch norm of single samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad.autograd.grad_mode import no_grad
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.norm import (
    check_affine_dtypes,
    check_floating,
    norm_double_backward,
    per_channel,
    statistics_dtype,
)
from tgrad.pointwise import pointwise, run_inplace

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Spec, Spec, Spec]:
    """(y, mean, biased var); mean and var per channel (dim 1) over all other dims."""
    kept = statistics_dtype(x)
    return Spec(x.shape, x.dtype), Spec((x.shape[1],), kept), Spec((x.shape[1],), kept)


@gradient(_batch_norm)
def _(g0, x, weight, y1, y2, eps, needs):
    dx, dw, db = batch_norm_backward(g0, x, weight, y1, y2, eps)
    return [d if need else None for d, need in zip((dx, dw, db), needs, strict=True)]


@op
def batch_norm_backward(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> tuple[Spec, Spec, Spec]:
    """(dx, dw, db) of a norm over all dims but 1.

    dx = w / sqrt(var + eps) (g - mean(g) - x_hat mean(g x_hat)), dw = sum(g x_hat), db = sum(g).
    """
    kept = x.dtype if weight is None else weight.dtype
    return Spec(x.shape, x.dtype), Spec((x.shape[1],), kept), Spec((x.shape[1],), kept)


@gradient(batch_norm_backward)
def _(g0, g1, g2, g, x, weight, eps):
    axes = (0, *range(2, x.ndim))
    shape = (-1, *[1] * (x.ndim - 2))
    g1, g2, w = (None if v is None else v.reshape(shape) for v in (g1, g2, weight))
    dg, dx, dw = norm_double_backward(g0, g1, g2, g, x, w, axes, eps, True)
    return dg, dx, None if dw is None else dw.sum(axes), None, None


@pointwise(spaces=())
def _normalize(x, mean, scale):
    """(x - mean) * scale."""
    return (x - mean) * scale


@gradient(_normalize)
def _(g, x, mean, scale, needs):
    dx = g * scale
    return dx, -dx if needs[1] else None, g * (x - mean) if needs[2] else None


@pointwise(spaces=())
def _average(x, value, momentum: float, correction: float):
    """(1 - momentum) x + momentum correction value: one step of a running average."""
    return x + momentum * (correction * value - x)


def _check_channels(name: str, input: Tensor, **vectors: Tensor | None) -> None:
    channels = input.shape[1] if input.ndim > 1 else 0
    for which, v in vectors.items():
        if v is not None and (v.ndim != 1 or v.shape[0] != channels):
            raise RuntimeError(
                f"{name}: {which} should contain {channels} elements not {v.numel()}"
            )


@composite(spaces=("nn.functional",))
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias, per channel.

    ``training``: mean and biased var of this batch, and the running ones, where given, move by
    ``momentum`` towards its mean and unbiased var. Otherwise the running ones are used.
    Shape: (N, C, *); all others (C). dtype: the input's; half dtypes may have float32 parameters.
    Raises: ValueError for one value per channel in training, RuntimeError for other sizes than C.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167.
    """
    check_floating("batch_norm", input)
    if training and math.prod(input.shape[:1] + input.shape[2:]) == 1 and input.ndim > 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    _check_channels(
        "batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight,
        bias=bias,
    )  # fmt: skip
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected an input of (N, C, *), got {list(input.shape)}")
    given = (weight, bias, running_mean, running_var)
    check_affine_dtypes("batch_norm", input, given)
    if eps < 0 or (training and eps == 0):
        least = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {least}, but got {eps}")
    if not training:
        for which, v in (("running_mean", running_mean), ("running_var", running_var)):
            if v is None:
                raise RuntimeError(f"batch_norm: {which} must be defined in evaluation mode")
        assert running_mean is not None and running_var is not None
        return _with_statistics(input, running_mean, running_var, weight, bias, eps)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    y, mean, var = _batch_norm(input, weight, bias, eps)
    if running_mean is not None and input.numel():
        n = input.numel() // input.shape[1]
        with no_grad():
            average = OPS["_average"]
            run_inplace(average, (running_mean, mean, momentum, 1.0))  # pyright: ignore[reportArgumentType]
            run_inplace(average, (running_var, var, momentum, n / (n - 1)))  # pyright: ignore[reportArgumentType]
    return y


def _with_statistics(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias with given statistics."""
    shape = (-1, *[1] * (input.ndim - 2))
    scale = (var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    y = _normalize(input, mean.reshape(shape), scale.reshape(shape))
    if bias is not None:
        y = y + bias.reshape(shape)
    return y.to(input.dtype)


@composite(spaces=("nn.functional",))
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """:func:`batch_norm` of each sample by itself: mean and var over its spatial dims.

    Running averages, where given, move towards the mean over the batch of the samples' statistics.
    Shape: (N, C, *); all others (C). Raises: ValueError for a single spatial element.
    Source: Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022.
    """
    check_floating("instance_norm", input)
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )
    _check_channels(
        "instance_norm", input, running_mean=running_mean, running_var=running_var, weight=weight,
        bias=bias,
    )  # fmt: skip
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "instance_norm: Expected running_mean and running_var to be defined when "
                "use_input_stats is false"
            )
        return _with_statistics(input, running_mean, running_var, weight, bias, eps)
    check_affine_dtypes("instance_norm", input, (weight, bias, running_mean, running_var))
    n, c, *space = input.shape
    y, mean, var = _batch_norm(input.reshape(1, n * c, *space), None, None, eps)
    size = math.prod(space)
    with no_grad():
        unbiased = size / max(size - 1, 1)
        for kept, value, correction in ((running_mean, mean, 1.0), (running_var, var, unbiased)):
            if kept is not None and input.numel():
                step = (kept, value.reshape(n, c).mean(0), momentum, correction)
                run_inplace(OPS["_average"], step)  # pyright: ignore[reportArgumentType]
    return per_channel(y.reshape(input.shape), weight, bias)
