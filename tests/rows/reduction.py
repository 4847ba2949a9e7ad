"""Rows of the reduction family: sums, products, truth values."""

import numpy as np

from tests.table import b, i, own, row, s, t, value


def dims(dim):
    """NumPy's axis of a PyTorch dim: () means all."""
    return None if dim is None or dim in ((), []) else tuple(dim) if isinstance(dim, list) else dim


def reducer(f):
    """The float64 reference of a reduction."""

    def ref(x, dim=None, keepdim=False, **options):
        return f(x, axis=dims(dim), keepdims=keepdim)

    return ref


def mean(x, axis=None, keepdims=False):
    """np.mean without its warning where there is nothing to average."""
    y = np.sum(x, axis=axis, keepdims=keepdims)
    return y / np.float64(x.size / max(y.size, 1))


def nanmean(x, axis=None, keepdims=False):
    return np.nansum(x, axis=axis, keepdims=keepdims) / np.sum(x == x, axis=axis, keepdims=keepdims)


def truth(f):
    def ref(x, dim=None, keepdim=False):
        return x != 0 if dim == () else f(x, axis=dims(dim), keepdims=keepdim)

    return ref


# 0-d, empty, rows, columns, axes between, several axes, negative dims, several blocks, splits.
SHAPES = (
    s(t()), s(t(0)), s(t(0, 3), 0), s(t(3, 0), 0), s(t(5, 7)), s(t(5, 7), 1), s(t(5, 7), -2, True),
    s(t(3, 4, 5), 1), s(t(3, 4, 5), (0, -1)), s(t(2, 3, 4, 3), (0, 2)), s(t(2, 3, 4), [1], True),
    s(t(2, 2, 2, 2, 2, 2, 2), (1, 3, 5)), s(t(2, 2, 2, 2, 2, 2, 2, 2), (0, 2, 4, 6)),
    s(t(4, 3), ()), s(t(), 0),
)  # fmt: skip
LARGE = (
    s(t(3, 2311), 1), s(t(531, 19), 0), s(t(2, 700, 5, grad=False), 1), s(t(17041, grad=False), 0),
    s(t(70, 130)),
)  # fmt: skip


def zeros(*shape):
    """Products with no, one and two zeros a row."""
    x = np.random.default_rng(3).standard_normal(shape)
    x[1, 2] = x[2, 0] = x[2, 3] = 0
    return value(x)


ROWS = [
    row("sum", *SHAPES, *LARGE, s(i(5, 7), 1), s(b(5, 7), 0), ref=reducer(np.sum)),
    row("mean", *SHAPES[::2], *LARGE, ref=reducer(mean)),
    row("nansum", *SHAPES[1::2], s(i(3, 4), 0),
        s(value([[1, np.nan, 2], [np.nan, np.nan, np.nan]], grad=False), 1),
        s(t(531, 19), 0), ref=reducer(np.nansum)),
    row("nanmean", s(t(5, 7), 1), s(t(2, 3, 4), (0, 2), True), s(t()), s(t(3, 0), 0),
        s(value([[1, np.nan, 2], [4, np.nan, 5]], grad=False), 1), ref=reducer(nanmean)),
    row("prod", s(t()), s(t(0)), s(t(0, 3), 0), s(t(5, 7)), s(t(5, 7), 1), s(t(5, 7), -2, True),
        s(t(3, 4, 2), 1), s(zeros(4, 5), 1), s(zeros(4, 5), 0, True), s(zeros(3, 4)),
        s(i(5, 7, low=1, high=4), 1),
        own("torch multiplies halves in half precision", s(t(2, 1100, low=0.99, high=1.01), 1)),
        # Many factors: each adds a rounding.
        ref=lambda x, dim=None, keepdim=False: np.prod(x, axis=dim, keepdims=keepdim),
        tolerance=4),
    row("count_nonzero", s(i(5, 7, high=2)), s(i(5, 7, high=2), 1), s(t(2, 3, 4), (0, 2)), s(t()),
        s(b(4, 3), -1), s(t(0, 2), 0), s(i(531, 19, high=2), 0),
        ref=lambda x, dim=None: np.count_nonzero(x, axis=dim), grad=False),
    *[row(name, s(b(5, 7)), s(b(5, 7), 1), s(i(5, 7, high=2), 0, True), s(t(4, 3), (0, 1)),
          s(t(4, 3), ()), s(t(0)), s(t(0, 2), 0), s(t(), 0), s(value([np.nan, 0.0]), 0),
          s(i(531, 19, high=2), 0), s(b(17041), 0), ref=truth(f), grad=False)
      for name, f in (("any", np.any), ("all", np.all))],
]  # fmt: skip
