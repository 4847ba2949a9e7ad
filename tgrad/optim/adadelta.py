"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _adadelta_step
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


class Adadelta(Optimizer):
    """p -= lr u, u = sqrt(d + eps) / sqrt(v + eps) g, v and d averages of g^2 and u^2.

    Source: Zeiler 2012, arXiv:1212.5701, algorithm 1, which has no lr (1.0 here).
    Raises: ValueError for negative settings and rho outside [0, 1].
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative("epsilon value", eps)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if not state:
            state["step"] = counter()
            state["square_avg"], state["acc_delta"] = like(p), like(p)

    def _update(self, group: Group) -> None:
        for _, _, params, grads, states in self._ready(group):
            _adadelta_step(
                params, grads,
                [s["square_avg"] for s in states],
                [s["acc_delta"] for s in states],
                rate(group), group["rho"], group["eps"], group["weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip
