"""Rarer functions: of angles and signs, of logarithms, and the special ones of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import alias, composite, gradient
from tgrad.ops.comparison import eq, isnan, logical_not, logical_or
from tgrad.ops.maths import atan2, conj, exp2, expm1, log1p, round, sigmoid
from tgrad.pointwise import derivative, pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

REAL = "bool int float"
SPECIAL = ("tgrad", "Tensor", "special")


# ---- parts and signs -----------------------------------------------------------------------------


@pointwise(accepts="float")
def frac(x):
    """input - trunc(input), the part after the point."""
    return x - xp.trunc(x)


@gradient(frac)
def _(g):
    return g


@pointwise(result="bool", accepts=REAL)
def signbit(x):
    """Whether the sign is minus; -0.0 has one. dtype: bool."""
    return xp.signbit(x)


@pointwise(result="bool", accepts=REAL)
def isposinf(x):
    """Whether the input is inf. dtype: bool. Raises: RuntimeError for complex."""
    return xp.eq(x, float("inf"))


@pointwise(result="bool", accepts=REAL)
def isneginf(x):
    """Whether the input is -inf. dtype: bool. Raises: RuntimeError for complex."""
    return xp.eq(x, -float("inf"))


@composite
def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part is 0: everywhere for real dtypes. dtype: bool."""
    if input.dtype.is_complex:
        return eq(input.imag, 0)
    missing = isnan(input)
    return logical_or(missing, logical_not(missing))


@composite(inplace=True)
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    return conj(input)


@composite
def angle(input: Tensor) -> Tensor:
    """The angle of a complex number in radians; for real ones 0, or pi where negative."""
    return atan2(input.imag, input.real) if input.dtype.is_complex else _angle(input)


@pointwise(result="float", accepts=REAL, spaces=())
def _angle(x):
    """pi where x < 0, else 0; NaN stays."""
    return xp.where(xp.lt(x, 0), 3.141592653589793, xp.where(xp.ne(x, x), x, 0))


@gradient(_angle)
def _(g):
    return g * 0


@pointwise(result="float", accepts=REAL)
def copysign(x, other):
    """|input| with the sign of ``other``. Shape: broadcasts. dtype: floating."""
    return xp.copysign(x, other)


@derivative(copysign, "x")
def copysign_backward(g, x, other):
    """g where both signs agree, -g where they do not, 0 where x is 0."""
    s = g * xp.sign(x)
    return xp.where(xp.eq(x, 0), 0, xp.where(xp.signbit(other), -s, s))


@gradient(copysign, "other")
def _(g):
    return g * 0


@composite(inplace=True)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where input < 0, ``values`` where it is 0, else 1. Without gradient, as in PyTorch.

    Shape: broadcasts. Raises: RuntimeError for different dtypes, and for complex.
    """
    if not isinstance(values, Variable):
        raise TypeError(
            f"heaviside(): argument 'values' must be Tensor, not {type(values).__name__}"
        )
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return _heaviside(input, values)


@pointwise(accepts=REAL, spaces=())
def _heaviside(x, values):
    """values where x is 0, else whether x > 0."""
    return xp.where(xp.eq(x, 0), values, xp.where(xp.gt(x, 0), 1, 0))


@pointwise(accepts="float", spaces=())
def _nextafter(x, other):
    """The next float from x towards other."""
    return xp.nextafter(x, other)


@composite(inplace=True)
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next representable number from input towards ``other``.

    Shape: broadcasts. dtype: float32 or float64.
    """
    for x in (input, other):
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise NotImplementedError(f"\"nextafter\" not implemented for '{x.dtype.name}'")
    return _nextafter(input, other)


# ---- angles and lengths --------------------------------------------------------------------------


@pointwise(result="float", accepts=REAL)
def deg2rad(x):
    """input pi / 180. dtype: floating."""
    return x * 0.017453292519943295


@gradient(deg2rad)
def _(g):
    return g * 0.017453292519943295


@pointwise(result="float", accepts=REAL)
def rad2deg(x):
    """input 180 / pi. dtype: floating."""
    return x * 57.29577951308232


@gradient(rad2deg)
def _(g):
    return g * 57.29577951308232


@pointwise(accepts="float")
def hypot(x, other):
    """sqrt(input^2 + other^2), without overflow on the way. Shape: broadcasts."""
    return xp.hypot(x, other)


@derivative(hypot, "x", "other")
def hypot_backward(g, x, other, y):
    """g x / y and g other / y."""
    return g * xp.div(x, y), g * xp.div(other, y)


