"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.creation import full
from tgrad.ops.optim import _rprop_step
from tgrad.optim.optimizer import Group, Optimizer, check_lr, counter, like

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class Rprop(Optimizer):
    """p -= s sign(g), with a step size s of each element that grows while the sign of g stays.

    s starts at ``lr`` and is multiplied by ``etas[1]`` where the sign stays and by ``etas[0]``
    where it changes, within ``step_sizes``. For whole batches, not samples of them.
    Source: Riedmiller & Braun 1993, "A direct adaptive method for faster backpropagation learning".
    Raises: ValueError for a negative lr, or unless 0 < etas[0] < 1 < etas[1].
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if not state:
            state["step"], state["prev"] = counter(), like(p)
            lr = float(group["lr"])
            size = complex(lr, lr) if p.is_complex() else lr
            state["step_size"] = full(p.shape, size, dtype=p.dtype, device=p.device)

    def _update(self, group: Group) -> None:
        for _, _, params, grads, states in self._ready(group):
            _rprop_step(
                params, grads,
                [s["prev"] for s in states],
                [s["step_size"] for s in states],
                *group["etas"], *group["step_sizes"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip
