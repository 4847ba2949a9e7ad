"""Activation functions of ``nn.functional``, each with its gradient as one more expression."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tgrad.pointwise import Instead, derivative, pointwise, xp

FUNCTIONAL = ("nn.functional",)
EVERYWHERE = ("tgrad", "Tensor", "nn.functional")


def activation(
    expression: Callable | None = None,
    *,
    spaces: Sequence[str] = FUNCTIONAL,
    accepts: str = "float",
    result: str = "promote",
) -> Any:
    """Declare a pointwise op that also takes PyTorch's ``inplace=False`` as its last argument."""

    def declare(expression: Callable) -> Any:
        signature = inspect.signature(expression)
        flag = inspect.Parameter("inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
        full = signature.replace(parameters=[*signature.parameters.values(), flag])

        def prepare(*args: Any, **kwargs: Any) -> Instead:
            bound = full.bind(*args, **kwargs)
            bound.apply_defaults()
            *ready, inplace = bound.arguments.values()
            return Instead(call, tuple(ready), bool(inplace))

        call = pointwise(expression, spaces=spaces, accepts=accepts, result=result, prepare=prepare)
        public = list(call.__signature__.parameters.values())
        call.__signature__ = inspect.Signature([*public, flag])
        return call

    return declare if expression is None else declare(expression)


@activation(accepts="int float", spaces=EVERYWHERE)
def relu(x):
    """max(input, 0); the gradient at 0 is 0. Raises: RuntimeError for bool and complex."""
    return xp.maximum(x, 0)


@derivative(relu)
def relu_backward(g, y):
    """g where y > 0, else 0."""
    return xp.where(y > 0, g, 0)


@activation(accepts="float complex")
def silu(x):
    """input * sigmoid(input) (Elfwing et al. 2017, arXiv:1702.03118)."""
    return xp.div(x, xp.exp(-x) + 1)


@derivative(silu)
def silu_backward(g, x):
    """g s (1 + x (1 - s)) with s = sigmoid(x)."""
    s = xp.sigmoid(x)
    return g * xp.conj(s * (1 + x * (1 - s)))


def approximation(x: Any, approximate: str = "none") -> Instead:
    """The gelu that ``approximate`` names."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    return Instead(gelu if approximate == "none" else gelu_tanh, (x,))


@pointwise(accepts="float", spaces=FUNCTIONAL, prepare=approximation)
def gelu(x):
    """input * Phi(input), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    ``approximate="tanh"``: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. arXiv:1606.08415.
    Raises: RuntimeError for any other ``approximate``.
    """
    return x * 0.5 * (xp.erf(x * 0.7071067811865476) + 1)


@derivative(gelu)
def gelu_backward(g, x):
    """g (Phi(x) + x phi(x)), phi the normal density."""
    phi = xp.exp(x * x * -0.5) * 0.3989422804014327
    return g * ((xp.erf(x * 0.7071067811865476) + 1) * 0.5 + x * phi)


@pointwise(accepts="float", spaces=())
def gelu_tanh(x):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    t = xp.tanh(x * (x * x * 0.035677408136300125 + 0.7978845608028654))
    return x * 0.5 * (t + 1)


@derivative(gelu_tanh)
def gelu_tanh_backward(g, x):
    """g ((1 + t) / 2 + x (1 - t^2) u' / 2) with t = tanh(u)."""
    s = x * x
    t = xp.tanh(x * (s * 0.035677408136300125 + 0.7978845608028654))
    slope = s * 0.10703222440890037 + 0.7978845608028654
    return g * ((t + 1) * 0.5 + x * (1 - t * t) * slope * 0.5)
