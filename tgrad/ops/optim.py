"""The update rules of optimisers, and ops over the gradients of a whole model.

A rule is written for one element of a parameter ``p`` with gradient ``g``; ``tgrad.update`` makes
of it an op over lists of tensors that writes them and has no gradient. ``step`` counts from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad.expression import xp
from tgrad.update import update

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def decayed(p: Any, g: Any, weight_decay: Any, maximize: bool) -> Any:
    """The gradient of what is minimised, weight decay included."""
    if maximize:
        g = -g
    return g if weight_decay is None else g + p * weight_decay


def moments(g: Any, m: Any, v: Any, beta1: Any, beta2: Any) -> tuple[Any, Any]:
    """Adam's running averages of the gradient and its square."""
    return m + (g - m) * (1 - beta1), v * beta2 + g * (1 - beta2) * g


@update
def _sgd_step(
    p: Tensor,
    g: Tensor,
    buffer: Tensor | None,
    lr: float,
    weight_decay: float | None,
    momentum: float,
    dampening: float | None,
    nesterov: bool,
    maximize: bool,
):
    """p -= lr u, with g += weight_decay p, b = momentum b + (1 - dampening) g.

    u is b, or g + momentum b (Nesterov), or g without buffers. ``maximize`` negates the gradient.
    Source: Sutskever et al. 2013, "On the importance of initialization and momentum".
    """
    g = decayed(p, g, weight_decay, maximize)
    u, b = g, None
    if buffer is not None:
        b = buffer * momentum + (g if dampening is None else g * (1 - dampening))
        u = g + b * momentum if nesterov else b
    return p - u * lr, b


@update
def _adam_step(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    top: Tensor | None,
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float | None,
    decoupled: bool,
    maximize: bool,
):
    """m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^step), v^ = v / (1 - b2^step); ``top`` keeps the largest v, which then stands
    for it (amsgrad). Weight decay is added to the gradient, or ``decoupled``: p *= 1 - lr
    weight_decay first. Half precision is computed in float32.
    Source: Kingma & Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2017,
    arXiv:1711.05101, algorithm 2; Reddi et al. 2018, arXiv:1904.09237, algorithm 2.
    """
    if weight_decay is not None and decoupled:
        p, weight_decay = p * (1 - lr * weight_decay), None
    g = decayed(p, g, weight_decay, maximize)
    m, v = moments(g, m, v, beta1, beta2)
    top = None if top is None else xp.maximum(top, v)
    # lr m^ / (sqrt(v^) + eps) with the constants taken out of the passes over memory.
    c = (1 - beta2**step) ** 0.5
    u = m / (xp.sqrt(v if top is None else top) + eps * c)
    return p - u * (lr * c / (1 - beta1**step)), m, v, top


@update
def _rmsprop_step(
    p: Tensor,
    g: Tensor,
    v: Tensor,
    mean: Tensor | None,
    buffer: Tensor | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float | None,
    momentum: float,
    maximize: bool,
):
    """v = alpha v + (1 - alpha) g^2; b = momentum b + g / (sqrt(v) + eps); p -= lr b.

    With ``mean``, the average of g, sqrt(v - mean^2) divides (centered).
    Source: Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850, eq. 38-45.
    """
    g = decayed(p, g, weight_decay, maximize)
    v = v * alpha + g * (1 - alpha) * g
    square, a = v, None
    if mean is not None:
        a = mean + (g - mean) * (1 - alpha)
        square = v - a * a
    u, b = g / (xp.sqrt(square) + eps), None
    if buffer is not None:
        u = b = buffer * momentum + u
    return p - u * lr, v, a, b


@update
def _adagrad_step(
    p: Tensor,
    g: Tensor,
    total: Tensor,
    step: float,
    lr: float,
    lr_decay: float,
    eps: float,
    weight_decay: float | None,
    maximize: bool,
):
    """s += g^2; p -= lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps).

    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", figure 1.
    """
    g = decayed(p, g, weight_decay, maximize)
    total = total + g * g
    return p - g / (xp.sqrt(total) + eps) * (lr / (1 + (step - 1) * lr_decay)), total


