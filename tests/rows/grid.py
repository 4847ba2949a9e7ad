"""Rows of sampling at points. The reference visits every point and tap by itself."""

import itertools
import math

import numpy as np

from tests.rows.resample import keys, tent
from tests.table import own, row, s, t


def folded(x, low, high):
    span = high - low
    if span == 0:
        return 0.0
    x = (x - low) % (2 * span)
    return low + min(x, 2 * span - x)


def inside(x, size, padding, corners):
    if padding == "reflection":
        x = folded(x, 0, size - 1) if corners else folded(x, -0.5, size - 0.5)
    return x if padding == "zeros" else min(max(x, 0), size - 1)


def taps(x, size, mode, padding, corners):
    """{pixel: weight} of one coordinate."""
    if mode == "bicubic":
        low = math.floor(x)
        pairs = [(inside(low + k, size, padding, corners), keys(x - low - k, -0.75))
                 for k in range(-1, 3)]  # fmt: skip
    else:
        x = inside(x, size, padding, corners)
        low = math.floor(x)
        pairs = [(round(x), 1.0)] if mode == "nearest" else [
            (k, tent(x - k)) for k in (low, low + 1)]  # fmt: skip
    return [(int(k), w) for k, w in pairs if 0 <= k <= size - 1]


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    sizes = x.shape[2:]
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for at in np.ndindex(grid.shape[:-1]):
        found = []
        for c, size in zip(grid[at][::-1], sizes, strict=True):
            pixel = (c + 1) / 2 * (size - 1) if align_corners else ((c + 1) * size - 1) / 2
            found.append(taps(pixel, size, mode, padding_mode, align_corners))
        for chosen in itertools.product(*found):
            place = tuple(k for k, _ in chosen)
            y[(at[0], slice(None), *at[1:])] += math.prod(w for _, w in chosen) * x[
                (at[0], slice(None), *place)]  # fmt: skip
    return y


def affine_grid(theta, size, align_corners=False):
    axes = []
    for n in size[2:]:
        k = np.arange(n)
        axes.append(2 * k / (n - 1) - 1 if align_corners and n > 1 else (2 * k + 1) / n - 1)
    points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(size[2:])], -1)
    return np.einsum("...k,njk->n...j", points, theta)


FLAT = t(1, 2, 2, 2, low=-1.6, high=1.6)
F = "nn.functional."

ROWS = [
    row(
        F + "grid_sample",
        # Every mode with every padding on the CPU: tests/reference/test_samplers.py.
        s(t(1, 2, 3, 4), FLAT, align_corners=False),
        s(t(1, 2, 3, 4), FLAT, "bilinear", "reflection", False),
        s(t(1, 2, 3, 4), FLAT, "nearest", "border", True),
        s(t(1, 1, 3, 4), t(1, 1, 3, 2, low=-1.6, high=1.6), "bicubic", "zeros", True),
        s(t(1, 1, 2, 2, 3), t(1, 1, 1, 3, 3, low=-1.6, high=1.6), "bilinear", "border", True),
        s(t(1, 2, 1, 1), t(1, 2, 2, 2, low=-2, high=2), "bilinear", "reflection", True),
        own("torch refuses backward of an empty result",
            s(t(0, 2, 3, 3), t(0, 2, 2, 2), align_corners=False)),
        ref=grid_sample,
        dtypes=("float32",),  # a rounding of a point moves it to another pixel
        gradgrad=False,  # some 400 small launches, slow where emulated: tests/test_grid.py
    ),
    row(
        F + "affine_grid",
        s(t(2, 2, 3), (2, 1, 3, 4), False), s(t(1, 2, 3), (1, 3, 5, 1), True),
        s(t(2, 3, 4), (2, 1, 2, 3, 4), False), s(t(1, 3, 4), (1, 1, 2, 1, 3), True),
        ref=affine_grid,
    ),
]  # fmt: skip
