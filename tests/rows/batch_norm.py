"""Rows of batch and instance norm."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import row, s, t


def per_channel(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


def affine(y, weight, bias):
    y = y if weight is None else y * per_channel(weight, y)
    return y if bias is None else y + per_channel(bias, y)


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if x.size == 0:
        return x
    axes = (0, *range(2, x.ndim))
    m, v = (x.mean(axes), x.var(axes)) if training else (mean, var)
    return affine((x - per_channel(m, x)) / np.sqrt(per_channel(v, x) + eps), weight, bias)


def instance_norm(
    x, mean=None, var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    if not use_input_stats:
        return batch_norm(x, mean, var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return affine(y, weight, bias)


def fixed(*shape, low=None, high=None):
    """A tensor without gradient: running statistics have none."""
    return t(*shape, low=low, high=high, grad=False)


MEAN, VAR = fixed(3), fixed(3, low=0.5, high=2.0)

ROWS = [
    row(
        "nn.functional.batch_norm",
        s(t(5, 3), None, None, t(3), t(3), True), s(t(4, 3, 5), MEAN, VAR, t(3), t(3), True),
        s(t(2, 3, 4, 5), None, None, training=True),
        s(t(2, 3, 2, 2, 3), None, None, t(3), None, True),
        s(t(5, 3, 4), None, None, None, t(3), True, 0.3, 0.1),
        s(t(1, 1, 7), None, None, t(1), t(1), True),
        s(t(0, 3, 4), MEAN, VAR, t(3), t(3), True), s(t(4, 0), None, None, training=True),
        s(t(3, 3, 1031), None, None, t(3), t(3), True),  # channels split over programs
        s(t(700, 3), None, None, t(3), t(3), True), s(t(9, 137), None, None, t(137), t(137), True),
        s(t(5, 3), MEAN, VAR, t(3), t(3)), s(t(4, 3, 5), MEAN, VAR),
        s(t(2, 3, 4, 5), MEAN, VAR, t(3)),
        s(t(4, 3, 5), MEAN, VAR, None, t(3), False, 0.1, 0.1), s(t(0, 3), MEAN, VAR, t(3), t(3)),
        ref=batch_norm,
    ),
    row(
        "nn.functional.instance_norm",
        s(t(2, 3, 5), None, None, t(3), t(3)), s(t(2, 3, 4, 5)),
        s(t(2, 3, 5), MEAN, VAR, t(3), t(3)),
        s(t(2, 3, 5), MEAN, VAR, t(3), t(3), False), s(t(1, 3, 2, 2), weight=t(3), eps=0.1),
        ref=instance_norm,
    ),
]  # fmt: skip
