"""Rows of windows as columns."""

import numpy as np

from tests.rows.conv import pair
from tests.table import b, own, row, s, t


def places(image, kernel_size, dilation, padding, stride):
    """(P, Q) and, for tap (r, s), the rows and columns of the padded image that it reads."""
    (r, c), (dh, dw), (ph, pw), (sh, sw) = map(pair, (kernel_size, dilation, padding, stride))
    p = (image[0] + 2 * ph - dh * (r - 1) - 1) // sh + 1
    q = (image[1] + 2 * pw - dw * (c - 1) - 1) // sw + 1

    def tap(i, j):
        return np.ix_(np.arange(p) * sh + i * dh, np.arange(q) * sw + j * dw)

    return p, q, tap


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    ph, pw = pair(padding)
    wide = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(ph, ph), (pw, pw)])
    _, _, tap = places(x.shape[-2:], kernel_size, dilation, padding, stride)
    taps = [wide[(..., *tap(i, j))] for i, j in np.ndindex(*pair(kernel_size))]
    y = np.stack(taps, -3)  # (N, C, R S, P, Q)
    rows = x.shape[-3] * y.shape[-3]
    return y.reshape(*x.shape[:-3], rows, y.shape[-2] * y.shape[-1])


def fold(y, output_size, kernel_size, dilation=1, padding=0, stride=1):
    (h, w), (ph, pw), kernel = pair(output_size), pair(padding), pair(kernel_size)
    p, q, tap = places((h, w), kernel_size, dilation, padding, stride)
    taps = kernel[0] * kernel[1]
    columns = y.reshape(*y.shape[:-2], y.shape[-2] // taps, taps, p, q)
    x = np.zeros((*columns.shape[:-3], h + 2 * ph, w + 2 * pw))
    for k, (i, j) in enumerate(np.ndindex(*kernel)):
        x[(..., *tap(i, j))] += columns[..., k, :, :]
    return x[..., ph : ph + h, pw : pw + w]


F = "nn.functional."

ROWS = [
    row(
        F + "unfold",
        s(t(2, 3, 6, 5), 2),
        s(t(2, 7, 8), (3, 2), (1, 2), (1, 0), (2, 3)),
        s(t(1, 2, 5, 5), 3, padding=2, dilation=2),
        s(t(0, 2, 4, 4), 2),
        s(b(1, 2, 3, 4), 2),
        ref=unfold,
        covers=("im2col",),
    ),
    row(
        F + "fold",
        s(t(2, 12, 20), (6, 5), 2),
        s(t(12, 8), (7, 8), (3, 2), (1, 2), (1, 0), (2, 3)),
        s(t(1, 18, 25), 5, 3, padding=2, dilation=2),
        s(t(2, 8, 4), (5, 5), 2, stride=2),  # pixels that no window holds
        own("torch cannot make an empty gradient's shape", s(t(0, 8, 9), 4, 2)),
        ref=fold,
    ),
]  # fmt: skip
