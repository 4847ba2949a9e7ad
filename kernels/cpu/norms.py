"""Norms and log sum exp: rows in cache, other axes by a work buffer and fast sums of it."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.reduction import accumulator, total, widened
from tgrad.kernels.cpu.rows import BUSY, DOT, as_wide, dots, each_piece, neighbours
from tgrad.kernels.cpu.softmax import NARROW, logsumexp
from tgrad.runtime import memory


@kernel("_vector_norm", "cpu")
def _vector_norm(y, x, ord, dim, keepdim):
    with np.errstate(all="ignore"):
        wide = accumulator(y.dtype)
        if x.dtype.kind == "c":
            x = np.abs(x)
        if math.isinf(ord):
            reducer = np.maximum if ord > 0 else np.minimum
            y[...] = reducer.reduce(np.abs(widened(x, wide)), axis=dim, keepdims=keepdim)
            return
        if ord == 0:
            y[...] = np.count_nonzero(x != 0, axis=dim, keepdims=keepdim)
            return
        rows = neighbours(x, dim) if ord == 2 else None
        if rows is not None and rows.ndim == 2:
            y[...] = np.sqrt(squares(rows, wide)).reshape(y.shape)
        else:
            y[...] = power_sum(widened(x, wide), ord, dim, wide).reshape(y.shape)


def squares(x: np.ndarray, wide: np.dtype) -> np.ndarray:
    """Each row's sum of squares; a single row is cut into many."""
    rows, n = x.shape
    head = n - n % DOT
    if rows == 1 and head > DOT:
        parts = squares(x[0, :head].reshape(-1, DOT), wide)
        return np.add.reduce(parts) + squares(x[:, head:], wide)
    s = np.empty((rows, 1), wide)

    def work(start: int, stop: int, worker: int) -> None:
        part = as_wide(x[start:stop], wide)
        s[start:stop] = dots(part, part)

    each_piece(work, rows, n)
    return s[:, 0]


def power_sum(x: np.ndarray, p: float, dim: tuple[int, ...], wide: np.dtype) -> np.ndarray:
    """sum(|x|^p)^(1/p)."""
    buffer = memory.empty(x.shape, wide)
    if p == 2:
        np.multiply(x, x, out=buffer)
        return np.sqrt(total(buffer, dim, wide))
    np.abs(x, out=buffer)
    if p == 1:
        return total(buffer, dim, wide)
    np.power(buffer, wide.type(p), out=buffer)
    return np.power(total(buffer, dim, wide), wide.type(1 / p))


@kernel("_logsumexp", "cpu")
def _logsumexp(y, x, dim, keepdim):
    wide = accumulator(x.dtype)
    rows = neighbours(x, dim)
    if rows is not None and (rows.ndim == 2 or rows.shape[2] >= NARROW):
        inner = rows.shape[2:]
        out = y.reshape(len(rows), 1, *inner)

        def work(start: int, stop: int, worker: int) -> None:
            part = as_wide(rows[start:stop], wide)
            out[start:stop] = logsumexp(part, memory.empty(part.shape, wide))

        each_piece(work, len(rows), rows.size // len(rows), BUSY, *inner)
        return
    with np.errstate(all="ignore"):
        x = widened(x, wide)
        shift = np.maximum.reduce(x, axis=dim, keepdims=True, initial=wide.type(-np.inf))
        shift = np.where(np.isinf(shift), wide.type(0), shift)
        buffer = memory.empty(x.shape, wide)
        np.subtract(x, shift, out=buffer)
        np.exp(buffer, out=buffer)
        y[...] = (np.log(total(buffer, dim, wide).reshape(shift.shape)) + shift).reshape(y.shape)
