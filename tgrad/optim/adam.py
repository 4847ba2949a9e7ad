"""Adam and its relatives: AdamW, Adamax, NAdam, RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.ops.optim import _adam_step, _adamax_step, _nadam_step, _radam_step
from tgrad.optim.optimizer import (
    Group,
    Optimizer,
    check_betas,
    check_fused,
    check_lr,
    check_not_negative,
    counter,
    like,
    rate,
)
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    State = dict[str, Any]


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
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
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
        check_lr(lr, foreach, capturable)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_fused(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": numbers(betas, foreach, capturable),
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

    def _start(self, p: Tensor, group: Group, state: State) -> None:
        averages(p, state, "exp_avg", "exp_avg_sq")
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = like(p)

    def _update(self, group: Group) -> None:
        for step, _, params, grads, states in self._ready(group):
            _adam_step(
                params, grads,
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [s["max_exp_avg_sq"] for s in states] if group["amsgrad"] else [],
                step, rate(group), *group["betas"], group["eps"],
                group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip


def numbers(betas: Any, foreach: bool | None, capturable: bool) -> tuple[float, ...]:
    """Betas as floats, which may have been given as tensors of one element."""
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if isinstance(beta, Tensor):
            if foreach and not capturable:
                raise ValueError(
                    f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                )
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
    return tuple([float(b) if isinstance(b, Tensor) else b for b in betas])


def averages(p: Tensor, state: State, *names: str) -> None:
    """Zeros like ``p`` for each name that ``state`` lacks."""
    if not state:
        state["step"] = counter()
    for name in names:
        if name not in state:
            state[name] = like(p)


class AdamW(Adam):
    """Adam with weight decay taken from the parameter: p *= 1 - lr weight_decay before the step.

    Source: Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
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


class Adamax(Optimizer):
    """p -= lr / (1 - betas[0]^t) m / u, m the average of g, u = max(betas[1] u, |g| + eps).

    Source: Kingma & Ba 2014, arXiv:1412.6980, algorithm 2.
    Raises: ValueError for negative settings and betas outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: State) -> None:
        averages(p, state, "exp_avg", "exp_inf")

    def _update(self, group: Group) -> None:
        for step, _, params, grads, states in self._ready(group):
            _adamax_step(
                params, grads,
                [s["exp_avg"] for s in states],
                [s["exp_inf"] for s in states],
                step, rate(group), *group["betas"], group["eps"],
                group["weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip


class NAdam(Optimizer):
    """Adam with Nesterov momentum whose coefficient mu_t grows towards betas[0].

    ``mu_t = betas[0] (1 - 0.96^(t momentum_decay) / 2)``; the step is Adam's with
    ``mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i)`` for m^.
    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam".
    Raises: ValueError for negative settings and betas outside [0, 1).
    """

    _counters = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: State) -> None:
        if not state:
            state["step"], state["mu_product"] = counter(), counter(1.0)
        averages(p, state, "exp_avg", "exp_avg_sq")

    def _update(self, group: Group) -> None:
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        ready = self._ready(group, lambda p, state: float(state["mu_product"]))
        for step, product, params, grads, states in ready:
            mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
            following = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
            for s in states:
                s["mu_product"] = counter(product * mu)
            product = float(states[0]["mu_product"])
            _nadam_step(
                params, grads,
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                step, (1 - mu) / (1 - product), following / (1 - product * following),
                rate(group), beta1, beta2, group["eps"], group["weight_decay"],
                group["decoupled_weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip


class RAdam(Optimizer):
    """Adam whose step is scaled by how well its variance is known, and lr m^ where it is not.

    ``rho_inf = 2 / (1 - betas[1]) - 1``, ``rho = rho_inf - 2 t b2^t / (1 - b2^t)``; above 5 the
    step is Adam's times ``sqrt((rho-4)(rho-2) rho_inf / ((rho_inf-4)(rho_inf-2) rho))``.
    Source: Liu et al. 2019, arXiv:1908.03265, algorithm 2.
    Raises: ValueError for negative settings and betas outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: State) -> None:
        averages(p, state, "exp_avg", "exp_avg_sq")

    def _update(self, group: Group) -> None:
        beta1, beta2 = group["betas"]
        for step, _, params, grads, states in self._ready(group):
            _radam_step(
                params, grads,
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                step, rectification(beta2, step), rate(group), beta1, beta2, group["eps"],
                group["weight_decay"], group["decoupled_weight_decay"], group["maximize"],
                differentiable=group["differentiable"],
            )  # fmt: skip


def rectification(beta2: float, step: float) -> float:
    """RAdam's factor of the step; 0 where the variance is not tractable."""
    longest = 2 / (1 - beta2) - 1
    rho = longest - 2 * step * beta2**step / (1 - beta2**step)
    if rho <= 5:
        return 0.0
    return ((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)) ** 0.5