@update
def _adadelta_step(
    p: Tensor,
    g: Tensor,
    v: Tensor,
    delta: Tensor,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float | None,
    maximize: bool,
):
    """v = rho v + (1 - rho) g^2; u = sqrt(d + eps) / sqrt(v + eps) g; d likewise of u; p -= lr u.

    Source: Zeiler 2012, arXiv:1212.5701, algorithm 1.
    """
    g = decayed(p, g, weight_decay, maximize)
    v = v * rho + g * (1 - rho) * g
    u = xp.sqrt(delta + eps) / xp.sqrt(v + eps) * g
    return p - u * lr, v, delta * rho + u * (1 - rho) * u


@update
def _adamax_step(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    top: Tensor,
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float | None,
    maximize: bool,
):
    """m += (1 - b1)(g - m); u = max(b2 u, |g| + eps); p -= lr / (1 - b1^step) m / u.

    Source: Kingma & Ba 2014, arXiv:1412.6980, algorithm 2.
    """
    g = decayed(p, g, weight_decay, maximize)
    m = m + (g - m) * (1 - beta1)
    top = xp.maximum(top * beta2, xp.abs(g) + eps)
    return p - m / top * (lr / (1 - beta1**step)), m, top


@update
def _nadam_step(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: float,
    of_g: float,
    of_m: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float | None,
    decoupled: bool,
    maximize: bool,
):
    """Adam's m and v; p -= lr (of_g g + of_m m) / (sqrt(v / (1 - b2^step)) + eps).

    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 8.
    """
    if weight_decay is not None and decoupled:
        p, weight_decay = p * (1 - lr * weight_decay), None
    g = decayed(p, g, weight_decay, maximize)
    m, v = moments(g, m, v, beta1, beta2)
    c = (1 - beta2**step) ** 0.5
    u = (g * (lr * of_g * c) + m * (lr * of_m * c)) / (xp.sqrt(v) + eps * c)
    return p - u, m, v


@update
def _radam_step(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    step: float,
    rectified: float | None,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float | None,
    decoupled: bool,
    maximize: bool,
):
    """Adam's m and v; p -= lr r m^ sqrt(1 - b2^step) / (sqrt(v) + eps), r the rectification.

    Where r is 0, the variance not yet being tractable, p -= lr m^.
    Source: Liu et al. 2019, arXiv:1908.03265, algorithm 2.
    """
    if weight_decay is not None and decoupled:
        p, weight_decay = p * (1 - lr * weight_decay), None
    g = decayed(p, g, weight_decay, maximize)
    m, v = moments(g, m, v, beta1, beta2)
    size = lr / (1 - beta1**step)
    if rectified is None:
        return p - m * size, m, v
    return p - m / (xp.sqrt(v) + eps) * (size * rectified * (1 - beta2**step) ** 0.5), m, v


@update
def _asgd_step(
    p: Tensor,
    g: Tensor,
    mean: Tensor,
    eta: float,
    mu: float,
    lambd: float,
    weight_decay: float | None,
    starting: bool,
    maximize: bool,
):
    """p = (1 - lambd eta) p - eta g; mean += mu (p - mean), or p where averaging has not begun.

    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging".
    """
    g = decayed(p, g, weight_decay, maximize)
    p = p * (1 - lambd * eta) - g * eta
    return p, p * 1.0 if starting else mean + (p - mean) * mu


@update
def _rprop_step(
    p: Tensor,
    g: Tensor,
    prev: Tensor,
    size: Tensor,
    eta_minus: float,
    eta_plus: float,
    smallest: float,
    largest: float,
    maximize: bool,
):
    """size *= eta_plus where g keeps its sign, eta_minus where that changed; p -= size sign(g).

    Where the sign changed the gradient counts as 0 in this step and the next.
    Source: Riedmiller & Braun 1993, "A direct adaptive method for faster backpropagation learning".
    """
    if maximize:
        g = -g
    kept = g * prev
    size = size * xp.where(kept > 0, eta_plus, xp.where(kept < 0, eta_minus, 1.0))
    size = xp.minimum(xp.maximum(size, smallest), largest)
    g = xp.where(kept < 0, 0.0, g)
    return p - xp.sign(g) * size, g, size


@update
def _average_step(p: Tensor, g: Tensor, weight: float):
    """p += weight (g - p): a running average of g."""
    return p + (g - p) * weight


__all__ = ["_adadelta_step", "_adagrad_step", "_adam_step", "_adamax_step", "_asgd_step",
           "_average_step", "_nadam_step", "_radam_step", "_rmsprop_step", "_rprop_step",
           "_sgd_step"]  # fmt: skip
