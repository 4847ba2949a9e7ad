"""Rows of the mask family."""

import numpy as np

from tests.table import b, i, row, s, t, value


def fill(x, mask, number):
    return np.where(mask, number, x)


def scatter(x, mask, source):
    y = np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape)).copy()
    mask = np.broadcast_to(mask, y.shape)
    y[mask] = source.reshape(-1)[: mask.sum()]
    return y


def select(x, mask):
    x, mask = np.broadcast_arrays(x, mask)
    return x[mask]


ROWS = [
    row("masked_fill", s(t(4, 5), b(4, 5), 2.5), s(t(4, 5), b(5), t()), s(t(4, 1), b(5), -1),
        s(t(), value(True, "bool"), 1.0), s(t(0, 3), b(3), 1.0), s(i(4, 5), b(4, 1), 7), s(b(4),
        b(4), True), ref=fill,
        covers=("masked_fill_",)),
    row("masked_select", s(t(4, 5), b(4, 5)), s(t(4, 1), b(5)), s(t(), value(True, "bool")),
        s(t(0, 2), b(2)),
        s(b(6), b(6)), ref=select),
    row("masked_scatter", s(t(4, 5), b(4, 5), t(20)), s(t(4, 5), b(5), t(5, 5)), s(t(0), b(0),
        t(2)),
        ref=scatter, covers=("masked_scatter_",)),
]  # fmt: skip
