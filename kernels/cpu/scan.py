"""Scans by NumPy's ``accumulate``; the linear recurrence by steps or by doubling."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.extrema import comparable
from tgrad.kernels.cpu.reduction import accumulator, widened
from tgrad.runtime import memory

WIDE = {np.dtype(np.float32): np.dtype(np.float64)}  # long sums lose digits in float32


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


@kernel("_cumsum", "cpu")
def _cumsum(y, x, dim, reverse, dtype):
    accumulate(np.add, y, x, dim, reverse)


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
