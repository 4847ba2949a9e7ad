"""Rows of resampling. The reference builds each axis' matrix entry by entry."""

import math

import numpy as np

from tests.table import row, s, t


def keys(u, a):
    u = abs(u)
    if u < 1:
        return (a + 2) * u**3 - (a + 3) * u**2 + 1
    return a * (u**3 - 5 * u**2 + 8 * u - 4) if u < 2 else 0.0


def tent(u):
    return max(1 - abs(u), 0.0)


def windowed_sinc(u):
    return float(np.sinc(u) * np.sinc(u / 3)) if abs(u) < 3 else 0.0


def matrix(kind, n, p, factor, corners, antialias):
    """(p, n): output i is the sum over j of entry (i, j) times pixel j."""
    step = ((n - 1) / max(p - 1, 1)) if corners else 1 / factor if factor else n / p
    m = np.zeros((p, n))
    for i in range(p):
        if kind.startswith("nearest"):
            at = (i + 0.5) * step if kind == "nearest-exact" else i * step
            m[i, min(int(at), n - 1)] = 1
        elif kind == "area":
            window = slice(i * n // p, -(-(i + 1) * n // p))
            m[i, window] = 1 / (window.stop - window.start)
        elif antialias:
            weigh, reach = {"linear": (tent, 1), "bicubic": (lambda u: keys(u, -0.5), 2),
                            "lanczos": (windowed_sinc, 3)}[kind]  # fmt: skip
            wide, centre = max(step, 1), (i + 0.5) * step
            low = max(int(centre - reach * wide + 0.5), 0)
            high = min(int(centre + reach * wide + 0.5), n)
            m[i, low:high] = [weigh((j + 0.5 - centre) / wide) for j in range(low, high)]
            m[i] /= m[i].sum()
        else:
            at = i * step if corners else (i + 0.5) * step - 0.5
            at = max(at, 0) if kind == "linear" else at
            low = math.floor(at)
            for j in range(low - 1, low + 3):
                w = tent(at - j) if kind == "linear" else keys(at - j, -0.75)
                m[i, min(max(j, 0), n - 1)] += w
    return m


def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=None,
    recompute_scale_factor=None, antialias=False,
):  # fmt: skip
    space = x.ndim - 2
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor or 0,) * space
    if size is None:
        size = tuple(int(n * f) for n, f in zip(x.shape[2:], factors, strict=True))
        factors = (0,) * space if recompute_scale_factor else factors
    size = size if isinstance(size, tuple) else (size,) * space
    kind = "linear" if mode.endswith("linear") else mode
    for k in range(space):
        m = matrix(kind, x.shape[k + 2], size[k], factors[k], align_corners, antialias)
        x = np.moveaxis(np.moveaxis(x, k + 2, -1) @ m.T, -1, k + 2)
    return x


F = "nn.functional."

ROWS = [
    row(
        F + "interpolate",
        s(t(2, 3, 5), 8),
        s(t(2, 3, 4, 6), (3, 9)),
        s(t(2, 1, 2, 3, 4), scale_factor=2, mode="nearest-exact"),
        s(t(1, 2, 3, 5), scale_factor=(2.3, 0.7), mode="nearest-exact"),
        s(t(2, 2, 7), 4, mode="linear"),
        s(t(2, 3, 4, 5), (7, 11), mode="bilinear"),
        s(t(1, 2, 4, 5), (9, 3), mode="bilinear", align_corners=True),
        s(t(1, 2, 6, 5), scale_factor=(0.55, 1.7), mode="bilinear"),
        s(t(1, 2, 6, 5), scale_factor=0.7, mode="bilinear", recompute_scale_factor=True),
        s(t(2, 1, 3, 2, 4), (2, 5, 3), mode="trilinear"),
        s(t(1, 1, 2, 4, 3), (5, 2, 6), mode="trilinear", align_corners=True),
        s(t(1, 2, 4, 6), (7, 5), mode="bicubic"),
        s(t(1, 2, 3, 2), (5, 5), mode="bicubic", align_corners=True),
        s(t(2, 2, 9, 8), (4, 3), mode="bilinear", antialias=True),
        s(t(1, 2, 9, 4), (3, 6), mode="bicubic", antialias=True),
        s(t(1, 1, 11, 17), (4, 3), mode="lanczos", antialias=True),
        s(t(2, 2, 7), 3, mode="area"),
        s(t(2, 2, 5, 7), (2, 9), mode="area"),
        s(t(1, 2, 4, 5, 3), (3, 2, 5), mode="area"),
        s(t(0, 2, 4, 4), 7, mode="bilinear"),
        s(t(1, 1, 1, 140), (1, 31), mode="bilinear", align_corners=True),  # sums by taps
        s(t(2, 3, 13, 17), (26, 34), mode="bilinear"),  # several blocks
        ref=interpolate,
        covers=("upsample", "upsample_nearest", "upsample_bilinear"),  # they warn: test_resample.py
    ),
]  # fmt: skip
