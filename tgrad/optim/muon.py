"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tgrad.dtypes import bfloat16
from tgrad.optim.adafactor import check_one
from tgrad.optim.optimizer import Group, Optimizer, gradients, like

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """p -= lr' orthogonalized(b), b the average of the gradients of a matrix.

    b += (1 - momentum)(g - b), or g + momentum (b - g) of that (``nesterov``); Newton and Schulz'
    iteration in bfloat16 brings its singular values near 1. lr' is lr sqrt(max(1, rows / cols)), or
    0.2 lr sqrt(max(rows, cols)) for "match_rms_adamw"; p *= 1 - lr weight_decay goes before.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks";
    learning rates: Liu et al. 2025, arXiv:2502.16982.
    Raises: ValueError for settings out of range and for parameters that are not matrices.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = COEFFICIENTS,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        check_one("lr", lr)
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{p.size()}"
                    )

    def _update(self, group: Group) -> None:
        lr, momentum = float(group["lr"]), group["momentum"]
        params = [p for p in group["params"] if p.grad is not None]
        for p, g in zip(params, gradients(params), strict=True):
            if p.is_complex():
                raise RuntimeError("Muon does not support complex parameters")
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = like(p)
            b = state["momentum_buffer"].lerp_(g, 1 - momentum)
            u = g.lerp(b, momentum) if group["nesterov"] else b
            u = orthogonalized(u, group["ns_coefficients"], group["ns_steps"], group["eps"])
            p.mul_(1 - lr * group["weight_decay"])
            p.add_(u.to(p.dtype), alpha=-adjusted(lr, group["adjust_lr_fn"], *p.shape))


def adjusted(lr: float, how: str | None, rows: int, cols: int) -> float:
    """The learning rate for a matrix of this size."""
    if how == "match_rms_adamw":
        return lr * 0.2 * math.sqrt(max(rows, cols))
    return lr * math.sqrt(max(1, rows / cols))


def orthogonalized(
    x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """x with singular values near 1, by ``steps`` of y = a y + (b A + c A^2) y, A = y y^T.

    Shape: (M, N). dtype: bfloat16, in which it is computed.
    Raises: ValueError for 100 steps or more, or unless there are three coefficients.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.to(bfloat16)
    y = y.T if tall else y
    y = y / y.norm().clamp(min=eps)
    for _ in range(steps):
        square = y @ y.T
        y = a * y + (b * square + c * (square @ square)) @ y
    return y.T if tall else y
