"""Rows of the index family."""

import numpy as np

from tests.table import b, i, row, s, t, value


def near(n, *shape):
    """Random indices into a dim of size ``n``, some of them negative."""
    return i(*shape, low=-n, high=n)


def getitem(x, index):
    return x[index]


ALL = slice(None)

ROWS = [
    row("Tensor.__getitem__",
        s(t(4, 5), 1), s(t(4, 5), -1), s(t(4, 5), slice(1, 3)), s(t(4, 5), (ALL, 2)), s(t(4, 5),
        ...),
        s(t(4, 5), (None, slice(0, 4, 2), None, 1)), s(t(4, 5), (slice(3, 1), ...)), s(t(), ...),
        s(t(), None), s(t(2, 3, 4), (..., 1)), s(t(2, 3, 4), (0, ..., slice(1, None))), s(t(4),
        True),
        s(t(4), False), s(t(4, 5), (None, True)),
        s(t(4, 5), near(4, 3)), s(t(4, 5), (near(4, 3), near(5, 3))), s(t(4, 5),
        (ALL, near(5, 2, 3))),
        s(t(2, 3, 4), (near(2, 3, 1), ALL, near(4, 2))), s(t(2, 3, 4), (0, near(3, 2),
        slice(1, 3))),
        s(t(2, 3, 4), (slice(1), near(3, 2), near(4, 2))), s(t(2, 3, 4), (..., near(4, 2), None)),
        s(t(4, 5), value([], "int")), s(t(0, 3), (ALL, near(3, 2))), s(t(4, 5), value(2, "int")),
        s(t(4, 5), ([0, 2], [1, 1])), s(t(4, 5), [3, -1]),
        s(t(4, 5), b(4, 5)), s(t(4, 5), b(4)), s(t(4, 5), (ALL, b(5))), s(t(2, 3, 4), b(2, 3)),
        s(t(2, 3, 4), (1, b(3))),
        s(t(37, 3), near(37, 700)), s(t(), value(True, "bool")),
        ref=getitem, covers=("getitem",)),
    row("nonzero", s(i(5, 7, low=0, high=3)), s(b(40, 50, 11)), s(b(3)), s(t(0, 3)), s(value(3.0)),
        s(value(0.0)), s(value([[0.0, -0.0, np.nan], [2, 0, 1]])), s(b(3, 1, 2)),
        ref=lambda x: np.argwhere(x), grad=False),
    row("argwhere", s(i(5, 7, low=0, high=3)), ref=np.argwhere, grad=False),
    row("index_select", s(t(4, 5), 0, i(3, high=4)), s(t(4, 5), 1, i(7, high=5)), s(t(4, 5),
        -1, i(0)),
        s(t(4, 5), 0, value(2, "int")), s(t(), 0, value([0], "int")), s(t(2, 3, 4),
        1, i(5, high=3)),
        ref=lambda x, dim, k: np.take(x, np.atleast_1d(k), dim).reshape(
            () if not x.ndim else (*x.shape[: dim % x.ndim], k.size,
        *x.shape[dim % x.ndim + 1 :]))),
    row("take", s(t(4, 5), near(20, 3, 2)), s(t(), value([0, 0], "int")), s(t(3), near(3)),
        ref=lambda x, k: np.take(x, k)),
]  # fmt: skip