@pointwise(result="float", spaces=SPECIAL)
def sinc(x):
    """sin(pi x) / (pi x), and 1 at 0. dtype: floating."""
    z = x * 3.141592653589793
    return xp.where(xp.eq(x, 0), 1, xp.div(xp.sin(z), z))


@derivative(sinc)
def sinc_backward(g, x):
    """g (cos(pi x) - sinc(x)) / x, and 0 at 0."""
    zero = xp.eq(x, 0)
    safe = xp.where(zero, 1, x)
    z = safe * 3.141592653589793
    return xp.where(zero, 0, g * xp.conj(xp.div(xp.cos(z) - xp.div(xp.sin(z), z), safe)))


# ---- logarithms and exponents --------------------------------------------------------------------


@pointwise(accepts="float")
def logaddexp(x, other):
    """log(e^input + e^other), without overflow on the way. Shape: broadcasts."""
    return xp.logaddexp(x, other)


@derivative(logaddexp, "x")
def logaddexp_backward(g, x, other):
    """g sigmoid(x - other)."""
    return g * xp.sigmoid(x - other)


@derivative(logaddexp, "other")
def logaddexp_other_backward(g, x, other):
    """g sigmoid(other - x)."""
    return g * xp.sigmoid(other - x)


@pointwise(accepts="float")
def logaddexp2(x, other):
    """log2(2^input + 2^other), without overflow on the way. Shape: broadcasts."""
    return xp.logaddexp2(x, other)


@derivative(logaddexp2, "x")
def logaddexp2_backward(g, x, other):
    """g sigmoid((x - other) log 2)."""
    return g * xp.sigmoid((x - other) * 0.6931471805599453)


@derivative(logaddexp2, "other")
def logaddexp2_other_backward(g, x, other):
    """g sigmoid((other - x) log 2)."""
    return g * xp.sigmoid((other - x) * 0.6931471805599453)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def xlogy(x, other):
    """input log(other), and 0 where input is 0 (unless ``other`` is NaN).

    Shape: broadcasts. dtype: floating.
    """
    return xp.where(xp.eq(x, 0) & xp.eq(other, other), 0, x * xp.log(other))


@derivative(xlogy, "x")
def xlogy_backward(g, x, other):
    """g log(other), and 0 where x is 0 and other <= 0."""
    flat = xp.eq(x, 0) & xp.le(other, 0)
    return xp.where(flat, 0, g * xp.log(xp.where(flat, 1, other)))


@derivative(xlogy, "other")
def xlogy_other_backward(g, x, other):
    """g x / other."""
    return xp.div(g * x, other)


@pointwise(result="float", accepts=REAL, spaces=("special",))
def xlog1py(x, other):
    """input log(1 + other), and 0 where input is 0 (unless ``other`` is NaN).

    Shape: broadcasts. dtype: floating.
    """
    return xp.where(xp.eq(x, 0) & xp.eq(other, other), 0, x * xp.log1p(other))


@derivative(xlog1py, "x")
def xlog1py_backward(g, x, other):
    """g log(1 + other), and 0 where x is 0 and other <= -1."""
    flat = xp.eq(x, 0) & xp.le(other, -1)
    return xp.where(flat, 0, g * xp.log1p(xp.where(flat, 0, other)))


@derivative(xlog1py, "other")
def xlog1py_other_backward(g, x, other):
    """g x / (1 + other)."""
    return xp.div(g * x, other + 1)


@pointwise(result="float", accepts=REAL, spaces=("special",))
def entr(x):
    """-input log(input): 0 at 0, -inf below. dtype: floating."""
    inside = xp.where(xp.eq(x, 0), 0, -x * xp.log(x))
    return xp.where(xp.lt(x, 0), -float("inf"), inside)


@derivative(entr)
def entr_backward(g, x):
    """-g (1 + log(x))."""
    return -g * (xp.log(x) + 1)


@pointwise(result="float", accepts=REAL)
def ldexp(x, other):
    """input * 2^other. Shape: broadcasts. dtype: floating."""
    return x * xp.exp2(other)


@derivative(ldexp, "x")
def ldexp_backward(g, other):
    """g 2^other."""
    return g * xp.exp2(other)


@derivative(ldexp, "other")
def ldexp_other_backward(g, y):
    """g y log 2."""
    return g * y * 0.6931471805599453


