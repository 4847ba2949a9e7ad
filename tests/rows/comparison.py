"""Rows of comparison, logic and ``where``."""

import numpy as np

from tests.table import b, i, own, row, s, t, value

PAIRS = (
    s(t(5, 7), t(5, 7)),
    s(value([1.0, 2.0, np.nan]), value([1.0, 3.0, np.nan])),
    s(t(3, 1, 4), t(2, 1)),
    s(t(), 0.5),
    s(i(4, 5), i(5)),
    s(i(4), 3),
    s(b(6), b(6)),
    s(t(0, 2), t(2)),
)
# The logical ops take numbers too here; torch's take tensors only.
PAIRS_OF_TENSORS = tuple(
    own("torch takes tensors only", p) if isinstance(p.args[1], (int, float)) else p for p in PAIRS
)
WHOLE = (
    s(i(4, 5, low=-99, high=99), i(5, low=-99, high=99)),
    s(i(4), 3),
    s(b(6), b(6)),
    s(i(0), i(0)),
)
SHIFTS = (
    s(i(9, low=-99, high=99), i(9, low=0, high=6)),
    s(i(5), 2),
    s(i(4, low=-9), value([63, 64, 70, 1], "int")),
)
SPECIAL = (s(value([0.0, np.nan, np.inf, -np.inf, 1.0])), s(t(3, 2)), s(i(4)), s(t()))
CLOSE = (
    s(value([1.0, 1.0, np.inf, np.nan]), value([1.000001, 1.1, np.inf, np.nan])),
    s(value([1.0, np.nan]), value([1.05, np.nan]), 0.1, 0.0, True),
    s(i(5), i(5)),
)


def left(x, y):
    return np.where((y >= 0) & (y < 64), np.left_shift(x, np.clip(y, 0, 63)), 0)


def compare(name, ref, samples=PAIRS):
    return row(name, *samples, ref=ref, grad=False)


def like_torch(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    return np.isclose(x, y, rtol, atol, equal_nan)


ROWS = [
    compare("eq", np.equal),
    compare("ne", np.not_equal),
    compare("lt", np.less),
    compare("le", np.less_equal),
    compare("gt", np.greater),
    compare("ge", np.greater_equal),
    row("not_equal", s(t(3), t(3)), ref=np.not_equal, grad=False,
        covers=["less", "less_equal", "greater", "greater_equal"]),
    row("isnan", *SPECIAL, ref=np.isnan, grad=False),
    row("isinf", *SPECIAL, ref=np.isinf, grad=False),
    row("isfinite", *SPECIAL, ref=np.isfinite, grad=False),
    row("isclose", *CLOSE, ref=like_torch, grad=False, dtypes=()),
    row("allclose", *CLOSE, ref=lambda *a: like_torch(*a).all(), grad=False, dtypes=()),
    row("equal", s(i(5), i(5)), s(value([1.0, 2.0]), value([1.0, 2.0])), s(t(3), t(4)),
        ref=np.array_equal, grad=False, dtypes=()),
    row("logical_not", s(b(5)), s(i(5, high=2)), s(value([0.0, -0.0, 2.0, np.nan])),
        ref=np.logical_not, grad=False),
    compare("logical_and", np.logical_and, PAIRS_OF_TENSORS),
    compare("logical_or", np.logical_or, PAIRS_OF_TENSORS),
    compare("logical_xor", np.logical_xor, PAIRS_OF_TENSORS),
    row("bitwise_not", s(i(5, low=-9)), s(b(5)), ref=np.invert),
    row("bitwise_and", *WHOLE, ref=np.bitwise_and),
    row("bitwise_or", *WHOLE, ref=np.bitwise_or),
    row("bitwise_xor", *WHOLE, ref=np.bitwise_xor),
    row("bitwise_left_shift", *SHIFTS, ref=left),
    row("bitwise_right_shift", *SHIFTS, ref=lambda x, y: np.right_shift(x, np.clip(y, 0, 63))),
    row("where", s(b(5, 7), t(5, 7), t(5, 7)), s(b(4, 1), t(5), t()),
        s(b(3, 2731), t(3, 2731), 0.0),
        s(b(6), 1.5, t(6)), s(b(4), i(4), i(1)), s(b(4), b(4), b(4)), s(b(0), t(0), t(0)),
        ref=np.where, dtypes=("float32", "float16", "bfloat16")),
]  # fmt: skip
