"""Rows of the statistics family: variance and standard deviation."""

import numpy as np

from tests.rows.reduction import dims, mean
from tests.table import row, s, t, value


def arguments(x, dim, unbiased, keepdim, correction):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    axis = dims(dim)
    center = mean(x, axis, True)
    squares = ((x - center) ** 2).sum(axis=axis, keepdims=keepdim)
    free = x.size / max(center.size, 1) - (1 if correction is None else correction)
    return squares / np.float64(max(free, 0)), mean(x, axis, keepdim)


def var(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    return arguments(x, dim, unbiased, keepdim, correction)[0]


def std(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    return np.sqrt(var(x, dim, unbiased, keepdim, correction=correction))


def var_mean(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    return arguments(x, dim, unbiased, keepdim, correction)


def std_mean(x, dim=None, unbiased=None, keepdim=False, *, correction=None):
    v, mean = arguments(x, dim, unbiased, keepdim, correction)
    return np.sqrt(v), mean


SAMPLES = (
    s(t(5, 7)), s(t(5, 7), False), s(t(5, 7), 1), s(t(5, 7), -2, True), s(t(5, 7), 0, False, True),
    s(t(3, 4, 5), (0, -1), correction=0), s(t(2, 3, 4), 1, correction=2, keepdim=True),
    s(t(2, 2, 2, 2, 2, 2, 2), (1, 3, 5)), s(t(5, 7), unbiased=False), s(t(6), 0, correction=1.5),
    s(t(3, 0), 0), s(t(4, 3), ()), s(t(19, 1037, low=5, high=6), 1),
    s(t(1037, 37), 0), s(t(2, 2311, 5), 1), s(t(17041), 0),
)  # fmt: skip
# Nothing to divide by: NaN or infinity, whose gradients have no finite differences.
EDGES = (
    s(
        t(0),
    ),
    s(t(0, 3, grad=False), 0),
    s(t(grad=False)),
    s(t(4, grad=False), correction=4),
)
CONSTANT = s(value([[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]], grad=False), 1)

ROWS = [
    row(name, *SAMPLES, *EDGES, CONSTANT, ref=ref)
    for name, ref in (("var", var), ("std", std), ("var_mean", var_mean), ("std_mean", std_mean))
]  # fmt: skip
