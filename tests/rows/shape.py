"""Rows of the shape family: joining."""

import itertools

import numpy as np

from tests.table import i, row, s, t


def products(*xs):
    rows = np.array(list(itertools.product(*xs))).reshape(-1, len(xs))
    return xs[0] if len(xs) == 1 else rows


def combinations(x, r=2, with_replacement=False):
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return np.array(list(choose(x, r))).reshape(-1, r) if r else np.empty(0)


def cat(xs, dim=0, axis=None):
    rank = max(x.ndim for x in xs)
    return np.concatenate([x for x in xs if x.ndim == rank], dim if axis is None else axis)


MANY = [t(3, n) for n in (1, 2, 0, 4, *[1] * 15)]  # more than one launch joins

ROWS = [
    row("cat", s([t(2, 3), t(4, 3)]), s([t(2, 3), t(2, 1), t(2, 2)], 1), s([t(2, 3)], -1),
        s((t(0, 3), t(2, 3))), s([t(0, grad=False), t(2, 3)]), s([t(0), t(0)]),
        s([t(2, 2), i(1, 2)]),
        s(MANY, 1),
        s([t(37, 19, 3), t(37, 5, 3)], 1), ref=cat),
    row("concat", s([t(2, 3), t(4, 3)], 0), ref=cat),
    row("concatenate", s([t(2, 3), t(2, 2)], axis=1), ref=cat),
    row("stack", s([t(2, 3), t(2, 3)]), s([t(2, 3), t(2, 3), t(2, 3)], -1), s([t(), t()]),
        s([t(3, 0), t(3, 0)], 1), s([t(4), i(4)], 1), ref=np.stack),
    row("hstack", s([t(3), t(2)]), s([t(2, 3), t(2, 1)]), s([t(), t(2)]), ref=np.hstack),
    row("vstack", s([t(3), t(3)]), s([t(2, 3), t(3)]), s([t(), t()]), ref=np.vstack),
    row("row_stack", s([t(3), t(3)]), ref=np.vstack),
    row("dstack", s([t(3), t(3)]), s([t(2, 3), t(2, 3)]), s([t(2, 1, 2), t(2, 1, 3)]),
        ref=np.dstack),
    row("column_stack", s([t(3), t(3, 2)]), s([t(), t()]),
        ref=lambda xs: np.column_stack([np.atleast_1d(x) for x in xs])),
    row("cartesian_prod", s(t(3), t(2), t(4)), s(t(3)), s(t(0), t(2)), ref=products),
    row("combinations", s(t(4)), s(t(3), 3), s(t(3), 2, True), s(t(3, grad=False), 0), s(t(2), 5),
        ref=combinations),
    row("unravel_index", s(i(6, high=24), (2, 3, 4)), s(i(2, 2, high=5), 5),
        ref=lambda index, shape: np.unravel_index(index, shape), grad=False),
]  # fmt: skip
