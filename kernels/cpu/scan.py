"""Scans by NumPy's ``accumulate``, sums of rows by products with triangles of ones.

The linear recurrence goes by steps or by doubling.
"""

from __future__ import annotations

import functools

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.extrema import comparable
from tgrad.kernels.cpu.reduction import accumulator, widened
from tgrad.kernels.cpu.rows import BUSY, PIECE, as_wide, each_piece, planes
from tgrad.runtime import memory

WIDE = {np.dtype(np.float32): np.dtype(np.float64)}  # long sums lose digits in float32
BLOCK = 16  # elements summed by one product; a triangle of 32 costs as much, of 8 more
SLAB = 1024  # blocks a product: more, and BLAS would wake threads of its own


def ordered(a: np.ndarray, dim: int, reverse: bool) -> np.ndarray:
    """a with ``dim`` first, turned around if ``reverse``."""
    first = np.moveaxis(a, dim, 0)
    return first[::-1] if reverse else first


def accumulate(ufunc: np.ufunc, y, x, dim: int, reverse: bool) -> None:
    """y = the running ``ufunc`` of x, in a wider dtype."""
    with np.errstate(all="ignore"):
        if x.ndim == 0:
            y[...] = x
            return
        if y.dtype.kind in "biu" and x.dtype.kind not in "biu":
            x = x.astype(y.dtype)
        dtype = accumulator(y.dtype)
        dtype = WIDE.get(dtype, dtype)
        wide = y if y.dtype == dtype else memory.empty(y.shape, dtype)
        window = (slice(None),) * dim + (slice(None, None, -1 if reverse else 1),)
        ufunc.accumulate(widened(x, dtype)[window], axis=dim, out=wide[window])
        if wide is not y:
            np.copyto(y, wide, casting="unsafe")


@functools.cache
def triangle(reverse: bool) -> np.ndarray:
    """A row times it is the row's running sum."""
    ones = np.ones((BLOCK, BLOCK), np.float32)
    return np.tril(ones) if reverse else np.triu(ones)


def block_sums(y: np.ndarray, x: np.ndarray, reverse: bool) -> bool:
    """y = running sums of rows of float32 x; False where a number is not finite.

    Within blocks by a product with a triangle of ones; what came before each block, summed in
    float64, is then added. An element is off by 16 roundings of its block and two of the sum.
    0.6 ns an element for the products and as much for the rest, ``accumulate`` in float64 3.3.
    """
    rows, n = x.shape
    blocks = n // BLOCK
    head = blocks * BLOCK
    inputs, outs = (a[:, :head].reshape(rows, blocks, BLOCK) for a in (x, y))
    for start in range(0, blocks, SLAB):
        slab = slice(start, start + SLAB)
        np.matmul(inputs[:, slab], triangle(reverse), out=outs[:, slab])
    rest = x[:, head:].astype(np.float64)
    before = np.zeros((rows, blocks + 1))  # and, of the last block, after it
    if reverse:
        rest[:, ::-1].cumsum(1, out=rest[:, ::-1])
        before[:, blocks] = rest[:, 0] if rest.size else 0
        before[:, :blocks] = outs[:, :, 0]
        before[:, ::-1].cumsum(1, out=before[:, ::-1])
        before, all_ = before[:, 1:], before[:, 0]
    else:
        before[:, 1:] = outs[:, :, -1]
        before.cumsum(1, out=before)
        rest.cumsum(1, out=rest)
        rest += before[:, blocks:]
        before, all_ = before[:, :blocks], before[:, blocks]
    if not np.isfinite(all_).all() or not np.isfinite(rest).all():
        return False
    np.add(outs, before.astype(np.float32)[:, :, None], out=outs)
    y[:, head:] = rest
    return True


@kernel("_cumsum", "cpu")
def _cumsum(y, x, dim, reverse, dtype):
    long = x.ndim and x.shape[dim] >= 4 * BLOCK and x.dtype.kind not in "biu"
    if not long or accumulator(y.dtype) != np.float32 or not y.flags.c_contiguous:
        accumulate(np.add, y, x, dim, reverse)
        return
    ins, out = planes(x, dim, dim + 1), planes(y, dim, dim + 1)
    if out.ndim == 3:
        accumulate(np.add, y, x, dim, reverse)
        return

    def work(start: int, stop: int, worker: int) -> None:
        part = out[start:stop]
        result = part if part.dtype == np.float32 else memory.empty(part.shape, np.dtype("f4"))
        if not block_sums(result, as_wide(ins[start:stop], result.dtype), reverse):
            accumulate(np.add, part, ins[start:stop], 1, reverse)
        elif result is not part:
            np.copyto(part, result, casting="unsafe")

    each_piece(work, len(out), out.shape[1], BUSY, piece=PIECE)


@kernel("_cumprod", "cpu")
def _cumprod(y, x, dim, reverse):
    accumulate(np.multiply, y, x, dim, reverse)


@kernel("_logcumsumexp", "cpu")
def _logcumsumexp(y, x, dim):
    accumulate(np.logaddexp, y, x, dim, False)


@kernel("_shift", "cpu")
def _shift(y, x, dim, step, fill):
    if x.ndim == 0:
        y[...] = fill
        return
    to, source = np.moveaxis(y, dim, 0), np.moveaxis(x, dim, 0)
    if step == 1:
        to[1:], to[:1] = source[:-1], fill
    else:
        to[:-1], to[-1:] = source[1:], fill


@kernel("recurrence", "cpu")
def recurrence(h, a, b, dim, reverse, late):
    if h.ndim == 0:
        h[...] = b
        return
    with np.errstate(all="ignore"):
        wide = accumulator(h.dtype)
        a, b = (ordered(widened(x, wide), dim, reverse) for x in (a, b))
        y = memory.empty(b.shape, wide)
        n = len(b)
        y[:1] = b[:1]
        c = a[: n - 1] if late else a[1:]
        if n > 4096 and b[0].size < 32:
            doubling(y, c, b)
        else:
            for i in range(1, n):
                np.multiply(y[i - 1], c[i - 1], out=y[i, ...])
                y[i] += b[i]
        ordered(h, dim, reverse)[...] = y


def doubling(y: np.ndarray, c: np.ndarray, b: np.ndarray) -> None:
    """log2(n) passes over everything, for few long recurrences (Hillis and Steele 1986)."""
    y[...] = b
    p = np.zeros_like(y)
    p[1:] = c
    step = 1
    while step < len(y):
        y[step:] += p[step:] * y[:-step].copy()
        p[step:] *= p[:-step].copy()
        step *= 2


def running(values, indices, x, dim: int, ufunc: np.ufunc) -> None:
    """Extremum so far and the last position where an element equalled it."""
    if x.ndim == 0:
        values[...], indices[...] = x, 0
        return
    with np.errstate(all="ignore"):
        x = comparable(x)
        best = ufunc.accumulate(x, axis=dim)
        position = np.arange(x.shape[dim]).reshape([-1] + [1] * (x.ndim - dim - 1))
        at = np.where((x == best) | (x != x), position, 0)
        np.maximum.accumulate(at, axis=dim, out=indices)
        values[...] = best


@kernel("_cummax", "cpu")
def _cummax(values, indices, x, dim):
    running(values, indices, x, dim, np.maximum)


@kernel("_cummin", "cpu")
def _cummin(values, indices, x, dim):
    running(values, indices, x, dim, np.minimum)
