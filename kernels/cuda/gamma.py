"""Incomplete gamma functions and Hurwitz's zeta in Triton, and libdevice's of the normal law."""

# pyright: reportArgumentType=false
# Triton takes numbers for constexpr arguments.

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import libdevice

__all__ = ["erfcx", "igamma", "igammac", "ndtri", "zeta"]  # fmt: skip


@triton.jit
def erfcx(x):
    return libdevice.erfcx(x)


@triton.jit
def ndtri(x):
    y = libdevice.normcdfinv(x)
    return tl.where((x >= 0) & (x <= 1), y, float("nan"))


@triton.jit
def zeta(x, q):
    """10 terms of the sum, then Euler and Maclaurin's formula to the 8th derivative pair.

    NaN for q < 0 but for whole q, which give inf.
    """
    x = x + 0.0 * q  # one of them may be a number
    q = q + 0.0 * x
    a = tl.where(q > 0, q, 1.0)
    s = tl.where(x > 1, x, 2.0)
    total = 0.0 * a
    for k in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        total = total + libdevice.pow(a + k, -s)
    a = a + 10
    p = libdevice.pow(a, -s)
    total = total + p * a / (s - 1) + 0.5 * p
    f = s * p / a
    step = 1 / (a * a)
    total = total + f * 8.333333333333333e-2
    f = f * (s + 1) * (s + 2) * step
    total = total - f * 1.3888888888888889e-3
    f = f * (s + 3) * (s + 4) * step
    total = total + f * 3.306878306878307e-5
    f = f * (s + 5) * (s + 6) * step
    total = total - f * 8.267195767195768e-7
    f = f * (s + 7) * (s + 8) * step
    total = total + f * 2.08767569878681e-8
    f = f * (s + 9) * (s + 10) * step
    total = total - f * 5.284190138687493e-10
    f = f * (s + 11) * (s + 12) * step
    total = total + f * 1.3382536530684679e-11
    total = tl.where(q > 0, total, tl.where(q == tl.floor(q), float("inf"), float("nan")))
    total = tl.where(x == 1, float("inf"), tl.where(x > 1, total, float("nan")))
    return tl.where((q == q) & (x == x), total, float("nan"))


@triton.jit
def series(a, x):
    """P(a, x) / (x^a e^-x / Gamma(a)) for x < a + 1, 100 terms (Press et al. 2007, 6.2.5)."""
    term = 1 / a
    total = term
    at = a
    for _ in range(100):
        at = at + 1
        term = term * x / at
        total = total + term
    return total


@triton.jit
def fraction(a, x):
    """Q(a, x) / (x^a e^-x / Gamma(a)) for x >= a + 1, 100 steps (ibid. 6.2.7, by Lentz)."""
    b = x + 1 - a
    c = 1e300 + 0.0 * x
    d = 1 / b
    h = d
    n = 0.0 * x
    for _ in range(100):
        n = n + 1
        an = n * (a - n)
        b = b + 2
        d = an * d + b
        d = 1 / tl.where(tl.abs(d) < 1e-300, 1e-300, d)
        c = b + an / c
        c = tl.where(tl.abs(c) < 1e-300, 1e-300, c)
        h = h * d * c
    return h


@triton.jit
def point(s, x, width, m, AT: tl.constexpr, WEIGHT: tl.constexpr):
    """s and one point of the integral from x over ``width``; m = a - 1 is where it is highest."""
    u = (x + width * AT - m) / m
    return s + WEIGHT * libdevice.exp(m * (libdevice.log1p(u) - u))


