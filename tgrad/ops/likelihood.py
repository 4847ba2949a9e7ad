"""Negative log-likelihoods of numbers under a normal and a Poisson distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad.autograd.grad_mode import no_grad
from tgrad.autograd.variable import Variable
from tgrad.dispatch import composite
from tgrad.ops.elementwise_loss import reduced
from tgrad.ops.loss import reduction_of

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

LOSS = ("nn.functional",)


def check_tensors(name: str, **given: object) -> None:
    for which, a in given.items():
        if not isinstance(a, Variable):
            raise TypeError(f"{name}(): argument '{which}' must be Tensor, not {type(a).__name__}")


def variances(input: Tensor, var: Tensor | float) -> Tensor:
    """``var`` as a tensor that broadcasts against the input. Raises ValueError where it cannot."""
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        return input.new_full(input.shape, var)
    if not isinstance(var, Variable):
        raise TypeError(
            f"gaussian_nll_loss(): argument 'var' must be Tensor or float, not {type(var).__name__}"
        )
    if bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape == input.shape:
        return var
    if input.shape[:-1] == var.shape:  # one variance for the last dim
        return var.unsqueeze(-1)
    other = [n for m, n in zip(input.shape, var.shape, strict=False) if m != n]
    if input.ndim == var.ndim and sum(other) == 1:  # one for another dim
        return var
    raise ValueError("var is of incorrect size")


@composite(spaces=LOSS)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, then its mean, sum or neither.

    ``var`` counts as at least ``eps``; its gradient does not know of that. ``full`` adds
    log(2 pi) / 2. Shape: var as the input, without its last dim, or with one dim of size 1.
    Raises: ValueError for another shape, a negative variance (which is looked for: on a GPU this
        waits for it) or an unknown reduction, TypeError for an int variance.
    Source: Nix and Weigend 1994.
    """
    check_tensors("gaussian_nll_loss", input=input, target=target)
    spread = variances(input, var)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    spread = spread.clone()
    with no_grad():
        spread.clamp_(min=eps)
    d = input - target
    losses = (spread.log() + d * d / spread) * 0.5
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


@composite(spaces=LOSS)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target input, or input - target log(input + eps); then a reduction.

    ``log_input``: the input is the logarithm of the rate. ``full`` adds Stirling's approximation of
    log(target!) where the target exceeds 1: target log(target) - target + log(2 pi target) / 2.
    Shape: both broadcast. Raises: ValueError for an unknown reduction.
    """
    check_tensors("poisson_nll_loss", input=input, target=target)
    reduction = reduction_of(size_average, reduce, reduction)
    if log_input:
        losses = input.exp() - target * input
    else:
        losses = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + stirling.masked_fill(target <= 1, 0)
    return reduced(losses, reduction)


__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]
