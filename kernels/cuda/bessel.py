"""Bessel functions in Triton: libdevice's, and those of the second kind that it lacks."""

# pyright: reportArgumentType=false
# Triton takes numbers for constexpr arguments.

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.kernels.cuda import libdevice

__all__ = ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "i0e", "i1e", "modified_bessel_k0",
           "modified_bessel_k1", "scaled_modified_bessel_k0",
           "scaled_modified_bessel_k1"]  # fmt: skip


@triton.jit
def root(x):
    return tl.sqrt_rn(x) if x.dtype.is_fp32() else tl.sqrt(x)


@triton.jit
def bessel_j0(x):
    return libdevice.j0(x)


@triton.jit
def bessel_j1(x):
    return libdevice.j1(x)


@triton.jit
def bessel_y0(x):
    return libdevice.y0(x)


@triton.jit
def bessel_y1(x):
    return libdevice.y1(x)


@triton.jit
def far(z, MU: tl.constexpr):
    """exp(-z) I_n(z) for z >= 25, MU = 4 n^2: 20 terms of the asymptotic series (Abramowitz &
    Stegun 9.7.1), the smallest first."""
    r = 1 / z
    s = 1.0 + 0.0 * r
    for i in tl.static_range(20):  # pyright: ignore[reportGeneralTypeIssues]
        k = 20 - i
        s = 1.0 + s * r * (((2 * k - 1) * (2 * k - 1) - MU) / (8 * k))
    return s * 0.3989422804014327 / root(z)


@triton.jit
def i0e(x):
    z = tl.abs(x)
    low = tl.where(z < 25, z, 0.0)
    near = libdevice.cyl_bessel_i0(low) * libdevice.exp(-low)
    return tl.where(z < 25, near, far(z, 0))


@triton.jit
def i1e(x):
    z = tl.abs(x)
    low = tl.where(z < 25, z, 0.0)
    near = libdevice.cyl_bessel_i1(low) * libdevice.exp(-low)
    y = tl.where(z < 25, near, far(z, 4))
    return tl.where(x < 0, -y, y)


@triton.jit
def k0_series(x):
    """K0 for 0 < x <= 1 (Abramowitz & Stegun 9.6.13)."""
    t = x * x * 0.25
    y = libdevice.log(x * 0.5) + 0.5772156649015329
    s = 2.1483350211950277e-11
    s = s * t + 1.6718048413148328e-09
    s = s * t + 1.0207455998272325e-07
    s = s * t + 4.72608024691358e-06
    s = s * t + 0.0001585648148148148
    s = s * t + 0.003616898148148148
    s = s * t + 0.05092592592592592
    s = s * t + 0.375
    s = s * t + 1.0
    return s * t - y * libdevice.cyl_bessel_i0(x)


@triton.jit
def k1_series(x):
    """K1 for 0 < x <= 1 (Abramowitz & Stegun 9.6.11)."""
    t = x * x * 0.25
    s = 3.0020487465891886e-10
    s = s * t + 2.045286003593878e-08
    s = s * t + 1.071545914091181e-06
    s = s * t + 4.1422476892711435e-05
    s = s * t + 0.0011153594919665283
    s = s * t + 0.019182189839330566
    s = s * t + 0.18157516696085563
    s = s * t + 0.6727843350984671
    s = s * t + -0.15443132980306573
    return 1 / x + libdevice.log(x * 0.5) * libdevice.cyl_bessel_i1(x) - s * x * 0.25


@triton.jit
def node(s, r, ORDER: tl.constexpr, AT: tl.constexpr, WEIGHT: tl.constexpr):
    """s and a point of the integral, r = 1 / (2 x); AT is the square of its place."""
    return s + WEIGHT * (1.0 + 2.0 * ORDER * AT * r) / root(1.0 + AT * r)


