"""Functions of one variable: exponentials, logarithms, trigonometry, rounding, special ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes, return_types
from tgrad.dispatch import OPS, alias, composite, gradient
from tgrad.pointwise import Instead, derivative, pointwise, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

# ---- powers and exponentials ---------------------------------------------------------------------


@pointwise(result="float")
def sqrt(x):
    """The square root; NaN below 0. dtype: floating."""
    return xp.sqrt(x)


@derivative(sqrt)
def sqrt_backward(g, y):
    """g / (2 y)."""
    return g / xp.conj(y * 2)


@pointwise(result="float")
def rsqrt(x):
    """1 / sqrt(input). dtype: floating."""
    return xp.rsqrt(x)


@derivative(rsqrt)
def rsqrt_backward(g, y):
    """-g y^3 / 2."""
    return g * xp.conj(y * y * y) * -0.5


@pointwise(result="float")
def exp(x):
    """e to the power input. dtype: floating."""
    return xp.exp(x)


@derivative(exp)
def exp_backward(g, y):
    """g y."""
    return g * xp.conj(y)


@pointwise(result="float")
def exp2(x):
    """2 to the power input. dtype: floating."""
    return xp.exp2(x)


@derivative(exp2)
def exp2_backward(g, y):
    """g y log 2."""
    return g * xp.conj(y) * 0.6931471805599453


@pointwise(result="float")
def expm1(x):
    """e to the power input, minus 1: exact near 0. dtype: floating."""
    return xp.expm1(x)


@derivative(expm1)
def expm1_backward(g, y):
    """g (y + 1)."""
    return g * xp.conj(y + 1)


# ---- logarithms ----------------------------------------------------------------------------------


@pointwise(result="float")
def log(x):
    """The natural logarithm; -inf at 0, NaN below. dtype: floating."""
    return xp.log(x)


@derivative(log)
def log_backward(g, x):
    """g / x."""
    return xp.div(g, xp.conj(x))


@pointwise(result="float")
def log2(x):
    """The logarithm of base 2. dtype: floating."""
    return xp.log2(x)


@derivative(log2)
def log2_backward(g, x):
    """g / (x log 2)."""
    return xp.div(g, xp.conj(x) * 0.6931471805599453)


@pointwise(result="float")
def log10(x):
    """The logarithm of base 10. dtype: floating."""
    return xp.log10(x)


@derivative(log10)
def log10_backward(g, x):
    """g / (x log 10)."""
    return xp.div(g, xp.conj(x) * 2.302585092994046)


@pointwise(result="float")
def log1p(x):
    """log(1 + input): exact near 0. dtype: floating."""
    return xp.log1p(x)


@derivative(log1p)
def log1p_backward(g, x):
    """g / (1 + x)."""
    return xp.div(g, xp.conj(x) + 1)


# ---- trigonometry --------------------------------------------------------------------------------


@pointwise(result="float")
def sin(x):
    """The sine of radians. dtype: floating."""
    return xp.sin(x)


@derivative(sin)
def sin_backward(g, x):
    """g cos(x)."""
    return g * xp.conj(xp.cos(x))


@pointwise(result="float")
def cos(x):
    """The cosine of radians. dtype: floating."""
    return xp.cos(x)


@derivative(cos)
def cos_backward(g, x):
    """-g sin(x)."""
    return g * -xp.conj(xp.sin(x))  # -g * sin spills 8 bytes in float64


@pointwise(result="float")
def tan(x):
    """The tangent of radians. dtype: floating."""
    return xp.tan(x)


@derivative(tan)
def tan_backward(g, y):
    """g (1 + y^2)."""
    return g * xp.conj(y * y + 1)


@pointwise(result="float")
def asin(x):
    """The inverse sine in radians; NaN outside [-1, 1]. dtype: floating."""
    return xp.asin(x)


@derivative(asin)
def asin_backward(g, x):
    """g / sqrt(1 - x^2)."""
    return g * xp.conj(xp.rsqrt(1 - x * x))


@pointwise(result="float")
def acos(x):
    """The inverse cosine in radians; NaN outside [-1, 1]. dtype: floating."""
    return xp.acos(x)


@derivative(acos)
def acos_backward(g, x):
    """-g / sqrt(1 - x^2)."""
    return -g * xp.conj(xp.rsqrt(1 - x * x))


@pointwise(result="float")
def atan(x):
    """The inverse tangent in radians. dtype: floating."""
    return xp.atan(x)


@derivative(atan)
def atan_backward(g, x):
    """g / (1 + x^2)."""
    return xp.div(g, xp.conj(x * x + 1))


@pointwise(result="float", accepts="bool int float")
def atan2(x, other):
    """The angle of the point (other, input) in radians, in (-pi, pi].

    Shape: broadcasts. dtype: floating.
    """
    return xp.atan2(x, other)


@derivative(atan2, "x", "other")
def atan2_backward(g, x, other):
    """g other / (x^2 + other^2) and -g x / (x^2 + other^2), and 0 at the origin."""
    d = x * x + other * other
    origin = xp.eq(d, 0)
    return xp.where(origin, 0, xp.div(g * other, d)), xp.where(origin, 0, xp.div(-g * x, d))


@pointwise(result="float")
def sinh(x):
    """The hyperbolic sine. dtype: floating."""
    return xp.sinh(x)


@derivative(sinh)
def sinh_backward(g, x):
    """g cosh(x)."""
    return g * xp.conj(xp.cosh(x))


@pointwise(result="float")
def cosh(x):
    """The hyperbolic cosine. dtype: floating."""
    return xp.cosh(x)


@derivative(cosh)
def cosh_backward(g, x):
    """g sinh(x)."""
    return g * xp.conj(xp.sinh(x))


@pointwise(result="float", spaces=("tgrad", "Tensor", "nn.functional"))
def tanh(x):
    """The hyperbolic tangent. dtype: floating."""
    return xp.tanh(x)


@derivative(tanh)
def tanh_backward(g, y):
    """g (1 - y^2)."""
    return g * xp.conj(1 - y * y)


@pointwise(result="float")
def asinh(x):
    """The inverse hyperbolic sine. dtype: floating."""
    return xp.asinh(x)


@derivative(asinh)
def asinh_backward(g, x):
    """g / sqrt(x^2 + 1)."""
    return g * xp.conj(xp.rsqrt(x * x + 1))


@pointwise(result="float")
def acosh(x):
    """The inverse hyperbolic cosine; NaN below 1. dtype: floating."""
    return xp.acosh(x)


@derivative(acosh)
def acosh_backward(g, x):
    """g / sqrt(x - 1) / sqrt(x + 1): as one root it would be wrong for complex x."""
    return g * xp.conj(xp.rsqrt(x - 1) * xp.rsqrt(x + 1))


@pointwise(result="float")
def atanh(x):
    """The inverse hyperbolic tangent; NaN outside [-1, 1]. dtype: floating."""
    return xp.atanh(x)


@derivative(atanh)
def atanh_backward(g, x):
    """g / (1 - x^2)."""
    return xp.div(g, xp.conj(1 - x * x))


@pointwise(result="float", spaces=("tgrad", "Tensor", "nn.functional", "special"))
def sigmoid(x):
    """1 / (1 + e^-input). dtype: floating."""
    return xp.sigmoid(x)


@derivative(sigmoid)
def sigmoid_backward(g, y):
    """g y (1 - y)."""
    return g * xp.conj(y * (1 - y))


# ---- rounding and signs --------------------------------------------------------------------------


@pointwise(accepts="int float")
def floor(x):
    """The next whole number downwards; its gradient is 0."""
    return xp.floor(x)


@pointwise(accepts="int float")
def ceil(x):
    """The next whole number upwards; its gradient is 0."""
    return xp.ceil(x)


@pointwise(accepts="int float")
def trunc(x):
    """The next whole number towards zero; its gradient is 0."""
    return xp.trunc(x)


def to_decimals(x: Tensor, *, decimals: int = 0) -> Instead:
    """The rounding op for that many decimals."""
    if decimals == 0:
        return Instead(round, (x,))
    power = 10.0 ** (decimals if decimals > 0 else -decimals)
    return Instead(round_fraction if decimals > 0 else round_tens, (x, power))


@pointwise(accepts="int float", prepare=to_decimals)
def round(x):
    """The nearest whole number, halves to even; ``decimals`` places after the point are kept.

    Its gradient is 0. Raises: NotImplementedError for ``decimals`` on integers.
    """
    return xp.round(x)


@pointwise(accepts="float", spaces=())
def round_fraction(x, power: float):
    """x rounded to a multiple of 1 / power."""
    return xp.div(xp.round(x * power), power)


@pointwise(accepts="float", spaces=())
def round_tens(x, power: float):
    """x rounded to a multiple of power."""
    return xp.round(xp.div(x, power)) * power


@composite
def frexp(input: Tensor, *, out: tuple[Tensor, Tensor] | None = None) -> return_types.frexp:
    """(mantissa, exponent) with input = mantissa * 2^exponent and 0.5 <= |mantissa| < 1.

    Both are 0 where the input is; infinities and NaN are their own mantissa, with exponent 0.
    dtype: the input's, and int32. Raises: RuntimeError unless the input is floating.
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError("tgrad.frexp() only supports floating-point dtypes")
    if out is None:
        return return_types.frexp(*_frexp(input))
    kind = out[1].dtype
    if kind is not dtypes.int32:
        raise RuntimeError(f"tgrad.frexp() expects exponent to have int dtype but got {kind.name}")
    return return_types.frexp(*run_out(OPS["_frexp"], (input,), out))  # pyright: ignore[reportArgumentType]


