"""Rows of histograms with edges, and of derivatives of samples."""

from typing import Any

import numpy as np

from tests.table import row, s, t, value


def histogram(x, bins=100, range=None, weight=None, density=False):
    if range is None and np.ndim(bins) == 0 and not x.size:
        range = (0, 1)
    weight = None if weight is None else weight.ravel()
    return np.histogram(x.ravel(), bins, range, density=density, weights=weight)


def histogramdd(x, bins, range=None, weight=None, density=False):
    d = x.shape[-1]
    pairs = None if range is None else [range[2 * k : 2 * k + 2] for k in np.arange(d)]
    weight = None if weight is None else weight.ravel()
    y, edges = np.histogramdd(x.reshape(-1, d), bins, pairs, density, weight)
    return y, tuple(edges)


def gradient(x, spacing=None, dim=None, edge_order: Any = 1):
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    steps: Any = spacing if isinstance(spacing, (list, tuple)) else [spacing or 1.0] * len(dims)
    found: Any = np.gradient(x, *steps, axis=tuple(dims), edge_order=edge_order)
    return list(found) if isinstance(found, (list, tuple)) else [found]


EDGES = value([-1.0, -0.25, 0.5, 0.75, 2.0], grad=False)
AT = value([0.0, 0.5, 2.0, 2.25, 4.0], grad=False)
W = t(4, 5, low=0.1, high=1.0, grad=False)
PLAIN = {"grad": False, "dtypes": ("float32",)}

ROWS = [
    row("histogram", s(t(4, 5), 7), s(t(4, 5), EDGES), s(t(4, 5), 5, range=(-1.0, 1.5)),
        s(t(4, 5), EDGES, weight=W), s(t(4, 5), 4, weight=W, density=True),
        s(value([1.0, 1.0]), 3), s(value([0.0, 1, 2, 3, 3]), 3), s(t(30), EDGES, density=True),
        ref=histogram, **PLAIN),
    row("histogramdd", s(t(20, 2), (3, 4)), s(t(5, 4, 2), 3), s(t(9, 1), [EDGES]),
        s(t(20, 2), (2, 3), range=(-1.0, 1.0, -2.0, 0.5)),
        s(t(4, 5, 2), (2, 3), weight=W, density=True), ref=histogramdd, **PLAIN),
    row("gradient", s(t(5)), s(t(4, 5)), s(t(4, 5), spacing=0.5, dim=1),
        s(t(5, 4), spacing=[2.0, 0.25]), s(t(3, 5), spacing=[AT], dim=1),
        s(t(5, 3), edge_order=2), s(t(5), spacing=[AT], edge_order=2), s(t(2), dim=0),
        ref=gradient),
]  # fmt: skip
