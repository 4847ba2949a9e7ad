"""Rows of the pooling family."""

import numpy as np

from tests.table import own, row, s, t, value


def pair(v):
    return v if isinstance(v, (tuple, list)) else (v, v)


def images(x):
    return x if x.ndim == 4 else x[None]


def length(n, k, stride, pad, dilation, ceil_mode):
    rest = n + 2 * pad - dilation * (k - 1) - 1
    out = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= n + pad else out


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    kernel, pad, spread = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    a = images(x)
    n, c, h, v = a.shape
    p, q = (length((h, v)[i], kernel[i], stride[i], pad[i], spread[i], ceil_mode) for i in (0, 1))
    y, index = np.empty((n, c, p, q)), np.empty((n, c, p, q), np.int64)
    for i in range(p):
        for j in range(q):
            rows = [i * stride[0] - pad[0] + r * spread[0] for r in range(kernel[0])]
            cols = [j * stride[1] - pad[1] + r * spread[1] for r in range(kernel[1])]
            at = [k * v + m for k in rows if 0 <= k < h for m in cols if 0 <= m < v]
            window = a.reshape(n, c, h * v)[:, :, at]
            y[..., i, j] = window.max(2)
            index[..., i, j] = np.array(at)[window.argmax(2)]
    y, index = (y, index) if x.ndim == 4 else (y[0], index[0])
    return (y, index) if return_indices else y


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    kernel, pad = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    a = images(x)
    n, c, h, v = a.shape
    p, q = (length((h, v)[i], kernel[i], stride[i], pad[i], 1, ceil_mode) for i in (0, 1))
    y = np.empty((n, c, p, q))
    for i in range(p):
        for j in range(q):
            h0, v0 = i * stride[0] - pad[0], j * stride[1] - pad[1]
            h1, v1 = min(h0 + kernel[0], h + pad[0]), min(v0 + kernel[1], v + pad[1])
            window = a[:, :, max(h0, 0) : h1, max(v0, 0) : v1]
            count = (h1 - h0) * (v1 - v0) if count_include_pad else window[0, 0].size
            y[..., i, j] = window.sum((2, 3)) / (divisor_override or count)
    return y if x.ndim == 4 else y[0]


def adaptive(reduce):
    def pool(x, output_size, return_indices=False):
        a = images(x)
        n, c, h, v = a.shape
        p, q = (m if k is None else k for k, m in zip(pair(output_size), (h, v), strict=True))
        y = np.empty((n, c, p, q))
        for i in range(p):
            for j in range(q):
                rows = slice(i * h // p, -(-(i + 1) * h // p))
                cols = slice(j * v // q, -(-(j + 1) * v // q))
                y[..., i, j] = reduce(a[:, :, rows, cols], axis=(2, 3))
        return y if x.ndim == 4 else y[0]

    return pool


def flat(pool):
    """The 1-D op of a 2-D reference."""

    def pool1d(x, size, stride=None, padding=0, *rest, **options):
        stride = None if stride is None else (1, stride)
        if "dilation" in options:
            options["dilation"] = (1, options["dilation"])
        y = pool(x[..., None, :], (1, size), stride, (0, padding), *rest, **options)
        return tuple(a[..., 0, :] for a in y) if isinstance(y, tuple) else y[..., 0, :]

    return pool1d


def flat_adaptive(pool):
    return lambda x, size: pool(x[..., None, :], (1, size))[..., 0, :]


TIES = value([[[1.0, 1, 0, 0], [0, 1, 0, 0], [2, 2, -1, -1], [2, 2, -1, -2]]], grad=False)
F = "nn.functional."

ROWS = [
    row(
        F + "max_pool2d",
        s(t(2, 3, 6, 8, distinct=True), 2),
        s(t(2, 2, 7, 5, distinct=True), 3, 2, 1),
        s(t(3, 7, 9, distinct=True), (2, 3), (3, 1), (1, 0), (2, 3), ceil_mode=True),
        s(t(1, 2, 8, 7, distinct=True), 3, 2, 1, 1, True, return_indices=True),
        s(TIES, 2, return_indices=True),
        s(t(0, 2, 4, 4), 2),
        s(t(1, 5, 16, 16, distinct=True), 3, 1, 1),  # several blocks
        ref=max_pool2d,
    ),
    row(
        F + "max_pool1d",
        s(t(2, 3, 9, distinct=True), 2),
        s(t(3, 9, distinct=True), 3, 2, 1, dilation=2, ceil_mode=True, return_indices=True),
        ref=flat(max_pool2d),
    ),
    row(
        F + "avg_pool2d",
        s(t(2, 3, 6, 8), 2),
        s(t(2, 2, 7, 5), 3, 2, 1),
        s(t(3, 7, 9), (2, 3), (3, 2), (1, 1), True, False),
        s(t(1, 2, 8, 7), 3, 2, 1, True),
        s(t(1, 2, 5, 6), (5, 6), divisor_override=7),
        s(t(1, 1, 3, 170), (2, 3), 2),  # columns summed without a GEMM
        s(t(0, 2, 4, 4), 2),
        s(t(1, 5, 16, 16), 3, 1, 1, count_include_pad=False),  # several blocks
        ref=avg_pool2d,
    ),
    row(
        F + "avg_pool1d",
        s(t(2, 3, 9), 2),
        s(t(3, 9), 3, 2, 1, True, False),
        ref=flat(avg_pool2d),
    ),
    row(
        F + "adaptive_avg_pool2d",
        s(t(2, 3, 6, 8), 2),
        s(t(2, 3, 7, 5), (3, None)),
        s(t(3, 3, 4), (5, 9)),  # windows that share pixels
        s(t(2, 2, 4, 4), 1),
        own("torch refuses backward of an empty result", s(t(2, 2, 4, 4), 0)),
        ref=adaptive(np.mean),
    ),
    row(
        F + "adaptive_avg_pool1d", s(t(2, 3, 7), 3), s(t(3, 8), 2),
        ref=flat_adaptive(adaptive(np.mean)),
    ),
    row(
        F + "adaptive_max_pool2d",
        s(t(2, 3, 6, 8, distinct=True), 2),
        s(t(2, 3, 7, 5, distinct=True), (3, None)),
        s(t(3, 3, 4, distinct=True), (5, 9)),
        ref=adaptive(np.max),
    ),
    row(
        F + "adaptive_max_pool1d", s(t(2, 3, 7, distinct=True), 3),
        ref=flat_adaptive(adaptive(np.max)),
    ),
]  # fmt: skip
