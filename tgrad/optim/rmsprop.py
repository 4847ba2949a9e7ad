"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _rmsprop_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    check_lr,
    check_not_negative,
    counter,
    like,
    rate,
)

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class RMSprop(Optimizer):
    """p -= lr b, b = momentum b + g / (sqrt(v) + eps), v = alpha v + (1 - alpha) g^2.

    ``centered``: v less the square of the average of g divides.
    Source: Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5; centered:
    Graves 2013, arXiv:1308.0850. eps is added to the root, as in PyTorch, and not under it.
    Raises: ValueError for negative settings.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if not state:
            state["step"] = counter()
            state["square_avg"] = like(p)
        if group["momentum"] > 0 and "momentum_buffer" not in state:
            state["momentum_buffer"] = like(p)
        if group["centered"] and "grad_avg" not in state:
            state["grad_avg"] = like(p)

    def _update(self, group: Group) -> None:
        for _, _, params, grads, states in self._ready(group):
            _rmsprop_step(
                params, grads,
                [s["square_avg"] for s in states],
                [s["grad_avg"] for s in states] if group["centered"] else [],
                [s["momentum_buffer"] for s in states] if group["momentum"] > 0 else [],
                rate(group), group["alpha"], group["eps"], group["weight_decay"],
                group["momentum"], group["maximize"], differentiable=group["differentiable"],
            )  # fmt: skip