@triton.jit
def k_integral(x, ORDER: tl.constexpr):
    """exp(x) K(x) for x > 1, by the trapezoidal rule.

    With cosh t - 1 = w^2 / x the integral of exp(-x (cosh t - 1)) cosh(ORDER t) over t > 0 is
    sqrt(2 / x) that of exp(-w^2) (1 + w^2 / x)^ORDER / sqrt(1 + w^2 / (2 x)) over w > 0. Steps of
    0.24 leave an error of exp(-2 pi sqrt(2 x) / 0.24), 8e-17 (Trefethen & Weideman 2014).
    """
    r = 0.5 / x
    s = 0.0 * r
    s = node(s, r, ORDER, 0.0, 0.12)
    s = node(s, r, ORDER, 0.0576, 0.22656659590028055)
    s = node(s, r, ORDER, 0.2304, 0.1906118046279712)
    s = node(s, r, ORDER, 0.5184, 0.14291341013742476)
    s = node(s, r, ORDER, 0.9216, 0.09549166090828912)
    s = node(s, r, ORDER, 1.44, 0.05686266208370922)
    s = node(s, r, ORDER, 2.0736, 0.030175759102662694)
    s = node(s, r, ORDER, 2.8223999999999996, 0.014271134393832766)
    s = node(s, r, ORDER, 3.6864, 0.006014895183014102)
    s = node(s, r, ORDER, 4.6656, 0.002259263608728391)
    s = node(s, r, ORDER, 5.76, 0.000756266783626666)
    s = node(s, r, ORDER, 6.969599999999998, 0.00022560692212336526)
    s = node(s, r, ORDER, 8.2944, 5.9978982088253386e-05)
    s = node(s, r, ORDER, 9.7344, 1.4210685794204985e-05)
    s = node(s, r, ORDER, 11.289599999999998, 3.0005457906099385e-06)
    s = node(s, r, ORDER, 12.959999999999997, 5.64618048002347e-07)
    s = node(s, r, ORDER, 14.7456, 9.468442134304466e-08)
    s = node(s, r, ORDER, 16.6464, 1.4150493238217223e-08)
    s = node(s, r, ORDER, 18.6624, 1.884663859840297e-09)
    s = node(s, r, ORDER, 20.793599999999998, 2.2369975209407946e-10)
    s = node(s, r, ORDER, 23.04, 2.366281338237964e-11)
    s = node(s, r, ORDER, 25.401600000000002, 2.2306761823360606e-12)
    s = node(s, r, ORDER, 27.878399999999992, 1.8740274907813438e-13)
    s = node(s, r, ORDER, 30.470399999999994, 1.4030871923633778e-14)
    s = node(s, r, ORDER, 33.1776, 9.36187070593118e-16)
    s = node(s, r, ORDER, 36.0, 5.566854792584567e-17)
    s = node(s, r, ORDER, 38.9376, 2.9500299364596828e-18)
    return 2.0 * root(r) * s


@triton.jit
def second_kind(x, ORDER: tl.constexpr, SCALED: tl.constexpr):
    near = tl.where((x > 0) & (x <= 1), x, 1.0)
    away = tl.where(x > 1, x, 1.0)
    small = k1_series(near) if ORDER else k0_series(near)
    large = k_integral(away, ORDER)
    if SCALED:
        small = small * libdevice.exp(near)
    else:
        large = large * libdevice.exp(-away)
    y = tl.where(x > 1, large, small)
    y = tl.where(x == float("inf"), 0.0, y)
    y = tl.where(x == 0, float("inf"), y)
    return tl.where(x >= 0, y, float("nan"))


@triton.jit
def modified_bessel_k0(x):
    return second_kind(x, 0, False)


@triton.jit
def modified_bessel_k1(x):
    return second_kind(x, 1, False)


@triton.jit
def scaled_modified_bessel_k0(x):
    return second_kind(x, 0, True)


@triton.jit
def scaled_modified_bessel_k1(x):
    return second_kind(x, 1, True)
