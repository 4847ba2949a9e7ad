"""Rows of the unique family."""

import numpy as np

from tests.table import b, i, row, s, t, value


def unique(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
    values, inverse, counts = np.unique(
        x, return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    inverse = np.asarray(inverse).reshape(x.shape if dim is None else (-1,))
    return chosen((values, inverse, counts), return_inverse, return_counts)


def chosen(found, return_inverse, return_counts):
    kept = (True, return_inverse, return_counts)
    left = [a for a, k in zip(found, kept, strict=True) if k]
    return tuple(left) if len(left) > 1 else left[0]


def consecutive(x, return_inverse=False, return_counts=False, dim=None):
    rows = x.reshape(-1) if dim is None else np.moveaxis(x, dim, 0)
    n = len(rows)
    new = np.array([k for k in range(n) if k == 0 or (rows[k] != rows[k - 1]).any()], np.int64)
    values = rows[new] if dim is None else np.moveaxis(rows[new], 0, dim)
    counts = np.diff(np.append(new, n))
    inverse = np.repeat(np.arange(len(new)), counts)
    inverse = inverse.reshape(x.shape) if dim is None else inverse
    return chosen((values, inverse, counts), return_inverse, return_counts)


ALL = {"return_inverse": True, "return_counts": True}
NANS = value([3, np.nan, 1, 3, np.nan, 1], grad=False)
ROWS = [
    row("unique", s(i(5, 7)), s(i(5, 7), **ALL), s(i(0), **ALL), s(t(4, 3)), s(i(40), False, True),
        s(i(520, high=90), return_counts=True), s(i(), **ALL), s(b(9)), s(NANS, **ALL),
        s(i(9, 2, high=2), dim=0, **ALL), s(i(3, 9, high=2), dim=1), s(i(7, 2, 2, high=2), dim=-3),
        s(t(9, 2), dim=0), s(i(131, 1, high=40), dim=0, **ALL), s(i(0, 3), dim=0), ref=unique,
        grad=False, dtypes=("float32",)),
    row("unique_consecutive", s(i(30, high=2)), s(i(30, high=2), **ALL), s(i(5, 6, high=2), **ALL),
        s(i(0), **ALL), s(i(12, 2, high=2), dim=0, **ALL), s(i(2, 9, high=2), dim=1),
        s(NANS, **ALL), s(i(600, high=2), **ALL), ref=consecutive, grad=False, dtypes=("float32",)),
]  # fmt: skip
