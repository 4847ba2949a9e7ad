"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _sgd_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    check_fused,
    check_lr,
    check_not_negative,
    gradients,
    like,
    rate,
)

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class SGD(Optimizer):
    """p -= lr b, with b = momentum b + (1 - dampening)(g + weight_decay p); first b = g.

    ``nesterov``: p -= lr (g + momentum b) (Sutskever et al. 2013). All parameters of a dtype and
    device step in one call; ``foreach`` and ``fused`` are accepted and choose nothing.
    Raises: ValueError for negative settings, or Nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr, foreach)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_fused(fused, foreach, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update(self, group: Group) -> None:
        momentum = group["momentum"]
        found: dict[tuple, list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is not None:
                new = momentum != 0 and self.state[p].get("momentum_buffer") is None
                if new:  # a zero buffer without dampening becomes the gradient
                    self.state[p]["momentum_buffer"] = like(p)
                found.setdefault((p.device, p.dtype, new), []).append(p)
        for (_, _, new), params in found.items():
            _sgd_step(
                params, gradients(params),
                [self.state[p]["momentum_buffer"] for p in params] if momentum else [],
                rate(group), group["weight_decay"], momentum,
                0.0 if new else group["dampening"], group["nesterov"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip
