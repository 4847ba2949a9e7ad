"""Rows of the extrema family: largest and smallest elements and their positions."""

import numpy as np

from tests.rows.reduction import dims
from tests.table import b, i, row, s, t, value

NAN = np.nan


def reducer(f):
    return lambda x, dim=None, keepdim=False: f(x, axis=dims(dim), keepdims=keepdim)


def selected(f, arg):
    """Reference of ``max`` and ``min`` without and with ``dim``."""

    def ref(x, dim=None, keepdim=False):
        if dim is None:
            return f(x)
        if x.ndim == 0:
            return x, np.array(0)
        at = arg(x, axis=dim, keepdims=True)
        y = np.take_along_axis(x, at, axis=dim)
        return (y, at) if keepdim else (y.squeeze(dim), at.squeeze(dim))

    return ref


def position(f):
    def ref(x, dim=None, keepdim=False):
        if x.ndim == 0:
            return np.array(0)
        return f(x, axis=dim, keepdims=keepdim)

    return ref


def d(*shape):
    return t(*shape, distinct=True)


def pair(low, high):
    return lambda x, dim=None, keepdim=False: (
        low(x, axis=dim, keepdims=keepdim), high(x, axis=dim, keepdims=keepdim),
    )  # fmt: skip


# Equal elements: the first position counts, and amax shares its gradient.
TIES = value([[1, 3, 3, 0], [2, 2, 2, 2], [-1, -5, -1, -5]], grad=False)
NANS = value([[1, NAN, 3, NAN], [NAN, 2, 2, 2], [-1, -5, np.inf, -np.inf]], grad=False)
ZEROS = value([[-0.0, 0.0], [0.0, -0.0]], grad=False)
ALONG = (
    s(d(5, 7), 1), s(d(5, 7), 0), s(d(5, 7), -2, True), s(d(3, 4, 5), 1), s(d(0, 3), 1),
    s(TIES, 0), s(TIES, 1), s(NANS, 0), s(NANS, 1), s(ZEROS, 1), s(i(5, 7), 1), s(i(6, 5), 0),
    s(t(), 0), s(d(3, 2311), 1), s(d(531, 19), 0), s(d(7, 300), 0),
    s(t(17041, distinct=True, grad=False), 0),
)  # fmt: skip
# Neighbours 4/n apart are equal in half types, where positions may differ from the exact ones.
EXACT = ("float32",)

ROWS = [
    *[row(name, s(d(5, 7)), s(d(5, 7), 1), s(d(3, 4, 5), (0, -1), True), s(d(5, 7), 0), s(t()),
          s(d(0, 3), 1), s(TIES, 1), s(NANS, 0), s(i(5, 7), 1), s(b(3, 4), 0), s(d(4, 3), ()),
          s(d(2, 700, 5), 1), s(t(17041, distinct=True, grad=False), 0), ref=reducer(f))
      for name, f in (("amax", np.max), ("amin", np.min))],
    row("aminmax", s(d(5, 7)), s(d(5, 7), dim=1), s(d(5, 7), dim=0, keepdim=True), s(t()),
        ref=pair(np.min, np.max)),
    *[row(name, s(d(5, 7)), s(t()), s(NANS), s(b(3, 4), 1), *ALONG, ref=selected(f, arg),
          dtypes=EXACT)
      for name, f, arg in (("max", np.max, np.argmax), ("min", np.min, np.argmin))],
    *[row(name, s(d(5, 7)), s(d(3, 4, 5), keepdim=True), s(NANS), *ALONG, ref=position(f),
          dtypes=EXACT, grad=False) for name, f in (("argmax", np.argmax), ("argmin", np.argmin))],
]  # fmt: skip
