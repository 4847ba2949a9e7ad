"""Rows of the statistics family: variance and standard deviation."""

import numpy as np

from tests.rows.reduction import dims, mean
from tests.table import own, row, s, t, value


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
    s(t(3, 0), 0), own("torch's gradient for dim=() divides by zero", s(t(4, 3), ())),
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

# Long rows, wide columns, both, and one row split over programs.
LARGE = (
    s(t(3, 2311, low=5, high=6), 1), s(t(531, 19), 0), s(t(2, 700, 5, grad=False), 1),
    s(t(17041, grad=False), 0),
)  # fmt: skip

ROWS = [
    row("var", *SAMPLES, *EDGES, CONSTANT, *LARGE, ref=var),
    row("std", *SAMPLES[::2], *EDGES, CONSTANT, ref=std),
    row("var_mean", *SAMPLES[::2], *EDGES, LARGE[-1], ref=var_mean),
    row("std_mean", *SAMPLES[1::2], *EDGES, CONSTANT, ref=std_mean),
]  # fmt: skip
