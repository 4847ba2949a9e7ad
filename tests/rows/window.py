"""Rows of the window family: parts of a tensor, and several parts at once."""

import numpy as np

from tests.table import i, row, s, t, value


def narrow(x, dim, start, length):
    start = int(start) % (x.shape[dim] + (start >= 0))
    return np.take(x, range(start, start + length), dim)


def split(x, size, dim=0):
    if isinstance(size, int):
        cuts = range(size, x.shape[dim], size)
        return np.split(x, list(cuts), dim)
    return np.split(x, np.cumsum(size)[:-1], dim)


def chunk(x, chunks, dim=0):
    return split(x, -(-x.shape[dim] // chunks), dim)


def unbind(x, dim=0):
    return [np.take(x, k, dim) for k in range(x.shape[dim])]


def unfold(x, dim, size, step):
    if not x.ndim:
        return np.full((size,), x)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    return windows[(slice(None),) * (dim % x.ndim) + (slice(None, None, step),)]


ROWS = [
    row("select", s(t(3, 4), 0, 1), s(t(3, 4), 1, -2), s(t(5), 0, 0), s(t(2, 3, 4), -2, 2),
        ref=lambda x, dim, k: np.take(x, k, dim)),
    row("narrow", s(t(5, 4), 0, 1, 3), s(t(5, 4), 1, -3, 2), s(t(5, 4), 0, 5, 0), s(t(5), 0, 0, 5),
        s(t(5, 4), 0, value(2, "int"), 2), ref=narrow),
    row("unbind", s(t(3, 4)), s(t(3, 4), 1), s(t(2, 0, 3), 0), s(t(2, 3, 4), -1), ref=unbind),
    row("split", s(t(7, 3), 3), s(t(7, 3), [2, 4, 1]), s(t(3, 6), 2, 1), s(t(3, 6), [1, 0, 5], -1),
        s(t(4, 2), 9), ref=split),
    row("split_with_sizes", s(t(7, 3), [2, 5]), s(t(2, 4), (3, 1), 1), ref=split),
    row("chunk", s(t(7, 3), 3), s(t(7, 3), 2, 1), s(t(2, 3), 5), ref=chunk),
    row("tensor_split", s(t(7, 3), 3), s(t(7, 3), (2, 5)), s(t(7, 6), (1, -1), 1), s(t(5), (3, 2)),
        s(t(7, 2), i(2, low=1, high=6)),
        ref=lambda x, n, dim=0: np.array_split(x, n if isinstance(n, int) else list(n), dim)),
    row("hsplit", s(t(4, 6), 3), s(t(6), (2,)), ref=np.hsplit),
    row("vsplit", s(t(4, 6), 2), s(t(4, 6), (1, 3)), ref=np.vsplit),
    row("dsplit", s(t(2, 3, 4), 2), ref=np.dsplit),
    row("diagonal", s(t(4, 6)), s(t(4, 6), 2), s(t(4, 6), -1), s(t(3, 4, 5), 1, 2, 0), s(t(3, 4),
        9),
        s(t(2, 5, 5), 0, -2, -1), ref=np.diagonal),
    row("Tensor.unfold", s(t(7), 0, 3, 1), s(t(7), 0, 3, 2), s(t(3, 8, 2), 1, 2, 3), s(t(),
        0, 1, 1),
        s(t(4, 6), -1, 6, 1), s(t(9, 5), 0, 4, 2), s(t(5), 0, 0, 2), ref=unfold,
        covers=("as_strided", "storage_offset")),  # these speak of memory: tests/test_views.py
]  # fmt: skip
