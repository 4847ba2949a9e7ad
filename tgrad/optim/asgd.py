"""ASGD: stochastic gradient descent with averaged parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _asgd_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    check_lr,
    check_not_negative,
    counter,
    like,
)

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class ASGD(Optimizer):
    """p = (1 - lambd eta) p - eta g; ax += mu (p - ax), the averaged parameters, in the state.

    ``eta = lr / (1 + lambd lr t)^alpha`` and ``mu = 1 / max(1, t - t0)`` of the step before.
    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging";
    schedule: Bottou 2010, "Large-scale machine learning with stochastic gradient descent".
    Raises: ValueError for a negative lr or weight_decay.
    """

    _counters = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr(lr)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if not state:
            state["step"] = counter()
            state["eta"], state["mu"] = counter(float(group["lr"])), counter(1.0)
            state["ax"] = like(p)

    def _update(self, group: Group) -> None:
        lambd, lr = group["lambd"], float(group["lr"])
        ready = self._ready(group, lambda p, s: (float(s["eta"]), float(s["mu"])))
        for step, (eta, mu), params, grads, states in ready:
            _asgd_step(
                params, grads, [s["ax"] for s in states], eta, mu, lambd,
                group["weight_decay"], mu == 1, group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip
            for s in states:
                s["eta"] = counter(lr / (1 + lambd * lr * step) ** group["alpha"])
                s["mu"] = counter(1 / max(1, step - group["t0"]))
