"""Rows of the lookup tables."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import i, row, s, t, value


def lookup(indices, weight, padding_idx=None, *rest):
    return weight[indices]


REPEATED = value([[3, 1, 1], [0, 3, 3]], "int")
FIXED = t(5, 4, grad=False)

ROWS = [
    row(
        "nn.functional.embedding",
        # Gradients with padding_idx or by frequency are no derivatives: tests/test_embedding.py.
        s(REPEATED, t(5, 4)), s(REPEATED, FIXED, 3), s(REPEATED, FIXED, -2),
        s(REPEATED, FIXED, None, None, 2.0, True),
        s(i(high=5), t(5, 4)), s(i(0, 2, high=5), t(5, 4)), s(i(3, high=5), t(5, 0)),
        s(i(700, high=9), t(9, 7)),  # several programs of lookups
        s(i(3, high=9), t(9, 1100)),  # and of columns
        ref=lookup,
    ),
    row(
        "embedding",
        s(t(5, 4), REPEATED), s(FIXED, REPEATED, 3, True), s(i(5, 4), REPEATED),
        ref=lambda weight, indices, *rest: weight[indices],
    ),
    row(
        "embedding_renorm_",
        s(t(5, 4, grad=False), REPEATED, 1.0, 2.0), s(t(5, 4, grad=False), i(3, high=5), 0.5, 1.0),
        ref=lambda w, indices, top, p: renormed(w, indices, top, p),
    ),
]  # fmt: skip


def renormed(weight, indices, top, p):
    used = np.isin(np.arange(len(weight)), indices)
    norms = (np.abs(weight) ** p).sum(1) ** (1 / p)
    scale = np.where(used & (norms > top), top / (norms + 1e-7), 1.0)
    return weight * scale[:, None]
