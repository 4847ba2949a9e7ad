"""Rows of the sort family."""

import numpy as np

from tests.table import b, i, own, row, s, t, value

NAN, INF = np.nan, np.inf


def order(x, dim, descending):
    """Stable, NaN last, or first in descending order."""
    x = np.nan_to_num(x, nan=1e300, posinf=1e299, neginf=-1e299) if x.dtype.kind == "f" else x * 1
    return np.argsort(-x if descending else x, axis=dim, kind="stable")


def sort(x, dim=-1, descending=False, stable=False):
    if x.ndim == 0:
        return x, np.array(0)
    at = order(x, dim, descending)
    return np.take_along_axis(x, at, axis=dim), at


def topk(x, k, dim=-1, largest=True, sorted=True):
    values, at = sort(x, dim, largest)
    return (values, at) if x.ndim == 0 else tuple(np.take(a, range(k), dim) for a in (values, at))


def kthvalue(x, k, dim=-1, keepdim=False):
    if x.ndim == 0:
        return x, np.array(0)
    at = [k - 1] if keepdim else k - 1
    return tuple(np.take(a, at, dim) for a in sort(x, dim))


def median(x, dim=None, keepdim=False, skip_nan=False):
    if dim is None:
        return median(x.reshape(-1), 0, skip_nan=skip_nan)[0]
    if x.ndim == 0:
        return x, np.array(0)
    values, at = sort(x, dim)
    n, nans = x.shape[dim], np.isnan(x).sum(dim, keepdims=True)
    middle = np.where(nans > 0, n - nans, (n - 1) // 2)
    if skip_nan:
        middle = np.maximum(n - nans - 1, 0) // 2
    found = tuple(np.take_along_axis(a, middle, dim) for a in (values, at))
    return found if keepdim else tuple(a.squeeze(dim) for a in found)


def nanmedian(x, dim=None, keepdim=False):
    return median(x, dim, keepdim, True)


def mode(x, dim=-1, keepdim=False):
    if x.ndim == 0:
        return x, np.array(0)

    def one(v):
        values, counts = np.unique(v, return_counts=True, equal_nan=False)
        best = values[counts.argmax()]
        return np.array([best, np.flatnonzero(v == best)[-1]])

    found = np.apply_along_axis(one, dim, x)
    y, at = np.take(found, 0, dim), np.take(found, 1, dim).astype(np.int64)
    return (np.expand_dims(y, dim), np.expand_dims(at, dim)) if keepdim else (y, at)


def d(*shape, **more):
    return t(*shape, distinct=True, **more)


NANS = value([[1, NAN, 3, NAN, -1], [NAN, INF, 2, -INF, 2], [0.0, -0.0, 0, 1, -1]], grad=False)
# Over the longest row sorted in registers (128 when emulated), and over several blocks of 512.
TIED = "torch leaves the order of equal elements open"
SORTED = (
    s(t()), s(t(0)), s(t(3, 0), 1), s(t(0, 3), 1), s(d(5, 7)), s(d(5, 7), 0), s(d(5, 7), -1, True),
    s(d(3, 4, 5), 1), s(NANS, 1), s(NANS, 1, True), s(NANS, dim=0, stable=True),
    own(TIED, s(i(9, 5, high=4), 0)), own(TIED, s(i(5, 30, high=4), 1, True)),
    own(TIED, s(b(3, 9), 1)), s(d(33, 9), 0), s(d(2, 131), 1), s(d(131, 2), 0, True),
    own(TIED, s(i(2, 300, low=-9, high=4), 1)), s(t(1100, grad=False), 0, True),
)  # fmt: skip
EXACT = ("float32",)  # rounding to a half makes equal what was not, and so moves positions

ROWS = [
    row("sort", *SORTED, ref=sort, dtypes=EXACT),
    row("argsort", *SORTED[:13], ref=lambda *a, **k: sort(*a, **k)[1], grad=False, dtypes=EXACT),
    row("msort", s(d(5, 7)), s(d(9)), s(t()), ref=lambda x: sort(x, 0)[0]),
    row("topk", s(d(5, 7), 3), s(d(5, 7), 2, 0), s(d(5, 7), 7, 1, False), s(d(5, 7), 0), s(t(), 1),
        own(TIED, s(NANS, 2)), own(TIED, s(NANS, 2, 1, False)), own(TIED, s(i(4, 9), 2)),
        s(d(3, 4, 5), 2, 1), s(d(2, 200), 5),
        ref=topk, dtypes=EXACT),
    row("kthvalue", s(d(5, 7), 3), s(d(5, 7), 5, 0, True), s(t(), 1), s(NANS, 5),
        s(d(3, 4, 5), 2, 1), ref=kthvalue, dtypes=EXACT),
    row("median", s(d(5, 7)), s(d(5, 8), 1), s(d(5, 7), 0, True), s(t()), s(t(), 0), s(NANS, 1),
        s(NANS), s(i(5, 7), 1), ref=median, dtypes=EXACT),
    row("nanmedian", s(d(5, 7)), s(d(5, 8), 1), s(d(5, 7), 0, True), s(NANS, 1), s(NANS),
        s(value([NAN, NAN], grad=False), 0), ref=nanmedian, dtypes=EXACT),
    row("mode", s(i(5, 9, high=4)), s(i(9, 5, high=4), 0, True), s(t()), s(NANS, 1),
        own(TIED, s(i(2, 280, high=200), 1)), s(t(4, 5)), ref=mode, dtypes=EXACT),
]  # fmt: skip
