"""Pointwise ops: arithmetic, comparison, maths, activations, and their gradients."""

from __future__ import annotations

from tgrad.dispatch import gradient
from tgrad.pointwise import pointwise, xp


def scaled(x, other, *, alpha=1):
    """The arguments of ``add`` and ``sub``: ``other`` times ``alpha``."""
    return x, other if alpha == 1 else other * alpha


@pointwise(prepare=scaled)
def add(x, other):
    """input + alpha * other."""
    return x + other


@gradient(add, "x")
def _(g):
    return g


@gradient(add, "other")
def _(g):
    return g


@pointwise(prepare=scaled, accepts="int float complex")
def sub(x, other):
    """input - alpha * other."""
    return x - other


@gradient(sub, "x")
def _(g):
    return g


@gradient(sub, "other")
def _(g):
    return -g


@pointwise
def neg(x):
    """-input."""
    return -x


@gradient(neg)
def _(g):
    return -g


@pointwise(result="float")
def div(x, other):
    """input / other."""
    return x / other


@gradient(div, "x")
def _(g, other):
    return g / other


@gradient(div, "other")
def _(g, y, other):
    return -g * y / other


@pointwise
def mul(x, other):
    """input * other."""
    return x * other


@gradient(mul, "x")
def _(g, other):
    return g * other


@gradient(mul, "other")
def _(g, x):
    return g * x


@pointwise(result="float")
def exp(x):
    """e to the power input."""
    return xp.exp(x)


@gradient(exp)
def _(g, y):
    return g * y


@pointwise(result="bool", accepts="bool int float")
def gt(x, other):
    """input > other."""
    return x > other


@pointwise(accepts="int float")
def relu(x):
    """max(input, 0)."""
    return xp.maximum(x, 0)


@gradient(relu)
def _(g, y):
    return relu_backward(g, y)


@pointwise
def relu_backward(g, y):
    """g where y > 0, else 0: the gradient at the kink is 0, as in PyTorch."""
    return xp.where(y > 0, g, 0)


@pointwise(result="float", accepts="bool int float")
def silu(x):
    """input * sigmoid(input) (Elfwing et al. 2017, arXiv:1702.03118)."""
    return x * xp.sigmoid(x)


@gradient(silu)
def _(g, x):
    return silu_backward(g, x)


@pointwise
def silu_backward(g, x):
    """g * s * (1 + x * (1 - s)) with s = sigmoid(x)."""
    s = xp.sigmoid(x)
    return g * s * (1 + x * (1 - s))


@pointwise(result="float", accepts="bool int float")
def sigmoid(x):
    """1 / (1 + exp(-input))."""
    return xp.sigmoid(x)


@gradient(sigmoid)
def _(g, y):
    return g * y * (1 + y * -1)
