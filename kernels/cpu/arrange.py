"""Elements in another place: reversed, shifted, repeated, padded, on triangles."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.parts import REVERSED, rolled


@kernel("_flip", "cpu")
def _flip(y, x, dims):
    np.copyto(y, x[tuple(REVERSED if k in dims else slice(None) for k in range(x.ndim))])


@kernel("_roll", "cpu")
def _roll(y, x, shifts, dims):
    for to, where in rolled(x.shape, shifts, dims):
        y[to] = x[where]


@kernel("_pad", "cpu")
def _pad(y, x, low, high, value):
    if y.size != x.size:
        y.fill(value)
    y[tuple(slice(a, a + n) for a, n in zip(low, x.shape, strict=True))] = x


@kernel("_triangle", "cpu")
def _triangle(y, x, diagonal, upper):
    rows, columns = x.shape[-2:]
    outside = np.tri(rows, columns, diagonal - upper, dtype=np.bool_)
    if not upper:
        np.logical_not(outside, out=outside)
    if y is not x:
        np.copyto(y, x)
    np.copyto(y, np.zeros((), y.dtype), where=outside)


@kernel("_running_sum", "cpu")
def _running_sum(y, x):
    y[0] = 0
    np.cumsum(x, out=y[1:])


@kernel("_repeat_index", "cpu")
def _repeat_index(y, repeats, ends, size):
    y[...] = np.repeat(np.arange(len(repeats)), repeats)