@composite(spaces=SPECIAL, inplace=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(z / (1 - z)), z the input, clamped to [eps, 1 - eps] if ``eps`` is given.

    dtype: floating.
    """
    if eps is None:
        return _logit(input)
    if input.dtype.category < dtypes.FLOAT:
        input = input.to(dtypes.get_default_dtype())
    return _logit(input.clamp(eps, 1 - eps))


@pointwise(result="float", accepts=REAL, spaces=())
def _logit(x):
    """log(x / (1 - x))."""
    return xp.log(xp.div(x, 1 - x))


@derivative(_logit)
def logit_backward(g, x):
    """g / (x (1 - x)); NaN outside [0, 1]."""
    outside = xp.lt(x, 0) | xp.gt(x, 1)
    return xp.where(outside, float("nan"), xp.div(g, x * (1 - x)))


# ---- statistics ----------------------------------------------------------------------------------


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def erfc(x):
    """1 - erf(input), exact for large inputs. dtype: floating."""
    return xp.erfc(x)


@derivative(erfc)
def erfc_backward(g, x):
    """-g 2 / sqrt(pi) exp(-x^2)."""
    return g * xp.exp(-(x * x)) * -1.1283791670955126


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def erfinv(x):
    """The number whose erf is the input; NaN outside [-1, 1]. dtype: floating."""
    return xp.erfinv(x)


@derivative(erfinv)
def erfinv_backward(g, y):
    """g sqrt(pi) / 2 exp(y^2)."""
    return g * xp.exp(y * y) * 0.886226925452758


@pointwise(result="float", accepts=REAL, spaces=("special",))
def ndtr(x):
    """The normal distribution function: erfc(-x / sqrt(2)) / 2. dtype: floating."""
    return xp.erfc(x * -0.7071067811865476) * 0.5


@derivative(ndtr)
def ndtr_backward(g, x):
    """g exp(-x^2 / 2) / sqrt(2 pi)."""
    return g * xp.exp(x * x * -0.5) * 0.3989422804014327


@pointwise(result="float", accepts=REAL)
def lgamma(x):
    """log |Gamma(input)|. dtype: floating."""
    return xp.where(xp.eq(x, -float("inf")), float("inf"), xp.lgamma(x))


@derivative(lgamma)
def lgamma_backward(g, x):
    """g digamma(x)."""
    return g * xp.digamma(x)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def digamma(x):
    """The derivative of :func:`lgamma`; NaN at negative whole numbers. dtype: floating."""
    return xp.digamma(x)


@derivative(digamma)
def digamma_backward(g, x):
    """g trigamma(x)."""
    return g * xp.trigamma(x)


@pointwise(result="float", accepts=REAL, spaces=())
def trigamma(x):
    """The derivative of :func:`digamma`; without a gradient of its own."""
    return xp.trigamma(x)


@pointwise(result="float", accepts=REAL, spaces=SPECIAL)
def i0(x):
    """The modified Bessel function of the first kind, order 0. dtype: floating."""
    return xp.i0(x)


@derivative(i0)
def i0_backward(g, x):
    """g i1(x)."""
    return g * xp.i1(x)


@pointwise(result="float", accepts=REAL, spaces=("special",))
def i1(x):
    """The modified Bessel function of the first kind, order 1. dtype: floating."""
    return xp.i1(x)


@derivative(i1)
def i1_backward(g, x, y):
    """g (i0(x) - i1(x) / x), and g / 2 at 0."""
    zero = xp.eq(x, 0)
    return g * xp.where(zero, 0.5, xp.i0(x) - xp.div(y, xp.where(zero, 1, x)))


# ---- whole numbers -------------------------------------------------------------------------------


@pointwise(accepts="int")
def gcd(x, other):
    """The greatest common divisor; gcd(0, 0) = 0. Shape: broadcasts."""
    return xp.gcd(x, other)


@pointwise(accepts="int")
def lcm(x, other):
    """The least common multiple. Shape: broadcasts."""
    return xp.lcm(x, other)


@composite(spaces=("tgrad",))
def isin(
    elements: Tensor | complex,
    test_elements: Tensor | complex,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Whether each of ``elements`` is among ``test_elements``; ``invert`` gives the opposite.

    Shape: that of ``elements``. dtype: bool. One of the two may be a number.
    """
    if not isinstance(elements, Variable):
        found = eq(_tensor(test_elements), elements).any()
    elif not isinstance(test_elements, Variable):
        found = eq(elements, test_elements)
    else:
        found = eq(elements.reshape(*elements.shape, 1), test_elements.reshape(-1)).any(-1)
    return logical_not(found) if invert else found


def _tensor(x: Any) -> Any:
    if not isinstance(x, Variable):
        raise TypeError("isin(): expected at least one Tensor")
    return x


for _name, _of in {"expit": sigmoid, "gammaln": lgamma, "psi": digamma}.items():
    alias(_name, _of, ("special",))
for _of in (exp2, expm1, log1p, round):
    _of.op.spaces = (*_of.op.spaces, "special")
