"""Rows of the arrange family: reversed, shifted, repeated, padded, triangles and diagonals."""

import numpy as np
import scipy.linalg

from tests.table import b, i, row, s, t, value


def flip(x, *dims):
    return np.flip(x, dims[0] if isinstance(dims[0], tuple) else dims) if x.ndim else x


def roll(x, shifts, dims=None):
    return np.roll(x, shifts, dims)


def tile(x, *dims):
    return np.tile(x, dims[0] if dims and isinstance(dims[0], tuple) else dims)


def repeat_interleave(x, repeats=None, dim=None, output_size=None):
    if repeats is None:
        return np.repeat(np.arange(len(x)), x)
    return np.repeat(x, repeats, dim)


def pad(x, pads, value=0):
    index, widths = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for k in range(len(pads) // 2):
        low, high = pads[2 * k : 2 * k + 2]
        d = x.ndim - 1 - k
        index[d] = slice(max(-low, 0), x.shape[d] + min(high, 0))
        widths[d] = (max(low, 0), max(high, 0))
    return np.pad(x[tuple(index)], widths, constant_values=value)


def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1]
    y = np.zeros((*x.shape[:-1], n + abs(offset), n + abs(offset)))
    k = np.arange(n)
    y[..., k + max(-offset, 0), k + max(offset, 0)] = x
    return np.moveaxis(y, (-2, -1), (dim1, dim2))


def diag(x, k=0):
    return np.diag(x, k).copy()


def block_diag(*xs):
    return scipy.linalg.block_diag(*[np.atleast_2d(x) for x in xs])


def triangle(f):
    def ref(row, col, offset=0):
        return np.stack(f(row, offset, col))

    return ref


TRIANGLES = (
    s(t(5, 7)), s(t(5, 7), 2), s(t(7, 4), -2), s(t(2, 3, 4, 4), 1), s(t(0, 3)), s(t(3, 3), 9),
    s(t(3, 3), -9), s(b(4, 4)), s(i(4, 4)), s(t(70, 150), 30),
)  # fmt: skip

ROWS = [
    row("flip", s(t(3, 4), (0,)), s(t(3, 4), (0, -1)), s(t(), (0,)), s(t(0, 3), (1,)),
        s(b(5), (0,)), ref=flip),
    row("Tensor.flip", s(t(3, 4), 0, 1), s(t(3, 4), -1), ref=flip),
    row("fliplr", s(t(3, 4)), ref=np.fliplr),
    row("flipud", s(t(3, 4)), s(t(3)), ref=np.flipud),
    row("rot90", *[s(t(3, 4), k) for k in (0, 1, 2, 3, -1)], s(t(2, 3, 4), 1, (2, 0)),
        ref=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims)),
    row("roll", s(t(5, 4), 2), s(t(5, 4), -1, 0), s(t(5, 4), (7, -2), (0, 1)), s(t(5), (1, 1),
        (0, 0)),
        s(t(0, 3), 1, 0), s(t(), 1), s(t(5, 4), (0, 3), (0, 1)), ref=roll),
    row("Tensor.repeat", s(t(3, 4), 2, 1), s(t(3, 4), (2, 1, 3)), s(t(), 3), s(t(2, 0), 1, 2),
        s(t(3), 0), s(t(), ()), ref=tile),
    row("tile", s(t(3, 4), (2,)), s(t(3, 4), (2, 1, 3)), s(t(), (2,)), ref=tile),
    row("repeat_interleave", s(t(3, 4), 2), s(t(3, 4), 2, 1), s(t(3, 4), 0, 0), s(t(), 3),
        s(t(3, 4), value([1, 0, 3], "int"), 0), s(t(2, 3), i(3, low=0, high=4), -1),
        s(i(5, low=0, high=4)),
        s(t(2, 3), value([2], "int"), 0), s(t(3), value([1, 2, 0], "int"), 0, output_size=3),
        ref=repeat_interleave),
    row("constant_pad_nd", s(t(3, 4), (1, 2)), s(t(3, 4), (0, 1, 2, 0), 1.5), s(t(3, 4),
        (-1, 2, 1, -2)),
        s(t(0, 2), (1, 1, 0, 1)), s(t(3), (0, 0)), s(i(3), (1, 1), -2), ref=pad),
    row("tril", *TRIANGLES, ref=lambda x, k=0: np.tril(x, k), covers=("tril_",)),
    row("triu", *TRIANGLES, ref=lambda x, k=0: np.triu(x, k), covers=("triu_",)),
    row("tril_indices", s(3, 4), s(4, 3, -1), s(0, 2), s(3, 3, 5), ref=triangle(np.tril_indices),
        grad=False),
    row("triu_indices", s(3, 4), s(4, 3, 1), s(2, 0), ref=triangle(np.triu_indices), grad=False),
    row("diag_embed", s(t(3)), s(t(2, 3), 1), s(t(2, 3), -2), s(t(2, 3), 0, 0, 2), s(t(2, 0)),
        s(t(4), 0, 1, 0), ref=diag_embed),
    row("diag", s(t(3)), s(t(3), -1), s(t(3, 5)), s(t(3, 5), 2), s(t(3, 5), -9), ref=diag),
    row("diagflat", s(t(2, 2)), s(t(3), 1), s(t()), ref=np.diagflat),
    row("trace", s(t(3, 5)), s(t(0, 2)), s(i(3, 3)), ref=np.trace),
    row("block_diag", s(t(2, 3), t(1, 2)), s(t(3), t(), t(2, 2)), ref=block_diag),
]  # fmt: skip
