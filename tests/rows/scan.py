"""Rows of the scan family."""

import numpy as np

from tests.table import i, row, s, t, value

NAN, INF = np.nan, np.inf


def scanner(f):
    return lambda x, dim: f(x, axis=dim) if x.ndim else x


def extremes(better):
    """Values and last positions of the extremum so far; NaN is better than any number."""

    def ref(x, dim):
        values, indices = x.copy(), np.zeros(x.shape, np.int64)
        if x.ndim == 0:
            return values, indices
        v, n = np.moveaxis(values, dim, 0), np.moveaxis(indices, dim, 0)
        for k in range(1, len(v)):
            take = np.isnan(v[k]) | better(v[k], v[k - 1])
            v[k], n[k] = np.where(take, v[k], v[k - 1]), np.where(take, k, n[k - 1])
        return values, indices

    return ref


SAMPLES = (
    s(t(), 0), s(t(0), 0), s(t(0, 3), 1), s(t(3, 0), 0), s(t(5, 7), 1), s(t(5, 7), 0),
    s(t(3, 4, 5), -2), s(t(2, 3, 2, 3), 0),
)  # fmt: skip
# Products with no, one and two zeros before a position.
ZEROS = value([[1.5, 0, 2, 3], [0, 2, 0, 4], [1, -2, 3, -0.5]])
TIES = value([[1, 3, 3, 0, 3], [2, 2, 2, 2, 1]], grad=False)
NANS = value([[1, NAN, 3, NAN], [-INF, 2, INF, 2], [NAN, 1, 2, 3]], grad=False)

ROWS = [
    row("cumsum", *SAMPLES, s(t(3, 2311), 1), s(t(531, 19), 0), s(t(2, 700, 5, grad=False), 1),
        s(t(20481, grad=False), 0), s(i(5, 7), 1), ref=scanner(np.cumsum)),
    # Many factors: each adds a rounding.
    row("cumprod", *SAMPLES, s(ZEROS, 1), s(ZEROS, 0), s(t(70, low=0.9, high=1.1), 0),
        s(t(9001, low=0.999, high=1.001, grad=False), 0), s(i(3, 5, low=1, high=4), 1),
        ref=scanner(np.cumprod), tolerance=4),
    row("logcumsumexp", *SAMPLES, s(t(70), 0), s(t(141, grad=False), 0),
        s(t(5, 7, low=500, high=900), 1),
        s(value([[-INF, -INF, 1], [INF, 1, 2], [1, -INF, INF], [NAN, 1, 2]], grad=False), 1),
        ref=scanner(np.logaddexp.accumulate)),
    row("cummax", *SAMPLES, s(t(70, 2), 0), s(TIES, 1), s(NANS, 1), s(NANS, 0), s(i(5, 7), 1),
        ref=extremes(np.greater_equal), dtypes=("float32",)),
    row("cummin", *SAMPLES, s(t(70, 2), 0), s(TIES, 1), s(NANS, 1), s(NANS, 0), s(i(5, 7), 1),
        ref=extremes(np.less_equal), dtypes=("float32",)),
]  # fmt: skip