@triton.jit
def quadrature(a, x):
    """(tail from x on, whether that is the upper one) for a >= 100, 36 points of Gauss (ibid.)."""
    m = a - 1
    root = tl.sqrt(m)
    upper = x > m
    above = tl.maximum(m + 11.5 * root, x + 6 * root)
    below = tl.maximum(0.0, tl.minimum(m - 7.5 * root, x - 5 * root))
    width = tl.where(upper, above, below) - x
    s = 0.0 * x
    s = point(s, x, width, m, 0.0010847687579570997, 0.002782859832123684)
    s = point(s, x, width, m, 0.005706760548893852, 0.006457973642032208)
    s = point(s, x, width, m, 0.013986154475151058, 0.010090757648867785)
    s = point(s, x, width, m, 0.02586350780024621, 0.013649310749284103)
    s = point(s, x, width, m, 0.04125111274217047, 0.01710690538515371)
    s = point(s, x, width, m, 0.06003509955480146, 0.020437875461822515)
    s = point(s, x, width, m, 0.08207641650376235, 0.023617541745132975)
    s = point(s, x, width, m, 0.10721188493389677, 0.02662235698888011)
    s = point(s, x, width, m, 0.13525541420322174, 0.029430072122662413)
    s = point(s, x, width, m, 0.1659993817072395, 0.032019898677507694)
    s = point(s, x, width, m, 0.19921617093200972, 0.03437266191786814)
    s = point(s, x, width, m, 0.23465985703687742, 0.03647094250282649)
    s = point(s, x, width, m, 0.27206802778328987, 0.038299205322935244)
    s = point(s, x, width, m, 0.3111637264401554, 0.03984391445603572)
    s = point(s, x, width, m, 0.35165750232798587, 0.04109363335216981)
    s = point(s, x, width, m, 0.39324955384156723, 0.04203910948983091)
    s = point(s, x, width, m, 0.4356319480953076, 0.04267334286966924)
    s = point(s, x, width, m, 0.4784909007631457, 0.0429916378351973)
    s = point(s, x, width, m, 0.5215090992368543, 0.0429916378351973)
    s = point(s, x, width, m, 0.5643680519046924, 0.04267334286966924)
    s = point(s, x, width, m, 0.6067504461584328, 0.04203910948983091)
    s = point(s, x, width, m, 0.6483424976720141, 0.04109363335216981)
    s = point(s, x, width, m, 0.6888362735598446, 0.03984391445603572)
    s = point(s, x, width, m, 0.7279319722167101, 0.038299205322935244)
    s = point(s, x, width, m, 0.7653401429631226, 0.03647094250282649)
    s = point(s, x, width, m, 0.8007838290679903, 0.03437266191786814)
    s = point(s, x, width, m, 0.8340006182927605, 0.032019898677507694)
    s = point(s, x, width, m, 0.8647445857967783, 0.029430072122662413)
    s = point(s, x, width, m, 0.8927881150661032, 0.02662235698888011)
    s = point(s, x, width, m, 0.9179235834962376, 0.023617541745132975)
    s = point(s, x, width, m, 0.9399649004451985, 0.020437875461822515)
    s = point(s, x, width, m, 0.9587488872578296, 0.01710690538515371)
    s = point(s, x, width, m, 0.9741364921997537, 0.013649310749284103)
    s = point(s, x, width, m, 0.9860138455248489, 0.010090757648867785)
    s = point(s, x, width, m, 0.9942932394511061, 0.006457973642032208)
    s = point(s, x, width, m, 0.9989152312420428, 0.002782859832123684)
    r = 1 / m
    # m^m e^-m / Gamma(a), by Stirling's series
    scale = libdevice.exp(-r * (1 / 12 - r * r * (1 / 360 - r * r / 1260)))
    scale = scale * 0.3989422804014327 * tl.sqrt(r)
    return tl.abs(s * width * scale), upper


@triton.jit
def incomplete(a, x, UPPER: tl.constexpr):
    """P(a, x), or Q where ``UPPER``, in float64: x^a e^-x is a difference of large logarithms."""
    kind = a.dtype
    a = a.to(tl.float64)
    x = x.to(tl.float64)
    good = (a > 0) & (x > 0) & (a < float("inf")) & (x < float("inf"))
    small = good & (a < 100)
    b = tl.where(small, a, 1.0)
    z = tl.where(small, x, 1.0)
    factor = libdevice.exp(b * libdevice.log(z) - z - libdevice.lgamma(b))
    under = z < b + 1
    low = factor * series(b, tl.where(under, z, b))
    high = factor * fraction(b, tl.where(under, b + 1, z))
    p = tl.where(under, low, 1 - high)
    q = tl.where(under, 1 - low, high)
    wide = good & (a >= 100)
    tail, upper = quadrature(tl.where(wide, a, 100.0), tl.where(wide, x, 100.0))
    p = tl.where(wide, tl.where(upper, 1 - tail, tail), p)
    q = tl.where(wide, tl.where(upper, tail, 1 - tail), q)
    y = q if UPPER else p
    zero = 1.0 if UPPER else 0.0
    # At the edges: P is 0 at x = 0 and for a = inf, 1 for a = 0 and at x = inf.
    y = tl.where((x == 0) | (a == float("inf")), zero, y)
    y = tl.where((a == 0) | (x == float("inf")), 1 - zero, y)
    wrong = (a < 0) | (x < 0) | ((a == 0) & (x == 0)) | (a != a) | (x != x)
    wrong = wrong | ((a == float("inf")) & (x == float("inf")))
    return tl.where(wrong, float("nan"), y).to(kind)


@triton.jit
def igamma(a, x):
    return incomplete(a, x, False)


@triton.jit
def igammac(a, x):
    return incomplete(a, x, True)
