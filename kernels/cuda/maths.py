"""What ``xp`` means in a Triton kernel: ``triton.language``, libdevice, and what both lack.

Every name is a function of blocks of any dtype that the op of that name accepts; one argument may
be a number. ``tl``'s own exp, log, sin, cos and float32 ``/`` and ``sqrt`` are approximate (the
relative error of some grows with the argument); these are as accurate as CUDA's C library, which
costs a kernel that is bound by memory nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import libdevice
from tgrad.kernels.cuda.bessel import *  # noqa: F403 - names of xp like those below
from tgrad.kernels.cuda.gamma import *  # noqa: F403
from tgrad.kernels.cuda.special import (  # noqa: F401
    digamma,
    exponent,
    gcd,
    i0,
    i1,
    lcm,
    logaddexp,
    logaddexp2,
    mantissa,
    trigamma,
)


@triton.jit
def to(x, T: tl.constexpr):
    """x as T. To bfloat16 by way of float32: the interpreter gets the direct way wrong."""
    if T == tl.bfloat16:  # noqa: SIM300
        x = x.to(tl.float32)
    if T == tl.int1:  # noqa: SIM300
        x = x != 0
    return x.to(T)


@triton.jit
def identity(x):
    return x


@triton.jit
def conj(x):
    return x


# ---- arithmetic ----------------------------------------------------------------------------------


@triton.jit
def add(x, y):
    z = x + y
    return x | y if z.dtype.is_int1() else z


@triton.jit
def sub(x, y):
    return x - y


@triton.jit
def mul(x, y):
    return x * y


@triton.jit
def neg(x):
    return -x


@triton.jit
def abs(x):
    return tl.abs(x)


@triton.jit
def square(x):
    return x * x


@triton.jit
def div(x, y):
    """Correctly rounded, as IEEE and NumPy have it; float32 ``/`` is approximate."""
    q = x / y
    return tl.div_rn(x, y) if q.dtype.is_fp32() else q


@triton.jit
def reciprocal(x):
    return div(1.0, x)


@triton.jit
def sqrt(x):
    """Correctly rounded; float32 ``tl.sqrt`` is approximate."""
    return tl.sqrt_rn(x) if x.dtype.is_fp32() else tl.sqrt(x)


@triton.jit
def rsqrt(x):
    return div(1.0, sqrt(x))


@triton.jit
def fmod(x, y):
    """The remainder with the sign of x."""
    if x.dtype.is_floating():
        return libdevice.fmod(x, y)
    else:
        return x % y


@triton.jit
def remainder(x, y):
    """The remainder with the sign of y."""
    r = fmod(x, y)
    if x.dtype.is_int_unsigned():
        return r
    else:
        return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


@triton.jit
def div_trunc(x, y):
    """The quotient rounded towards zero."""
    if x.dtype.is_floating():
        return trunc(div(x, y))
    else:
        return x // y


@triton.jit
def floor_divide(x, y):
    """The quotient rounded down: for floats by way of the remainder, as Python has it."""
    if x.dtype.is_int_unsigned():
        return x // y
    elif x.dtype.is_int():
        r = fmod(x, y)
        down = (r != 0) & ((r < 0) != (y < 0))
        return tl.where(down, x // y - 1, x // y)
    else:
        return floor_of_quotient(x, y)


@triton.jit
def floor_of_quotient(x, y):
    r = fmod(x, y)
    down = (r != 0) & ((r < 0) != (y < 0))
    exact = div(x, y)
    q = div(x - r, y)
    q = tl.where(down, q - 1, q)
    whole = tl.floor(q)
    whole = tl.where(q - whole > 0.5, whole + 1, whole)
    whole = tl.where(q == 0, libdevice.copysign(0.0 * q, exact), whole)
    return tl.where(y == 0, exact, whole)


@triton.jit
def pow(x, y):
    if x.dtype.is_floating():
        return libdevice.pow(x, y)
    else:
        return integer_pow(x, y, y.dtype.primitive_bitwidth)


@triton.jit
def integer_pow(x, y, BITS: tl.constexpr):
    """By squaring, wrapping; 1 / x^-y rounded towards zero for negative y."""
    n = y
    p = x * 0 + 1
    square = x
    for _ in range(BITS):  # unrolled, 64 steps spill
        p = tl.where((n & 1) != 0, p * square, p)
        square = square * square
        n = n >> 1
    if y.dtype.is_int_unsigned():
        return p
    else:
        odd = (y & 1) != 0
        small = tl.where(x == 1, 1, tl.where(x == -1, tl.where(odd, -1, 1), 0))
        return tl.where(y < 0, small.to(x.dtype), p)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(x, y):
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def fmax(x, y):
    """Of a number and NaN the number; spelled out, since Triton 3.6's interpreter takes the NaN."""
    return tl.where(x == x, tl.where(y == y, tl.maximum(x, y), x), y)


@triton.jit
def fmin(x, y):
    return tl.where(x == x, tl.where(y == y, tl.minimum(x, y), x), y)


