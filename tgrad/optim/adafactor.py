"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.dtypes import finfo
from tgrad.optim.optimizer import Group, Optimizer, counter

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class Adafactor(Optimizer):
    """Adam without momentum whose second moments of a matrix are kept as row and column averages.

    V = R C / mean(R), R and C running averages of g^2 over columns and rows with weight
    ``t^beta2_decay``; U = g / sqrt(max(V, eps[0]^2)) and p -= a U / max(1, rms(U) / d) with
    ``a = max(eps[1], rms(p)) min(lr, 1 / sqrt(t))``, after p *= 1 - lr weight_decay. eps[0] None
    is the machine epsilon of the dtype. Written in ops, a handful of launches a parameter.
    Source: Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5. As in PyTorch, and unlike
    the paper, lr bounds the relative step size and eps[0] a floor that is not added to g^2.
    Raises: ValueError for settings out of range, RuntimeError for complex parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        check_one("lr", lr)
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        if state:
            return
        state["step"] = counter()
        if p.ndim > 1:
            state["row_var"] = p.new_zeros((*p.shape[:-1], 1))
            state["col_var"] = p.new_zeros((*p.shape[:-2], 1, p.shape[-1]))
        else:
            state["variance"] = p.new_zeros(p.shape)

    def _update(self, group: Group) -> None:
        for step, _, params, grads, states in self._ready(group):
            for p, g, state in zip(params, grads, states, strict=True):
                self._update_one(p, -g if group["maximize"] else g, state, group, step)

    def _update_one(
        self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group, step: float
    ) -> None:
        lr, (floor, smallest) = float(group["lr"]), group["eps"]
        floor = finfo(p.dtype).eps if floor is None else floor
        weight = step ** group["beta2_decay"]
        size = rms(p).clamp(min=smallest) * min(lr, step**-0.5)
        if group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        if p.ndim > 1:
            row, col = state["row_var"], state["col_var"]
            row.lerp_((g * g).mean(-1, keepdim=True), weight)  # (..., M, 1)
            col.lerp_((g * g).mean(-2, keepdim=True), weight)  # (..., 1, N)
            v = row @ col / row.mean(-2, keepdim=True).clamp(min=floor)
        else:
            v = state["variance"].lerp_(g * g, weight)
        u = v.clamp(min=floor * floor).rsqrt() * g
        p.sub_(u * (size / (rms(u) / group["d"]).clamp(min=1.0)))


def rms(x: Tensor) -> Tensor:
    """The root of the mean square, 0-d on x's device."""
    return x.norm() / max(x.numel(), 1) ** 0.5


def check_one(name: str, value: Any) -> None:
    """Raise ValueError for a tensor of several numbers."""
    if hasattr(value, "numel") and value.numel() != 1:
        raise ValueError(f"Tensor {name} must be 1-element")
