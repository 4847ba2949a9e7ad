"""Rows of search among sorted numbers, counts and quantiles."""

from typing import Any

import numpy as np

from tests.table import i, own, row, s, t, value


def increasing(*shape):
    return value(np.sort(np.random.default_rng(shape[-1]).standard_normal(shape), -1), grad=False)


def x(*shape):
    return t(*shape, grad=False)


def searchsorted(a, v, right=False, out_int32=False, side=None, sorter=None):
    side = side or ("right" if right else "left")
    if sorter is not None:
        a = np.take_along_axis(a, sorter, -1)
    if a.ndim == 1:
        return np.searchsorted(a, v, side)
    rows = zip(a.reshape(-1, a.shape[-1]), v.reshape(-1, v.shape[-1]), strict=True)
    return np.stack([np.searchsorted(r, q, side) for r, q in rows]).reshape(v.shape)


def histc(x, bins=100, min=0, max=0):
    if min == max:
        min, max = x.min(), x.max()
    if min == max:
        min, max = min - 1, max + 1
    return np.histogram(x, bins, (min, max))[0].astype(np.float64)


def quantile(x, q, dim=None, keepdim=False, interpolation: Any = "linear"):
    return np.quantile(x, q, dim, keepdims=keepdim, method=interpolation)


def nanquantile(x, q, dim=None, keepdim=False, interpolation: Any = "linear"):
    return np.nanquantile(x, q, dim, keepdims=keepdim, method=interpolation)


TIES = value([1.0, 2.0, 2.0, 3.0], grad=False)
NAN = float("nan")
ROWS = [
    row(
        "searchsorted", s(increasing(37), x(19)), s(increasing(7), x(3, 4), right=True),
        s(increasing(3, 6), x(3, 5)), s(TIES, value([2.0, 0.0, 9.0, NAN], grad=False)),
        s(TIES, value([2.0, NAN], grad=False), side="right"), s(TIES, 2.5), s(x(0), x(3)),
        own("torch leaves the order of NaN in a sequence open",
            s(value([1.0, 2.0, NAN], grad=False), value([NAN, 5.0], grad=False))),
        s(value([3.0, 1.0, 2.0], grad=False), x(4), sorter=value([1, 2, 0], "int")),
        s(value([1, 4, 4, 9], "int"), i(5), out_int32=True),
        ref=searchsorted, grad=False,
        dtypes=(),  # a boundary rounded to fewer bits moves past its neighbours
    ),
    row("bucketize", s(x(3, 4), increasing(5)), s(i(6), value([2, 5, 7], "int"), right=True),
        ref=lambda v, a, right=False: np.searchsorted(a, v, "right" if right else "left"),
        grad=False, dtypes=()),
    row(
        "bincount", s(i(20)), s(i(5, high=3), minlength=7), s(i(0), minlength=2),
        s(i(6, high=4), t(6, grad=False)), s(i(6, high=4), i(6)),
        ref=np.bincount, grad=False, dtypes=("float32",),
    ),
    row(
        "histc", s(x(50)), s(x(40), 7), s(x(3, 4), 5, -1.0, 1.0),
        s(value([2.0, 2.0], grad=False), 3),
        ref=histc, grad=False, dtypes=(),
    ),
    row(
        "quantile", s(t(9, distinct=True), 0.3), s(t(4, 5, distinct=True), 0.5, 1),
        s(t(4, 5, distinct=True), value([0.0, 0.25, 1.0], grad=False), 0, True),
        s(t(3, 4, distinct=True), value([0.6, 0.1], grad=False)),
        s(t(7, distinct=True), 0.4, interpolation="lower"),
        s(t(7, distinct=True), 0.4, interpolation="higher"),
        s(t(7, distinct=True), 0.4, interpolation="midpoint"),
        s(t(7, distinct=True), 0.45, interpolation="nearest"), s(t(), 0.5),
        s(value([1.0, NAN, 2.0], grad=False), 0.5),
        ref=quantile, dtypes=("float32",),
    ),
    row(
        "nanquantile", s(value([[1.0, NAN, 2.0, 5.0], [NAN, NAN, 3.0, 4.0]], grad=False), 0.3, 1),
        s(t(6, distinct=True), 0.7), s(value([NAN, 4.0], grad=False), 0.2, 0, True),
        ref=nanquantile, dtypes=("float32",),
    ),
]  # fmt: skip