@triton.jit
def sign(x):
    if x.dtype.is_int_unsigned():
        return (x != 0).to(x.dtype)
    else:
        return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


# ---- rounding ------------------------------------------------------------------------------------


@triton.jit
def floor(x):
    return tl.floor(x) if x.dtype.is_floating() else x


@triton.jit
def ceil(x):
    return tl.ceil(x) if x.dtype.is_floating() else x


@triton.jit
def trunc(x):
    return libdevice.trunc(x) if x.dtype.is_floating() else x


@triton.jit
def round(x):
    """Halves to even."""
    return libdevice.rint(x) if x.dtype.is_floating() else x


# ---- comparison and logic ------------------------------------------------------------------------


@triton.jit
def where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def eq(x, y):
    return x == y


@triton.jit
def ne(x, y):
    return x != y


@triton.jit
def lt(x, y):
    return x < y


@triton.jit
def le(x, y):
    return x <= y


@triton.jit
def gt(x, y):
    return x > y


@triton.jit
def ge(x, y):
    return x >= y


@triton.jit
def bitwise_and(x, y):
    return x & y


@triton.jit
def bitwise_or(x, y):
    return x | y


@triton.jit
def bitwise_xor(x, y):
    return x ^ y


@triton.jit
def bitwise_not(x):
    return ~x


@triton.jit
def bitwise_left_shift(x, y):
    """x 2^y; shifts by all bits or more, and negative ones, give 0."""
    inside = (y >= 0) & (y < x.dtype.primitive_bitwidth)
    return tl.where(inside, x << tl.where(inside, y, 0), 0)


@triton.jit
def bitwise_right_shift(x, y):
    """floor(x / 2^y); shifts by all bits or more, and negative ones, leave only the sign."""
    most = x.dtype.primitive_bitwidth - 1
    inside = (y >= 0) & (y <= most)
    shifted = x >> tl.where(inside, y, most)
    return tl.where(inside, shifted, 0) if x.dtype.is_int_unsigned() else shifted


@triton.jit
def logical_not(x):
    return x == 0


@triton.jit
def logical_and(x, y):
    return (x != 0) & (y != 0)


@triton.jit
def logical_or(x, y):
    return (x != 0) | (y != 0)


@triton.jit
def logical_xor(x, y):
    return (x != 0) ^ (y != 0)


@triton.jit
def isnan(x):
    return x != x


@triton.jit
def isinf(x):
    return tl.abs(x) == float("inf") if x.dtype.is_floating() else x != x


@triton.jit
def isfinite(x):
    return tl.abs(x) < float("inf") if x.dtype.is_floating() else x == x


@triton.jit
def signbit(x):
    """Whether the sign is minus, that of -0.0 and of NaN too."""
    if x.dtype.is_floating():
        x = x.to(tl.int64 if x.dtype.is_fp64() else tl.int32, bitcast=True)
    return x < 0 if x.dtype.is_int_signed() else x != x


# ---- exponential and trigonometric ---------------------------------------------------------------


@triton.jit
def sigmoid(x):
    return div(1.0, 1.0 + libdevice.exp(-x))


@triton.jit
def exp(x):
    return libdevice.exp(x)


@triton.jit
def exp2(x):
    return libdevice.exp2(x)


@triton.jit
def expm1(x):
    return libdevice.expm1(x)


@triton.jit
def log(x):
    return libdevice.log(x)


@triton.jit
def log2(x):
    return libdevice.log2(x)


@triton.jit
def log10(x):
    return libdevice.log10(x)


@triton.jit
def log1p(x):
    return libdevice.log1p(x)


@triton.jit
def sin(x):
    return libdevice.sin(x)


@triton.jit
def cos(x):
    return libdevice.cos(x)


@triton.jit
def tan(x):
    return libdevice.tan(x)


@triton.jit
def asin(x):
    return libdevice.asin(x)


@triton.jit
def acos(x):
    return libdevice.acos(x)


@triton.jit
def atan(x):
    return libdevice.atan(x)


@triton.jit
def sinh(x):
    return libdevice.sinh(x)


@triton.jit
def cosh(x):
    return libdevice.cosh(x)


@triton.jit
def tanh(x):
    return libdevice.tanh(x)


@triton.jit
def asinh(x):
    return libdevice.asinh(x)


@triton.jit
def acosh(x):
    return libdevice.acosh(x)


@triton.jit
def atanh(x):
    return libdevice.atanh(x)


@triton.jit
def erf(x):
    return libdevice.erf(x)


@triton.jit
def erfc(x):
    return libdevice.erfc(x)


@triton.jit
def erfinv(x):
    return libdevice.erfinv(x)


@triton.jit
def lgamma(x):
    return libdevice.lgamma(x)


@triton.jit
def atan2(x, y):
    return libdevice.atan2(x, y)


@triton.jit
def copysign(x, y):
    return libdevice.copysign(x, y)


@triton.jit
def hypot(x, y):
    return libdevice.hypot(x, y)


@triton.jit
def nextafter(x, y):
    return libdevice.nextafter(x, y)
