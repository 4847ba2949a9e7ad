"""Rows of views as copies, of parts and of what is put into strides."""

import numpy as np

from tests.table import i, row, s, t, value


def narrow(x, dim, start, length):
    return np.take(x, range(start, start + length), dim)


def sliced(x, dim=0, start=None, end=None, step=1):
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def sections(x, sizes, dim=0):
    return tuple(np.split(x, np.cumsum(sizes)[:-1], dim))


def split(x, size, dim=0):
    return tuple(np.split(x, range(size, x.shape[dim], size), dim))


def chunk(x, chunks, dim=0):
    return split(x, -(-x.shape[dim] // chunks), dim)


def static(x, size, fill_value=-1):
    found = np.argwhere(x)[:size]
    fill = np.full((size - len(found), x.ndim), fill_value)
    return np.concatenate([found, fill])


ROWS = [
    row("diagonal_copy", s(t(3, 4), 1), s(t(2, 3, 3), 0, -2, -1),
        ref=lambda x, o=0, a=0, b=1: np.diagonal(x, o, a, b)),
    row("expand_copy", s(t(3, 1), (3, 4)), s(t(2), (3, 2)), ref=np.broadcast_to),
    row("narrow_copy", s(t(3, 4), 1, 1, 2), s(t(5), 0, 2, 0), ref=narrow),
    row("permute_copy", s(t(2, 3, 4), (2, 0, 1)), ref=np.transpose),
    row("select_copy", s(t(2, 3), 1, 2), s(t(4), 0, -1), ref=lambda x, d, k: np.take(x, k, d)),
    row("slice_copy", s(t(5, 4)), s(t(5, 4), 1, 1, 3), s(t(6), 0, None, -1, 2), ref=sliced),
    row("squeeze_copy", s(t(2, 1, 3)), s(t(1, 3), 0), ref=np.squeeze),
    row("t_copy", s(t(2, 3)), ref=np.transpose),
    row("transpose_copy", s(t(2, 3, 4), 0, 2), ref=np.swapaxes),
    row("unfold_copy", s(t(7), 0, 3, 2),
        ref=lambda x, d, n, step: np.lib.stride_tricks.sliding_window_view(x, n)[::step]),
    row("unsqueeze_copy", s(t(2, 3), 1), ref=np.expand_dims),
    row("view_copy", s(t(2, 6), (3, 4)), s(t(6), (-1, 3)), ref=lambda x, *n: x.reshape(*n),
        # of complex numbers and of memory: tests/test_copies.py
        covers=["view_as_complex_copy", "view_as_real_copy", "as_strided_copy",
                "as_strided_scatter"]),
    row("alias_copy", s(t(2, 3)), ref=np.copy),
    row("detach_copy", s(t(2, 3)), ref=np.copy, grad=False),
    row("unbind_copy", s(t(2, 3), 1), ref=lambda x, d=0: tuple(np.moveaxis(x, d, 0))),
    row("split_copy", s(t(5, 2), 2), ref=split),
    row("split_with_sizes_copy", s(t(2, 5), [1, 4], 1), ref=sections),
    row("unsafe_split", s(t(5, 2), 2), ref=split),
    row("unsafe_split_with_sizes", s(t(2, 5), [1, 4], 1), ref=sections),
    row("unsafe_chunk", s(t(5, 2), 3), ref=chunk),
    row("nonzero_static", s(value([[1.0, 0, 2], [0, 0, 3]]), size=5), s(i(4, 5, high=2), size=3),
        s(t(0, 2), size=2, fill_value=7), ref=static, grad=False),
]  # fmt: skip
