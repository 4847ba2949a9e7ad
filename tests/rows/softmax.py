"""Rows of softmax and log-softmax."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import row, s, t, value


def softmax(x, dim=None, dtype=None):
    if x.ndim == 0:
        return np.ones(())
    e = np.exp(x - x.max(dim, keepdims=True, initial=-np.inf))
    return e / e.sum(dim, keepdims=True)


def log_softmax(x, dim=None, dtype=None):
    if x.ndim == 0:
        return np.zeros(())
    m = x.max(dim, keepdims=True, initial=-np.inf)
    return x - m - np.log(np.exp(x - m).sum(dim, keepdims=True))


INF = float("inf")
SAMPLES = (
    s(t(5, 7), 1), s(t(5, 7), dim=0), s(t(3, 4, 5), -2), s(t(2, 3, 37), -1), s(t(), 0),
    s(t(4), -1), s(t(0, 3), 1), s(t(3, 0), 1), s(t(3, 0), 0), s(t(1, 1), 0),
    s(t(2, 5, 19), 1),  # inner axis in tiles
    s(t(2, 1100), 1), s(t(2, 70, 19), 1), s(t(1030, 3), 0),  # walked, and masked tails
    s(t(70, 61, low=-30, high=30), 1),  # shifted on the CPU
    s(value([[-INF, 0.5, 1.0], [1000.0, 999.0, -1000.0]], grad=False), 1),
)  # fmt: skip

ROWS = [
    row("softmax", *SAMPLES, ref=softmax),
    row("log_softmax", *SAMPLES, ref=log_softmax),
    row("Tensor.softmax", s(t(3, 4), 1), ref=softmax),
    row("nn.functional.softmax", s(t(3, 4), 1), s(t(2, 3, 4), dim=-1), ref=softmax),
    row("nn.functional.log_softmax", s(t(3, 4), dim=1), ref=log_softmax),
    row("nn.functional.softmin", s(t(3, 4), dim=1), ref=lambda x, dim: softmax(-x, dim)),
]
