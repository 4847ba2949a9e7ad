"""Rows of the matrix products."""

import numpy as np

from tests.table import i, row, s, t


def addmm(x, a, b, beta=1, alpha=1):
    return beta * x + alpha * (a @ b)


def linear(x, w, bias=0.0):
    return x @ w.T + bias


ROWS = [
    row(
        "matmul",
        s(t(5), t(5)), s(t(4), t(4, 3)), s(t(4, 3), t(3)),
        s(t(4), t(2, 4, 3)), s(t(2, 1, 4, 3), t(3)),
        s(t(37, 23), t(23, 19)),
        s(t(3, 33, 5), t(5, 17)), s(t(33, 5), t(3, 5, 7)),  # one side without batch
        s(t(2, 1, 4, 3), t(3, 3, 5)), s(t(2, 1, 2, 2, 3), t(2, 1, 3, 2)),  # broadcast batches
        s(t(1, 7), t(7, 35)), s(t(35, 7), t(7, 1)), s(t(2, 1, 7), t(2, 7, 3)),
        s(t(3, 600), t(600, 2)), s(t(2500), t(2500)),  # K is split
        s(t(0, 4), t(4, 3)), s(t(4, 0), t(0, 3)), s(t(0), t(0)), s(t(2, 0, 4), t(4, 3)),
        s(i(5, 4), i(4, 3)), s(i(2, 5, 4), i(4)),
        ref=np.matmul,
    ),
    row("mm", s(t(5, 4), t(4, 3)), s(t(1, 1), t(1, 1)), s(t(0, 2), t(2, 3)), ref=np.matmul),
    row("bmm", s(t(3, 5, 4), t(3, 4, 2)), s(t(0, 5, 4), t(0, 4, 2)), ref=np.matmul),
    row(
        "addmm",
        s(t(5, 3), t(5, 4), t(4, 3)), s(t(3), t(35, 4), t(4, 3), beta=0.5, alpha=-2.0),
        s(t(5, 1), t(5, 4), t(4, 3), beta=0), s(t(), t(2, 0), t(0, 3)),
        s(t(2), t(3, 600), t(600, 2), alpha=0.25),  # K is split
        s(t(1, 3), t(1, 4), t(4, 3), beta=2),
        s(i(5, 3), i(5, 4), i(4, 3), beta=2, alpha=3),
        ref=addmm,
    ),
    row(
        "baddbmm",
        s(t(3, 5, 2), t(3, 5, 4), t(3, 4, 2)),
        s(t(5, 1), t(3, 5, 4), t(3, 4, 2), beta=2.0, alpha=0.5),
        s(t(2), t(3, 1, 4), t(3, 4, 2), beta=0),
        ref=addmm,
    ),
    row(
        "nn.functional.linear",
        s(t(5, 4), t(3, 4), t(3)), s(t(5, 4), t(3, 4)), s(t(2, 33, 4), t(17, 4), t(17)),
        s(t(4), t(3, 4), t(3)), s(t(1, 4), t(3, 4), t(3)), s(t(2, 5, 4), t(4)),
        s(t(2, 5, 4), t(4), t()), s(t(5, 4), t(1, 4), t(1)), s(t(0, 4), t(3, 4), t(3)),
        s(t(5, 0), t(3, 0), t(3)), s(t(2, 3, 2, 4), t(3, 4), bias=t(3)),
        ref=linear,
    ),
]  # fmt: skip
