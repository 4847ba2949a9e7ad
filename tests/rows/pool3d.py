"""Rows of the pooling of volumes."""

import numpy as np

from tests.rows.pool import length
from tests.table import own, row, s, t, value


def triple(v):
    return v if isinstance(v, (tuple, list)) else (v, v, v)


def boxes(kernel_size, stride, padding, dilation, ceil_mode, shape):
    """(output's size, index of an output -> the pixels of its box along each axis, pads too)."""
    kernel, pad, spread = triple(kernel_size), triple(padding), triple(dilation)
    stride = kernel if stride is None else triple(stride)
    size = tuple(
        length(shape[i], kernel[i], stride[i], pad[i], spread[i], ceil_mode) for i in range(3)
    )

    def box(at):
        return [
            [at[i] * stride[i] - pad[i] + r * spread[i] for r in range(kernel[i])] for i in range(3)
        ]

    return size, box


def inside(places, shape):
    return np.ix_(*[[k for k in p if 0 <= k < n] for p, n in zip(places, shape, strict=True)])


def batched(pool):
    """The same for (C, D, H, W)."""

    def any_rank(x, *args, **kwargs):
        if x.ndim == 5:
            return pool(x, *args, **kwargs)
        y = pool(x[None], *args, **kwargs)
        return tuple(a[0] for a in y) if isinstance(y, tuple) else y[0]

    return any_rank


@batched
def max_pool3d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    shape = x.shape[2:]
    size, box = boxes(kernel_size, stride, padding, dilation, ceil_mode, shape)
    y, index = np.empty((*x.shape[:2], *size)), np.empty((*x.shape[:2], *size), np.int64)
    places = np.arange(np.prod(shape)).reshape(shape)
    for at in np.ndindex(*size):
        window = places[inside(box(at), shape)].reshape(-1)
        found = x.reshape(*x.shape[:2], places.size)[..., window]
        y[(..., *at)] = found.max(-1)
        index[(..., *at)] = window[found.argmax(-1)]
    return (y, index) if return_indices else y


@batched
def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    shape, pad = x.shape[2:], triple(padding)
    size, box = boxes(kernel_size, stride, padding, 1, ceil_mode, shape)
    y = np.empty((*x.shape[:2], *size))
    for at in np.ndindex(*size):
        window = x[(slice(None), slice(None), *inside(box(at), shape))]
        count = np.prod([
            sum(k < n + p for k in places)
            for places, n, p in zip(box(at), shape, pad, strict=True)
        ])  # fmt: skip
        count = count if count_include_pad else np.prod(window.shape[2:])
        y[(..., *at)] = window.sum((2, 3, 4)) / (divisor_override or count)
    return y


def adaptive(reduce):
    @batched
    def pool(x, output_size):
        shape = x.shape[2:]
        size = [n if k is None else k for k, n in zip(triple(output_size), shape, strict=True)]
        y = np.empty((*x.shape[:2], *size))
        for at in np.ndindex(*size):
            cut = tuple(
                slice(k * n // m, -(-(k + 1) * n // m))
                for k, n, m in zip(at, shape, size, strict=True)
            )
            y[(..., *at)] = reduce(x[(..., *cut)], axis=(2, 3, 4))
        return y

    return pool


TIES = value([[[[1.0, 1, 0], [0, 1, 2]], [[1, 1, 2], [1, 1, 0]], [[3, 0, 0], [3, 3, 3]]]],
             grad=False)  # fmt: skip
F = "nn.functional."

ROWS = [
    row(
        F + "max_pool3d",
        s(t(2, 2, 4, 4, 6, distinct=True), 2),
        s(t(1, 2, 5, 6, 4, distinct=True), 3, 2, 1),
        s(t(2, 5, 7, 6, distinct=True), (2, 3, 2), (1, 2, 3), (1, 1, 0), (2, 1, 3), True),
        s(t(1, 2, 4, 5, 6, distinct=True), 3, 2, 1, 1, True, return_indices=True),
        s(t(1, 2, 3, 4, 4, distinct=True), (1, 2, 2)),  # one pass
        s(t(1, 2, 3, 4, 4, distinct=True), (1, 2, 2), return_indices=True),
        s(TIES, (3, 1, 2), 1, return_indices=True),
        s(t(0, 2, 4, 4, 4), 2, return_indices=True),
        ref=max_pool3d,
    ),
    row(
        F + "avg_pool3d",
        s(t(2, 2, 4, 4, 6), 2),
        s(t(1, 2, 5, 6, 4), 3, 2, 1),
        s(t(2, 5, 7, 6), (2, 3, 2), (3, 2, 1), (1, 1, 0), True, False),
        s(t(1, 2, 4, 5, 7), 3, 2, 1, True),
        s(t(1, 2, 3, 4, 4), (1, 2, 2)),  # one pass
        s(t(1, 2, 4, 4, 4), 2, divisor_override=3),
        s(t(0, 2, 4, 4, 4), 2),
        ref=avg_pool3d,
    ),
    row(
        F + "adaptive_avg_pool3d",
        s(t(2, 2, 4, 6, 3), 1),
        s(t(2, 5, 6, 4), (3, None, 2)),
        s(t(1, 2, 3, 4, 5), (5, 4, 3)),  # boxes that share elements
        own("torch refuses backward of an empty result", s(t(1, 2, 3, 4, 5), (2, 0, 3))),
        ref=adaptive(np.mean),
    ),
    row(
        F + "adaptive_max_pool3d",
        s(t(2, 2, 4, 6, 3, distinct=True), 1),
        s(t(2, 5, 6, 4, distinct=True), (3, None, 2)),
        s(t(1, 2, 3, 4, 5, distinct=True), (5, 4, 3)),
        ref=adaptive(np.max),
    ),
]  # fmt: skip
