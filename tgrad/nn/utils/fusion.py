"""Folding a batch norm in evaluation mode into the layer before it."""

from __future__ import annotations

import copy
from typing import Any

from tgrad.creation import ones_like, zeros_like
from tgrad.nn.parameter import Parameter
from tgrad.tensor import Tensor


def _statistics(layer: Any, bn: Any) -> tuple[Tensor, Tensor]:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return bn.running_mean, bn.running_var


def _fused(w: Tensor, b: Tensor, new_w: Tensor, new_b: Tensor) -> tuple[Parameter, Parameter]:
    return (Parameter(new_w.detach().to(w.dtype), w.requires_grad),
            Parameter(new_b.detach().to(b.dtype), b.requires_grad))  # fmt: skip


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of ``conv`` that does what ``bn(conv(x))`` does in evaluation mode.

    Raises: AssertionError in training mode, or without running statistics.
    """
    mean, var = _statistics(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, mean, var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """w' = w s and b' = (b - mean) s + bn_b with s = bn_w / sqrt(var + eps), per out channel.

    ``transpose``: the out channels are the second dim of ``conv_w``.
    """
    b = zeros_like(bn_rm, dtype=conv_w.dtype) if conv_b is None else conv_b
    s = (ones_like(bn_rm) if bn_w is None else bn_w) * (bn_rv + bn_eps).rsqrt()
    shift = zeros_like(bn_rm) if bn_b is None else bn_b
    lead = [1, -1] if transpose else [-1, 1]
    w = conv_w * s.reshape(lead + [1] * (conv_w.ndim - 2))
    return _fused(conv_w, b, w, (b - bn_rm) * s + shift)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of ``linear`` that does what ``bn(linear(x))`` does in evaluation mode.

    Raises: AssertionError in training mode, without running statistics, or unless the batch norm
    has one feature or as many as the layer has outputs.
    """
    mean, var = _statistics(linear, bn)
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, mean, var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """w' = w s and b' = (b - mean) s + bn_b with s = bn_w / sqrt(var + eps), per output."""
    b = zeros_like(bn_rm, dtype=linear_w.dtype) if linear_b is None else linear_b
    s = bn_w * (bn_rv + bn_eps).rsqrt()
    return _fused(linear_w, b, linear_w * s.unsqueeze(-1), (b - bn_rm) * s + bn_b)
