"""What surrounds the gamma function: incomplete forms, polygamma, zeta; and the normal law's tails.

On the CPU they are SciPy's (Cephes), on CUDA libdevice's or written out
(``kernels/cuda/gamma.py``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import alias, composite, gradient
from tgrad.ops.reduction import with_out
from tgrad.ops.special import REAL, digamma, lgamma
from tgrad.pointwise import derivative, pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

SPECIAL = ("special",)


# ---- the normal law ------------------------------------------------------------------------------


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def erfcx(x):
    """exp(input^2) erfc(input), which does not underflow. dtype: floating."""
    return xp.erfcx(x)


@derivative(erfcx)
def erfcx_backward(g, x, y):
    """g (2 x erfcx(x) - 2 / sqrt(pi))."""
    return g * (2 * x * y - 1.1283791670955126)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def ndtri(x):
    """The number whose :func:`ndtr` is the input; NaN outside [0, 1]. dtype: floating."""
    return xp.ndtri(x)


@derivative(ndtri)
def ndtri_backward(g, y):
    """g sqrt(2 pi) exp(y^2 / 2)."""
    return g * xp.exp(y * y * 0.5) * 2.5066282746310002


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def log_ndtr(x):
    """log of :func:`ndtr`, exact in both tails. dtype: floating."""
    low = xp.lt(x, -1)
    t = x * 0.7071067811865476
    tail = xp.log(xp.erfcx(xp.where(low, -t, 1)) * 0.5) - t * t
    return xp.where(low, tail, xp.log1p(xp.erfc(xp.where(low, 0, t)) * -0.5))


@derivative(log_ndtr)
def log_ndtr_backward(g, x):
    """g sqrt(2 / pi) / erfcx(-x / sqrt(2)): the density over :func:`ndtr`."""
    return g * xp.div(0.7978845608028654, xp.erfcx(x * -0.7071067811865476))


# ---- zeta and polygamma --------------------------------------------------------------------------


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def zeta(input, other):
    """Hurwitz's sum of (k + other)^-input over k = 0, 1, ...; NaN for input < 1.

    inf at input = 1 and for whole other <= 0; NaN for others below 0, where PyTorch has values for
    whole inputs. Differentiable by ``other``. Shape: broadcasts. dtype: floating.
    Source: Euler and Maclaurin's formula (Johansson 2013, arXiv:1309.2877).
    """
    whole = xp.eq(other, xp.floor(other))
    inside = xp.where(xp.gt(other, 0), other, 1)
    edge = xp.where(whole & xp.ge(input, 1), float("inf"), float("nan"))
    return xp.where(xp.gt(other, 0), xp.zeta(input, inside), edge)


@derivative(zeta, "other")
def zeta_other_backward(g, input, other):
    """-g input zeta(input + 1, other)."""
    return -g * input * xp.zeta(input + 1, other)


@gradient(zeta, "input")
def _(g):
    raise RuntimeError("zeta: the derivative with respect to 'input' is not implemented")


@composite(spaces=("tgrad", "special"))
@with_out
def polygamma(n: int, input: Tensor) -> Tensor:
    """The ``n``-th derivative of :func:`digamma`: (-1)^(n + 1) n! zeta(n + 1, input).

    NaN for negative inputs that are not whole if n > 1. dtype: floating.
    Raises: RuntimeError for n < 0.
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if n == 0:
        return digamma(input)
    if n == 1:
        return _trigamma(input)
    return zeta(float(n + 1), input) * ((-1) ** (n + 1) * float(math.factorial(n)))


@pointwise(result="float", accepts=REAL, spaces=())
def _trigamma(x):
    """The derivative of :func:`digamma`, with a gradient for inputs above 0."""
    return xp.trigamma(x)


@derivative(_trigamma)
def trigamma_backward(g, x):
    """-2 g zeta(3, x)."""
    return g * -2 * xp.zeta(3, x)


# ---- incomplete gamma functions ------------------------------------------------------------------


@pointwise(result="float", accepts="float", spaces=("tgrad", "Tensor"))
def igamma(input, other):
    """The share of Gamma(input) below ``other``: the integral of t^(input - 1) e^-t / Gamma(input).

    Differentiable by ``other``. NaN where either is negative. Shape: broadcasts. dtype: floating.
    Source: series and continued fraction of Press et al. 2007, "Numerical recipes", 6.2.
    """
    return xp.igamma(input, other)


@pointwise(result="float", accepts="float", spaces=("tgrad", "Tensor"))
def igammac(input, other):
    """1 - :func:`igamma`, exact where that is near 1."""
    return xp.igammac(input, other)


@pointwise
def gamma_density_backward(g, input, other):
    """g other^(input - 1) exp(-other) / Gamma(input)."""
    return g * xp.exp((input - 1) * xp.log(other) - other - xp.lgamma(input))


@gradient(igamma, "other")
def _(g, input, other):
    return gamma_density_backward(g, input, other)


@gradient(igammac, "other")
def _(g, input, other):
    return gamma_density_backward(-g, input, other)


@gradient(igamma, "input")
def _(g):
    raise RuntimeError("the derivative for 'igamma: input' is not implemented")


@gradient(igammac, "input")
def _(g):
    raise RuntimeError("the derivative for 'igammac: input' is not implemented")


alias("gammainc", igamma, SPECIAL)
alias("gammaincc", igammac, SPECIAL)


@composite(inplace=True)
@with_out
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """log of the gamma function of ``p`` dims: p (p - 1) / 4 log(pi) + sum lgamma(input - j / 2).

    j runs from 0 to p - 1. dtype: floating. Raises: RuntimeError for p < 1.
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = input if input.dtype.category >= dtypes.FLOAT else input.to(dtypes.get_default_dtype())
    total = lgamma(x) + p * (p - 1) / 4 * math.log(math.pi)
    for j in range(1, p):
        total = total + lgamma(x - j / 2)
    return total


alias("multigammaln", mvlgamma, SPECIAL)
