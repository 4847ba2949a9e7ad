"""Rows of the poolings that are made of others."""

import numpy as np

from tests.rows.pool import avg_pool2d, flat, max_pool2d, pair
from tests.rows.pool3d import avg_pool3d, max_pool3d, triple
from tests.table import row, s, t, value


def lp(mean, largest, number):
    def pool(x, p, kernel_size, stride=None, ceil_mode=False):
        if np.isinf(p):
            sign = np.sign(p)
            return sign * largest(sign * abs(x), kernel_size, stride, 0, 1, ceil_mode)
        sums = mean(x**p, kernel_size, stride, 0, ceil_mode) * number(kernel_size)
        return sums ** (1 / p)

    return pool


def unpool(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """One axis or more: the number of ``output_size`` where given, else by the formula."""
    space = x.ndim - (1 if x.ndim < 4 else 2)
    spread = [v if isinstance(v, tuple) else (v,) * space for v in (
        kernel_size, kernel_size if stride is None else stride, padding)]  # fmt: skip
    size = [
        (n - 1) * step + k - 2 * p for n, k, step, p in zip(x.shape[-space:], *spread, strict=True)
    ]
    size = size if output_size is None else list(output_size)[-space:]
    lead = x.shape[: x.ndim - space]
    y = np.zeros((*lead, np.prod(size)))
    count = np.prod(x.shape[len(lead) :], dtype=int)
    np.put_along_axis(y, indices.reshape(*lead, count), x.reshape(*lead, count), -1)
    return y.reshape(*lead, *size)


def begins(u, n, size, k):
    if size == 1:
        return [n - k]
    a = (n - k) / (size - 1)
    return [int((i + u) * a) - int(u * a) for i in range(size - 1)] + [n - k]


def fractional(x, kernel_size, output_size=None, output_ratio=None, return_indices=False,
               _random_samples=None):  # fmt: skip
    assert _random_samples is not None
    space = _random_samples.shape[2]
    spread = pair if space == 2 else triple
    a = x if x.ndim == space + 2 else x[None]
    image, kernel = a.shape[2:], spread(kernel_size)
    size = spread(output_size) if output_size else [
        int(n * r) for n, r in zip(image, spread(output_ratio), strict=True)]  # fmt: skip
    y, index = np.empty((*a.shape[:2], *size)), np.empty((*a.shape[:2], *size), np.int64)
    flat_places = np.arange(np.prod(image)).reshape(image)
    for n, c in np.ndindex(*a.shape[:2]):
        u = _random_samples[n, c][::-1] if space == 2 else _random_samples[n, c]
        begin = [begins(u[i], image[i], size[i], kernel[i]) for i in range(space)]
        for at in np.ndindex(*size):
            box = tuple(slice(begin[i][at[i]], begin[i][at[i]] + kernel[i]) for i in range(space))
            window = a[n, c][box]
            y[(n, c, *at)] = window.max()
            index[(n, c, *at)] = flat_places[box].reshape(-1)[window.argmax()]
    y, index = (y, index) if x.ndim == space + 2 else (y[0], index[0])
    return (y, index) if return_indices else y


def ints(data):
    return value(data, "int")


SAMPLES = value([[[0.1, 0.9], [0.4, 0.0]], [[0.3, 0.6], [0.7, 0.2]]], grad=False)
BOXES = value([[[0.1, 0.9, 0.5], [0.4, 0.0, 0.7]]], grad=False)
F = "nn.functional."

ROWS = [
    row(
        F + "lp_pool1d",
        s(t(2, 3, 9, low=0.5, high=2.0), 2, 2),
        s(t(3, 8, low=0.5, high=2.0), 3.5, 3, 2, True),
        s(t(1, 2, 6, low=0.5, high=2.0), float("inf"), 2),
        ref=lp(flat(avg_pool2d), flat(max_pool2d), lambda k: k),
    ),
    row(
        F + "lp_pool2d",
        s(t(2, 2, 4, 6, low=0.5, high=2.0), 2, 2),
        s(t(2, 5, 4, low=0.5, high=2.0), 3, (2, 3), 1),
        s(t(1, 2, 4, 4, low=0.5, high=2.0), float("-inf"), 2),
        s(t(1, 1, 4, 4), 2, 2),
        ref=lp(avg_pool2d, max_pool2d, lambda k: np.prod(pair(k))),
    ),
    row(
        F + "lp_pool3d",
        s(t(1, 2, 2, 4, 4, low=0.5, high=2.0), 2, 2),
        s(t(2, 3, 3, 4, low=0.5, high=2.0), 1.5, (2, 1, 3), 1),
        ref=lp(avg_pool3d, max_pool3d, lambda k: np.prod(triple(k))),
    ),
    row(
        F + "max_unpool1d",
        s(t(1, 3), ints([[1, 2, 5]]), 2),
        s(t(2, 2), ints([[0, 3], [2, 1]]), 3, 2, 1, (4,)),
        ref=unpool,
    ),
    row(
        F + "max_unpool2d",
        s(t(2, 1, 2, 2), ints([[[[0, 3], [12, 15]]], [[[5, 6], [9, 10]]]]), 2),
        s(t(1, 1, 2, 2), ints([[[[0, 4], [14, 19]]]]), 2, output_size=(1, 1, 5, 4)),
        s(t(0, 2, 1, 1), value(np.zeros((0, 2, 1, 1)), "int"), 2),
        ref=unpool,
    ),
    row(
        F + "max_unpool3d",
        s(t(1, 1, 1, 2, 1), ints([[[[[7], [12]]]]]), 2),
        s(t(1, 1, 1, 1, 2), ints([[[[[3, 5]]]]]), (1, 2, 3), (1, 2, 2), (0, 0, 1)),
        ref=lambda x, *rest: unpool(x, *rest),
    ),
    row(
        F + "fractional_max_pool2d",
        s(t(2, 2, 6, 7, distinct=True), 2, (3, 4), _random_samples=SAMPLES),
        s(t(2, 7, 6, distinct=True), (3, 1), None, (0.5, 0.7), True, _random_samples=SAMPLES),
        s(t(1, 2, 4, 4, distinct=True), 2, 1, _random_samples=SAMPLES),
        ref=fractional,
        dtypes=("float32",),  # rounded samples are other windows
    ),
    row(
        F + "fractional_max_pool3d",
        s(t(1, 2, 4, 5, 3, distinct=True), (2, 2, 1), (2, 3, 2), return_indices=True,
          _random_samples=BOXES),
        s(t(2, 4, 4, 4, distinct=True), 2, None, 0.5, _random_samples=BOXES),
        ref=fractional,
        dtypes=("float32",),  # rounded samples are other windows
    ),
]  # fmt: skip