@pointwise(result=("promote", "int32"), accepts="float", spaces=())
def _frexp(x):
    """The mantissa and the exponent."""
    return xp.mantissa(x), xp.exponent(x)


@gradient(_frexp)
def _(g0, y1):
    return g0 / y1.to(g0.dtype).exp2()


@pointwise(accepts="bool int float")
def sign(x):
    """-1, 0 or 1; its gradient is 0. Raises: RuntimeError for complex: use ``sgn``."""
    return xp.sign(x)


for _step in (floor, ceil, trunc, round, round_fraction, round_tens, sign):

    @gradient(_step, "x")
    def _(g):
        return g * 0


@pointwise(accepts="complex", spaces=())
def sgn_complex(x):
    """x / |x|, and 0 at 0."""
    size = xp.abs(x)
    return xp.where(xp.eq(size, 0), 0, x / xp.where(xp.eq(size, 0), 1, size))


@composite(inplace=True)
def sgn(input: Tensor) -> Tensor:
    """:func:`sign`; for complex inputs the number of size 1 in the same direction."""
    return sgn_complex(input) if input.dtype.is_complex else sign(input)


@pointwise(spaces=())
def _conj(x):
    """The complex conjugate."""
    return xp.conj(x)


@gradient(_conj)
def _(g):
    return conj(g)


@composite
def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    return _conj(input) if input.dtype.is_complex else input


# ---- special functions ---------------------------------------------------------------------------


@pointwise(result="float", accepts="bool int float", spaces=("tgrad", "Tensor", "special"))
def erf(x):
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to input. dtype: floating."""
    return xp.erf(x)


@derivative(erf)
def erf_backward(g, x):
    """g 2 / sqrt(pi) exp(-x^2)."""
    return g * xp.exp(-(x * x)) * 1.1283791670955126


for _name, _of in {
    "arcsin": asin, "arccos": acos, "arctan": atan, "arctan2": atan2, "arcsinh": asinh,
    "arccosh": acosh, "arctanh": atanh, "fix": trunc,
}.items():  # fmt: skip
    alias(_name, _of)
