"""Rows of functions of one variable."""

import numpy as np
from scipy import special

from tests.table import i, row, s, t, value

ALL = (s(t(4, 5)), s(t()), s(t(0, 3)), s(t(3, 2731)), s(value([-30.0, 30.0, 1e-9, 0.5])))
POSITIVE = (
    s(t(4, 5, low=0.2, high=3)),
    s(t(low=0.2, high=3)),
    s(t(0, 3)),
    s(value([0.1, 1.0, 1000.0])),
)
UNIT = (s(t(4, 5, low=-0.9, high=0.9)), s(t(low=-0.9, high=0.9)), s(t(0)))
HALVES = (
    s(t(4, 5, low=-9, high=9)),
    s(value([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.0], grad=False)),
    s(i(5, low=-9)),
    s(t(0)),
)


def nearest(x, decimals=0):
    return np.round(x, decimals)


ROWS = [
    row("sqrt", *POSITIVE, ref=np.sqrt),
    row("rsqrt", *POSITIVE, ref=lambda x: 1 / np.sqrt(x)),
    row("exp", *ALL[:4], ref=np.exp),
    row("exp2", *ALL[:4], ref=np.exp2),
    row("expm1", *ALL[:4], s(value([1e-9, -1e-9, -40.0])), ref=np.expm1),
    row("log", *POSITIVE, ref=np.log),
    row("log2", *POSITIVE, ref=np.log2),
    row("log10", *POSITIVE, ref=np.log10),
    row("log1p", *POSITIVE, *UNIT, s(value([1e-9, -1e-9])), ref=np.log1p),
    row("sin", *ALL, ref=np.sin),
    row("cos", *ALL, ref=np.cos),
    row("tan", *UNIT, ref=np.tan),
    row("asin", *UNIT, ref=np.arcsin, covers=["arcsin"]),
    row("acos", *UNIT, ref=np.arccos, covers=["arccos"]),
    row("atan", *ALL, ref=np.arctan, covers=["arctan"]),
    row("atan2", s(t(4, 5), t(4, 5)), s(t(3, 1), t(2)), s(t(0), t(1)),
        ref=np.arctan2, covers=["arctan2"]),
    row("sinh", *ALL[:4], ref=np.sinh),
    row("cosh", *ALL[:4], ref=np.cosh),
    row("tanh", *ALL, ref=np.tanh),
    row("asinh", *ALL, ref=np.arcsinh, covers=["arcsinh"]),
    row("acosh", s(t(4, 5, low=1.2, high=4)), s(t(low=1.2, high=4)), ref=np.arccosh,
        covers=["arccosh"]),
    row("atanh", *UNIT, ref=np.arctanh, covers=["arctanh"]),
    row("sigmoid", *ALL, ref=special.expit),
    row("special.erf", *ALL, ref=special.erf, torch="erf"),
    row("floor", *HALVES, ref=np.floor, dtypes=("float32",)),
    row("ceil", *HALVES, ref=np.ceil, dtypes=("float32",)),
    row("trunc", *HALVES, ref=np.trunc, covers=["fix"], dtypes=("float32",)),
    row("round", *HALVES, s(t(4, 5), decimals=2), s(t(4, 5, low=-99, high=99), decimals=-1),
        ref=nearest, dtypes=("float32",)),
    row("frexp", s(t(4, 5, low=0.55, high=0.95)), s(t(low=-3.9, high=-2.1)), s(t(0, 3)),
        s(value([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-4, -3.0, 8.0], grad=False)),
        s(t(2, 4099, grad=False)), ref=np.frexp),
    row("sign", *HALVES, ref=np.sign),
    row("sgn", *HALVES, ref=np.sign),
    row("conj", s(t(3)), ref=np.conj),
]  # fmt: skip
