"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _sgd_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    buckets,
    check_not_negative,
    check_supported,
    gradients,
    like,
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
        check_not_negative("learning rate", lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_supported(differentiable, foreach=foreach, fused=fused)
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

        def fresh(p: Tensor) -> bool:
            return momentum != 0 and self.state[p].get("momentum_buffer") is None

        for new, params in buckets(group["params"], fresh):
            if new:  # a zero buffer without dampening becomes the gradient
                for p in params:
                    self.state[p]["momentum_buffer"] = like(p)
            buffers = [self.state[p]["momentum_buffer"] for p in params] if momentum else []
            _sgd_step(
                params, gradients(params), buffers, float(group["lr"]), group["weight_decay"],
                momentum, 0.0 if new else group["dampening"], group["nesterov"], group["maximize"],
            )  # fmt: skip
