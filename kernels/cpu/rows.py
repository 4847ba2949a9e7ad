"""Rows of a matrix in pieces that stay in cache, in several threads where that pays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from tgrad.runtime import memory, threads

PIECE, WIDE_PIECE = 1 << 16, 1 << 18  # elements: one thread, several threads
# Elements in all, below which another thread costs more than it saves: between the passes over a
# piece two threads wait for the interpreter lock, 65 us where that wakes one (2 shared x86-64
# cores: layer norm of 1024 x 768 takes one thread 1.4 ms, two 1.9; softmax of 4096 x 1024 7.7, 5).
PARALLEL = 1 << 23
BUSY = 1 << 22  # the same for work of five passes or more over each element
BUFFER = 256  # elements of NumPy's buffer in ufuncs over rows at least that long
DOT = 4096  # elements added up in one go: bounds rounding, and BLAS keeps such to one thread


def each_piece(
    work: Callable[[int, int, int], None],
    rows: int,
    length: int,
    parallel: int = PARALLEL,
    inner: int | None = None,
    piece: int | None = None,
) -> None:
    """Call ``work(start, stop, thread)`` for pieces of ``rows`` rows of ``length`` elements.

    Each thread walks a fixed share of the rows in order, so that what it sums is the same every
    time; ``thread`` counts from 0 and is below ``threads.get_num_threads()``. From ``parallel``
    elements on there is more than one. ``inner`` neighbours share what is broadcast, by default
    whole rows. ``piece`` is for work that keeps more in cache than three arrays of its size.
    """
    large = rows * length >= parallel
    step = max(1, (piece or (WIDE_PIECE if large else PIECE)) // max(length, 1))
    share = -(-rows // threads.get_num_threads()) if large else max(rows, 1)
    unbuffered = (inner or length) >= BUFFER and rows * length >= PIECE // 8

    def walk(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            if unbuffered:
                # NumPy spreads one number a row over its buffer where that is longer than a row:
                # 64 x 1024 times 64 x 1 took 24 us with the default of 8192 elements, 9 with 256.
                np.setbufsize(BUFFER)  # the end of errstate undoes it
            for start in range(first, last, step):
                work(start, min(start + step, last), first // share)

    if large:
        threads.split(walk, rows)
    else:
        walk(0, rows)


def planes(x: np.ndarray, first: int, end: int) -> np.ndarray:
    """x as (outer, n), or (outer, n, inner), n being all of the axes ``first`` to ``end``."""
    spans = (0, first), (first, end), (end, x.ndim)
    outer, n, inner = (math.prod(x.shape[i:j]) for i, j in spans)
    return x.reshape(outer, n) if inner == 1 else x.reshape(outer, n, inner)


def neighbours(x: np.ndarray, dim: Sequence[int]) -> np.ndarray | None:
    """:func:`planes` over ``dim`` where those lie together in memory and there is an element."""
    low, high = min(dim, default=0), max(dim, default=0) + 1
    whole = x.size and x.flags.c_contiguous and high - low == len(dim)
    return planes(x, low, high) if whole else None


def wide_dtype(*arrays: np.ndarray | None) -> np.dtype:
    """What is computed in: float64 if an array has it, else float32."""
    double = any(a is not None and a.dtype == np.float64 for a in arrays)
    return np.dtype(np.float64 if double else np.float32)


def as_wide(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x itself, or a copy in ``dtype``."""
    if x.dtype == dtype:
        return x
    wide = memory.empty(x.shape, dtype)
    np.copyto(wide, x, casting="unsafe")
    return wide


@functools.lru_cache(64)
def ones(n: int, dtype: np.dtype) -> np.ndarray:
    a = np.ones(n, dtype)
    a.flags.writeable = False
    return a


def sums(x: np.ndarray) -> np.ndarray:
    """Sum over axis 1, kept as size 1.

    Rows go through BLAS dot products, which stay on this thread: 4096 x 1024 0.5 ms against 1.0 of
    ``np.add.reduce`` (2 cores of a shared x86-64 machine, 2026-11).
    """
    if x.ndim == 2 and x.strides[1] == x.itemsize:
        return dots(x, ones(x.shape[1], x.dtype))
    return np.add.reduce(x, axis=1, keepdims=True)


def dots(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Sum of x * z over axis 1, kept as size 1; z is as x, or one row where x is 2-D."""
    if x.ndim != 2:
        return np.add.reduce(x * z, axis=1, keepdims=True)
    n = x.shape[1]
    if n <= DOT:
        return np.vecdot(x, z)[:, None]
    head = n - n % DOT
    parts = np.vecdot(*[a[..., :head].reshape(*a.shape[:-1], -1, DOT) for a in (x, z)])
    s = np.add.reduce(parts, axis=1)
    if head < n:
        s += np.vecdot(x[:, head:], z[..., head:])
    return s[:, None]
