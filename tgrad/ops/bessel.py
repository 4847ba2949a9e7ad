"""Bessel functions, as in ``torch.special``: of the first and second kind, plain and modified.

On the CPU they are SciPy's (Cephes), on CUDA libdevice's, and where that has none series and
integrals (``kernels/cuda/bessel.py``). PyTorch has gradients of i0e and i1e alone; here all have.
"""

from __future__ import annotations

from tgrad.dispatch import alias
from tgrad.ops.special import REAL, i0, i1
from tgrad.pointwise import derivative, pointwise, xp

SPECIAL = ("special",)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def i0e(x):
    """exp(-|input|) i0(input), which does not overflow. dtype: floating."""
    return xp.i0e(x)


@derivative(i0e)
def i0e_backward(g, x, y):
    """g (i1e(x) - sign(x) i0e(x))."""
    return g * (xp.i1e(x) - xp.sign(x) * y)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def i1e(x):
    """exp(-|input|) i1(input), which does not overflow. dtype: floating."""
    return xp.i1e(x)


@derivative(i1e)
def i1e_backward(g, x, y):
    """g (i0e(x) - i1e(x) (sign(x) + 1 / x)), and g / 2 at 0."""
    zero = xp.eq(x, 0)
    slope = xp.i0e(x) - y * (xp.sign(x) + xp.div(1, xp.where(zero, 1, x)))
    return g * xp.where(zero, 0.5, slope)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def bessel_j0(x):
    """The Bessel function of the first kind, order 0. dtype: floating."""
    return xp.bessel_j0(x)


@derivative(bessel_j0)
def bessel_j0_backward(g, x):
    """-g j1(x)."""
    return -g * xp.bessel_j1(x)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def bessel_j1(x):
    """The Bessel function of the first kind, order 1. dtype: floating."""
    return xp.bessel_j1(x)


@derivative(bessel_j1)
def bessel_j1_backward(g, x, y):
    """g (j0(x) - j1(x) / x), and g / 2 at 0."""
    zero = xp.eq(x, 0)
    return g * xp.where(zero, 0.5, xp.bessel_j0(x) - xp.div(y, xp.where(zero, 1, x)))


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def bessel_y0(x):
    """The Bessel function of the second kind, order 0; -inf at 0, NaN below. dtype: floating."""
    return xp.bessel_y0(x)


@derivative(bessel_y0)
def bessel_y0_backward(g, x):
    """-g y1(x)."""
    return -g * xp.bessel_y1(x)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def bessel_y1(x):
    """The Bessel function of the second kind, order 1; -inf at 0, NaN below. dtype: floating."""
    return xp.bessel_y1(x)


@derivative(bessel_y1)
def bessel_y1_backward(g, x, y):
    """g (y0(x) - y1(x) / x)."""
    return g * (xp.bessel_y0(x) - xp.div(y, x))


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def modified_bessel_k0(x):
    """The modified Bessel function of the second kind, order 0; inf at 0, NaN below.

    dtype: floating.
    """
    return xp.modified_bessel_k0(x)


@derivative(modified_bessel_k0)
def modified_bessel_k0_backward(g, x):
    """-g k1(x)."""
    return -g * xp.modified_bessel_k1(x)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def modified_bessel_k1(x):
    """The modified Bessel function of the second kind, order 1; inf at 0, NaN below.

    dtype: floating.
    """
    return xp.modified_bessel_k1(x)


@derivative(modified_bessel_k1)
def modified_bessel_k1_backward(g, x, y):
    """-g (k0(x) + k1(x) / x)."""
    return -g * (xp.modified_bessel_k0(x) + xp.div(y, x))


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def scaled_modified_bessel_k0(x):
    """exp(input) k0(input), which does not underflow. dtype: floating."""
    return xp.scaled_modified_bessel_k0(x)


@derivative(scaled_modified_bessel_k0)
def scaled_modified_bessel_k0_backward(g, x, y):
    """g (k0 - k1), both scaled."""
    return g * (y - xp.scaled_modified_bessel_k1(x))


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def scaled_modified_bessel_k1(x):
    """exp(input) k1(input), which does not underflow. dtype: floating."""
    return xp.scaled_modified_bessel_k1(x)


@derivative(scaled_modified_bessel_k1)
def scaled_modified_bessel_k1_backward(g, x, y):
    """g (k1 - k0 - k1 / x), all scaled."""
    return g * (y - xp.scaled_modified_bessel_k0(x) - xp.div(y, x))


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def spherical_bessel_j0(x):
    """sin(x) / x, by its series near 0; 0 at infinity. dtype: floating."""
    s = x * x
    near = 1 + s * (-1 / 6 + s * (1 / 120 + s * (-1 / 5040 + s * (1 / 362880 - s / 39916800))))
    small = xp.lt(xp.abs(x), 0.5)
    far = xp.div(xp.sin(x), xp.where(small, 1, x))
    return xp.where(xp.eq(xp.abs(x), float("inf")), 0, xp.where(small, near, far))


@derivative(spherical_bessel_j0)
def spherical_bessel_j0_backward(g, x, y):
    """g (cos(x) - j0(x)) / x, by its series near 0."""
    s = x * x
    near = x * (-1 / 3 + s * (1 / 30 + s * (-1 / 840 + s * (1 / 45360 - s / 3991680))))
    small = xp.lt(xp.abs(x), 0.5)
    return g * xp.where(small, near, xp.div(xp.cos(x) - y, xp.where(small, 1, x)))


alias("modified_bessel_i0", i0, SPECIAL)
alias("modified_bessel_i1", i1, SPECIAL)
