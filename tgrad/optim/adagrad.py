"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.creation import full
from tgrad.ops.optim import _adagrad_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    check_fused,
    check_lr,
    check_not_negative,
    counter,
    rate,
)

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), s the sum of g^2.

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods for online learning and
    stochastic optimization".
    Raises: ValueError for negative settings.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        check_not_negative("epsilon value", eps)
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:  # unlike others, its state is there before a step
            for p in group["params"]:
                self._start(p, group, self.state[p])

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if not state:
            state["step"] = counter()
            value = group["initial_accumulator_value"]
            value = complex(value, value) if p.is_complex() else value
            state["sum"] = full(p.shape, value, dtype=p.dtype, device=p.device)

    def _update(self, group: Group) -> None:
        for step, _, params, grads, states in self._ready(group):
            _adagrad_step(
                params, grads, [s["sum"] for s in states], step, rate(group), group["lr_decay"],
                group["eps"], group["weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip
