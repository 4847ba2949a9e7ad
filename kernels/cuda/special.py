"""Special functions that libdevice lacks, written in Triton: parts of what ``xp`` means there."""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import libdevice


@triton.jit
def digamma(x):
    """Reflected to x > 0, moved up by the recurrence to x >= 10, then the asymptotic series.

    Bernardo 1976, algorithm AS 103; the coefficients are Cephes'.
    """
    whole = libdevice.trunc(x)
    r = x - whole
    negative = x < 0
    y = tl.where(negative, 1 - x, x)
    p = tl.where(negative, -3.141592653589793 / libdevice.tan(3.141592653589793 * r), 0.0)
    for _ in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        low = y < 10
        p = tl.where(low, p - 1 / y, p)
        y = tl.where(low, y + 1, y)
    s = 1 / (y * y)
    series = 8.33333333333333333333e-2
    series = s * series - 2.10927960927960927961e-2
    series = s * series + 7.57575757575757575758e-3
    series = s * series - 4.16666666666666666667e-3
    series = s * series + 3.96825396825396825397e-3
    series = s * series - 8.33333333333333333333e-3
    series = s * series + 8.33333333333333333333e-2
    p = p + libdevice.log(y) - 0.5 / y - s * series
    p = tl.where(x == float("inf"), x, p)
    p = tl.where(negative & (r == 0), float("nan"), p)
    return tl.where(x == 0, libdevice.copysign(x * 0 + float("inf"), -x), p)


@triton.jit
def trigamma(x):
    """The derivative of :func:`digamma`, by the same three steps."""
    low = x < 0.5
    y = tl.where(low, 1 - x, x)
    sine = libdevice.sin(3.141592653589793 * (x - 2 * tl.floor(x * 0.5)))
    total = tl.zeros_like(x)
    for _ in tl.static_range(12):  # pyright: ignore[reportGeneralTypeIssues]
        total = total + 1 / (y * y)
        y = y + 1
    s = 1 / (y * y)
    series = -1 / 30 + s * (5 / 66)
    series = 1 / 42 + s * series
    series = -1 / 30 + s * series
    series = 1 / 6 + s * series
    total = total + (1 + 0.5 / y + s * series) / y
    bend = 9.869604401089358 / (sine * sine)
    return tl.where(low, bend - total, total)


@triton.jit
def gcd(x, y):
    """Euclid's algorithm; 92 steps are the most that 64 bits can need (two Fibonacci numbers)."""
    a, b = tl.abs(x), tl.abs(y)
    for _ in range(92):
        more = b != 0
        r = a % tl.where(more, b, 1)
        a = tl.where(more, b, a)
        b = tl.where(more, r, b)
    return a


@triton.jit
def lcm(x, y):
    d = gcd(x, y)
    return tl.abs(x // tl.where(d == 0, 1, d) * y)


@triton.jit
def logaddexp(x, y):
    top = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)
    gap = tl.where(x == y, 0.0, tl.abs(x - y))  # equal infinities
    return top + libdevice.log1p(libdevice.exp(-gap))


@triton.jit
def logaddexp2(x, y):
    top = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)
    gap = tl.where(x == y, 0.0, tl.abs(x - y))
    return top + libdevice.log1p(libdevice.exp2(-gap)) * 1.4426950408889634


@triton.jit
def i0(x):
    return libdevice.cyl_bessel_i0(x)


@triton.jit
def i1(x):
    return libdevice.cyl_bessel_i1(x)


@triton.jit
def turned(t, DOUBLE: tl.constexpr):
    """(cos, sin) of 2 pi t for t in [0, 1): the nearest quarter turn taken off, then polynomials.

    The coefficients are Cephes' for an eighth of a turn. Unlike the functions for any angle this
    needs no table in memory.
    """
    quarter = tl.floor(4 * t + 0.5)
    x = (t - 0.25 * quarter) * 6.283185307179586
    z = x * x
    if DOUBLE:
        s = 1.58962301576546568060e-10
        s = s * z - 2.50507477628578072866e-8
        s = s * z + 2.75573136213857245213e-6
        s = s * z - 1.98412698295895385996e-4
        s = s * z + 8.33333333332211858878e-3
        s = s * z - 1.66666666666666307295e-1
        c = -1.13585365213876817300e-11
        c = c * z + 2.08757008419747316778e-9
        c = c * z - 2.75573141792967388112e-7
        c = c * z + 2.48015872888517045348e-5
        c = c * z - 1.38888888888730564116e-3
        c = c * z + 4.16666666666665929218e-2
    else:
        s = -1.9515295891e-4
        s = s * z + 8.3321608736e-3
        s = s * z - 1.6666654611e-1
        c = 2.443315711809948e-5
        c = c * z - 1.388731625493765e-3
        c = c * z + 4.166664568298827e-2
    sin = x + x * z * s
    cos = 1 - 0.5 * z + z * z * c
    side = quarter.to(tl.int32) & 3
    odd = (side & 1) != 0
    cos_of = tl.where(odd, sin, cos)
    sin_of = tl.where(odd, cos, sin)
    cos_of = tl.where((side == 1) | (side == 2), -cos_of, cos_of)
    return cos_of, tl.where(side >= 2, -sin_of, sin_of)


# ---- the parts of a floating number --------------------------------------------------------------


@triton.jit
def parts(x):
    """The bits of x, scaled into the normal range, and its exponent e in x = m 2^e, |m| < 1.

    Zero, infinity and NaN have the exponent 0.
    """
    if x.dtype.is_fp64():
        small = tl.abs(x) < 2.2250738585072014e-308
        bits = tl.where(small, x * 18014398509481984.0, x).to(tl.int64, bitcast=True)  # 2^54
        e = ((bits >> 52) & 0x7FF).to(tl.int32) - tl.where(small, 1076, 1022)
    else:
        small = tl.abs(x) < 1.1754943508222875e-38
        bits = tl.where(small, x * 33554432.0, x).to(tl.int32, bitcast=True)  # 2^25
        e = ((bits >> 23) & 0xFF) - tl.where(small, 151, 126)
    return bits, tl.where((x != 0) & (tl.abs(x) < float("inf")), e, 0)


@triton.jit
def mantissa(x):
    """The part of x = m 2^e with 0.5 <= |m| < 1; zero, infinity and NaN stay."""
    bits, _ = parts(x)
    if x.dtype.is_fp64():
        m = ((bits & ~(0x7FF << 52)) | (1022 << 52)).to(tl.float64, bitcast=True)
    else:
        m = ((bits & ~(0xFF << 23)) | (126 << 23)).to(tl.float32, bitcast=True)
    return tl.where((x != 0) & (tl.abs(x) < float("inf")), m, x)


@triton.jit
def exponent(x):
    """The integer part of x = m 2^e."""
    _, e = parts(x)
    return e
