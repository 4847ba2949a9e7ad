"""Rows of layer, RMS and group norm."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import row, s, t


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    if x.size == 0:
        return x
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, shape, weight=None, eps=None):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    eps = np.finfo(np.float64).eps if eps is None else eps
    y = x / np.sqrt((x * x).mean(axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    if x.size == 0:
        return x
    rows = x.reshape(x.shape[0], groups, -1)
    y = layer_norm(rows, rows.shape[2:], eps=eps).reshape(x.shape)
    shape = (-1, *[1] * (x.ndim - 2))
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """One channel at a time."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha * (near**2).sum(1) / size) ** beta
    return y


ROWS = [
    row(
        "nn.functional.layer_norm",
        s(t(5, 7), (7,), t(7), t(7)), s(t(5, 7), (7,)), s(t(5, 7), (7,), t(7)),
        s(t(5, 7), (7,), None, t(7)), s(t(2, 3, 4, 5), (4, 5), t(4, 5), t(4, 5), 0.1),
        s(t(9), (9,), t(9), t(9)), s(t(2, 3, 4), (2, 3, 4), t(2, 3, 4)),
        s(t(0, 3), (3,), t(3), t(3)),
        s(t(3, 0), (0,)), s(t(4, 1), (1,), t(1), t(1)),
        s(t(131, 37), (37,), t(37), t(37)),  # several blocks of rows, masked
        s(t(3, 1300), (1300,), t(1300), t(1300)), s(t(2, 1100), (1100,)),  # walked
        s(t(9, 1030), [1030], t(1030)),
        ref=layer_norm,
        # 37 and more products are summed in half precision steps of the input's rounding
        tolerance=2.0,
    ),
    row("layer_norm", s(t(3, 4), (4,), t(4), t(4)), ref=layer_norm),
    row(
        "nn.functional.rms_norm",
        s(t(5, 7), (7,), t(7)), s(t(5, 7), (7,)), s(t(2, 3, 4), (3, 4), t(3, 4), 0.1),
        s(t(0, 3), (3,), t(3)), s(t(3, 1100), (1100,), t(1100), 1e-5),
        ref=rms_norm,
        dtypes=("float32",),  # the default eps depends on the dtype
    ),
    row("rms_norm", s(t(3, 4), (4,), t(4), 1e-5), ref=rms_norm),
    row(
        "nn.functional.group_norm",
        s(t(2, 6, 5), 3, t(6), t(6)), s(t(2, 6), 2), s(t(2, 6, 3, 2), 1, t(6)),
        s(t(3, 4, 5), 4, t(4), t(4), 0.1), s(t(0, 4, 2), 2, t(4), t(4)),
        ref=group_norm,
    ),
    row("group_norm", s(t(2, 4, 3), 2, t(4), t(4)), ref=group_norm),
    row(
        "nn.functional.local_response_norm",
        s(t(2, 5, 3, 2), 3, 0.5), s(t(1, 4, 3), 4, 0.5, 0.6, 2.0), s(t(1, 3, 2, 1, 2), 9, 1.0),
        s(t(0, 3, 2), 2), s(t(2, 3, 4), 1, 0.5, 1.0),
        ref=local_response_norm,
    ),
]  # fmt: skip
