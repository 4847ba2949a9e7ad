"""Sums, products and truth values; :func:`total` is the fast accurate sum that others use too."""

from __future__ import annotations

import functools
import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.runtime import memory
from tgrad.runtime.array import is_contiguous
from tgrad.runtime.quiet import quiet

SMALL = 4096  # elements; below, one NumPy reduction costs less than choosing
BLOCK = 1024  # elements added in a row before partial sums are taken: bounds the rounding error


def accumulator(dtype: np.dtype) -> np.dtype:
    """The dtype that sums of ``dtype`` are computed in."""
    if dtype.kind in "biu":
        return np.dtype(np.int64)
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)


def widened(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x itself, or a copy in the wider ``dtype``."""
    if x.dtype == dtype:
        return x
    wide = memory.empty(x.shape, dtype)
    np.copyto(wide, x, casting="unsafe")
    return wide


@functools.cache
def ones(n: int, dtype: np.dtype) -> np.ndarray:
    a = np.ones(n, dtype)
    a.flags.writeable = False
    return a


def total(x: np.ndarray, dim: tuple[int, ...], wide: np.dtype) -> np.ndarray:
    """Sum over ``dim`` in dtype ``wide``, the reduced axes gone.

    Large float sums go through matrix-vector products with ones, which run at memory speed on
    all cores: 4096 x 1024 rows 0.12 ms against 0.73 ms of ``x.sum(1)`` (AMD Zen 4, 2026-11).
    """
    if x.size <= SMALL or wide.char not in "fd":
        return np.add.reduce(x, axis=dim, dtype=wide)
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    inner = x.transpose(order)
    if not is_contiguous(inner):
        return np.add.reduce(x, axis=dim, dtype=wide)
    groups: list[tuple[bool, int]] = []  # (reduced, elements), outermost first
    for i in order:
        flag = i in dim
        if groups and groups[-1][0] == flag:
            groups[-1] = (flag, groups[-1][1] * x.shape[i])
        else:
            groups.append((flag, x.shape[i]))
    flat: np.ndarray = widened(inner, wide).reshape([n for _, n in groups])
    while any(flag for flag, _ in groups):
        if groups[-1][0]:
            *outer, n = flat.shape
            flat = row_sums(flat.reshape(-1, n)).reshape(outer)
            groups.pop()
        else:
            *outer, n, k = flat.shape
            flat = column_sums(flat.reshape(-1, n, k)).reshape(*outer, k)
            groups.pop(-2)
            flat, groups = joined(flat, groups)
    kept = [i for i in order if i not in dim]
    y = flat.reshape([x.shape[i] for i in kept])
    return y.transpose(sorted(range(len(kept)), key=kept.__getitem__))


def joined(flat: np.ndarray, groups: list) -> tuple[np.ndarray, list]:
    """The last two axes as one where both are kept."""
    if len(groups) >= 2 and groups[-2][0] == groups[-1][0]:
        n = groups[-2][1] * groups[-1][1]
        return flat.reshape(*flat.shape[:-2], n), [*groups[:-2], (groups[-1][0], n)]
    return flat, groups


def row_sums(x: np.ndarray) -> np.ndarray:
    """(m, n) contiguous to (m,)."""
    m, n = x.shape
    if n <= BLOCK:
        return x @ ones(n, x.dtype)
    blocks = n // BLOCK
    head = x[:, : blocks * BLOCK].reshape(m, blocks, BLOCK) @ ones(BLOCK, x.dtype)
    y = np.add.reduce(head, axis=1)
    if n % BLOCK:
        y += np.add.reduce(x[:, blocks * BLOCK :], axis=1)
    return y


def column_sums(x: np.ndarray) -> np.ndarray:
    """(m, n, k) contiguous to (m, k)."""
    m, n, k = x.shape
    if n <= BLOCK:
        if m * n * k <= SMALL or n * k < 64:
            return np.add.reduce(x, axis=1)
        return np.matmul(ones(n, x.dtype), x)
    blocks = n // BLOCK
    head = np.matmul(ones(BLOCK, x.dtype), x[:, : blocks * BLOCK].reshape(m, blocks, BLOCK, k))
    y = column_sums(np.ascontiguousarray(head))
    if n % BLOCK:
        y += np.add.reduce(x[:, blocks * BLOCK :], axis=1)
    return y


@kernel("_sum", "cpu")
def _sum(y, x, dim, keepdim, dtype):
    if x.size <= SMALL and y.dtype is x.dtype and y.dtype.char in "fd":
        quiet.run(np.add.reduce, x, dim, None, y, keepdim)
        return
    with np.errstate(all="ignore"):
        if y.dtype.kind in "biu" and x.dtype.kind not in "biu":
            x = x.astype(y.dtype)  # converted before it is added, as in PyTorch
        y[...] = total(x, dim, accumulator(y.dtype)).reshape(y.shape)


@kernel("_mean", "cpu")
def _mean(y, x, dim, keepdim, dtype):
    with np.errstate(all="ignore"):
        wide = accumulator(y.dtype)
        n = math.prod(x.shape[i] for i in dim)
        y[...] = (total(x, dim, wide) / wide.type(n)).reshape(y.shape)


@kernel("_nansum", "cpu")
def _nansum(y, x, dim, keepdim, dtype):
    with np.errstate(all="ignore"):
        if x.dtype.kind not in "biu":
            number = memory.empty(x.shape, accumulator(x.dtype))
            number.fill(0)
            np.copyto(number, x, where=x == x)
            x = number
        _sum(y, x, dim, keepdim, dtype)


@kernel("_count_nonzero", "cpu")
def _count_nonzero(y, x, dim):
    y[...] = np.count_nonzero(truth(x), axis=dim)


@kernel("_prod", "cpu")
def _prod(y, x, dim, keepdim, dtype):
    with np.errstate(all="ignore"):
        if y.dtype.kind in "biu" and x.dtype.kind not in "biu":
            x = x.astype(y.dtype)
        product = np.multiply.reduce(x, axis=dim, dtype=accumulator(y.dtype), keepdims=keepdim)
        np.copyto(y, product, casting="unsafe")


def truth(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == np.bool_ else x != 0


@kernel("_any", "cpu")
def _any(y, x, dim, keepdim):
    y[...] = np.logical_or.reduce(truth(x), axis=dim, keepdims=keepdim)


@kernel("_all", "cpu")
def _all(y, x, dim, keepdim):
    y[...] = np.logical_and.reduce(truth(x), axis=dim, keepdims=keepdim)
