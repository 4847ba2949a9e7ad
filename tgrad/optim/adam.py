"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _adam_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    buckets,
    check_not_negative,
    check_supported,
    count,
    gradients,
    like,
)

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class Adam(Optimizer):
    """p -= lr m^ / (sqrt(v^) + eps), m and v averages of the gradient and its square.

    ``m^ = m / (1 - betas[0]^t)``, ``v^ = v / (1 - betas[1]^t)``. Weight decay is added to the
    gradient, or with ``decoupled_weight_decay`` taken from the parameter, as AdamW does. All
    parameters of a dtype and device step in one call; ``foreach``, ``fused`` and ``capturable``
    are accepted and choose nothing.
    Source: Kingma & Ba 2014, arXiv:1412.6980; amsgrad: Reddi et al. 2018, arXiv:1904.09237.
    Raises: ValueError for negative settings and betas outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        check_not_negative("weight_decay value", weight_decay)
        check_supported(differentiable, foreach=foreach, fused=fused)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _prepare(self, p: Tensor, amsgrad: bool) -> float:
        """Make the state of ``p`` where it is missing; the number of this step."""
        state = self.state[p]
        if not state:
            state["step"] = 0.0
            state["exp_avg"], state["exp_avg_sq"] = like(p), like(p)
        if amsgrad and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = like(p)
        return count(state)

    def _update(self, group: Group) -> None:
        amsgrad = group["amsgrad"]
        for step, params in buckets(group["params"], lambda p: self._prepare(p, amsgrad)):
            states = [self.state[p] for p in params]
            _adam_step(
                params, gradients(params),
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [s["max_exp_avg_sq"] for s in states] if amsgrad else [],
                step, float(group["lr"]), *map(float, group["betas"]), group["eps"],
                group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
            )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay taken from the parameter: p *= 1 - lr weight_decay before the step.

    Source: Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
