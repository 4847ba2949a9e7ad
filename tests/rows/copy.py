"""Rows of the copy family: copies, conversions, filling."""

import numpy as np

from tests.table import i, row, s, t


def same(x, *args, **options):
    return x


def copied(x, src, non_blocking=False):
    return np.broadcast_to(src, x.shape)


def to_size(x, *size):
    shape = size[0] if isinstance(size[0], tuple) else size
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + k for k, n in enumerate(shape) if n != x.shape[extra + k]
    )
    return x.sum(axes, keepdims=True).reshape(shape)


X = (s(t(3, 4)), s(t()), s(t(0, 3)))
WIDE = ("double", "half", "bfloat16", "bool", "int", "long", "short", "char", "byte",
        "cfloat", "cdouble")  # fmt: skip

ROWS = [
    row("clone", *X, ref=same, covers=("clone",)),
    row("Tensor.contiguous", *X, ref=same),
    row("Tensor.to", *X, ref=same, covers=("to_dtype", "cpu", "cuda", *WIDE)),
    row("Tensor.float", s(i(3, 4)), ref=same),
    row("Tensor.double", *X, ref=same, dtypes=()),
    row("Tensor.type_as", s(t(3, 4), t(2)), ref=same),
    row(
        "Tensor.sum_to_size",
        s(t(2, 3, 4), 3, 1), s(t(2, 3), 2, 3), s(t(2, 3), (1, 3)), s(t(3), ()),
        ref=lambda x, *size: to_size(x, *size) if size != ((),) else x.sum(),
    ),
    row("real", s(t(3, 4)), ref=same, # tests/test_complex.py has the complex ones
        covers=("imag", "view_as_real", "view_as_complex", "complex", "polar", "fill_diagonal_")),
    row("fill", s(t(3, 4), 2.5), s(t(), -1), s(t(0, 2), 1), ref=lambda x, v: np.full(x.shape, v)),
]  # fmt: skip
