"""Sorting by integer keys: ordered bits above, position below, so that one fast sort is stable.

NumPy sorts int64 by SIMD, without order of equal ones and without positions: with both packed into
one number 1024 rows of 1024 take 4 ns an element, ``argsort(kind="stable")`` 41 (AVX-512, 2026-11).
"""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.extrema import comparable
from tgrad.kernels.cpu.rows import BUSY, each_piece
from tgrad.runtime import memory, threads

FAR = 1 << 17  # elements; in longer rows values are unpacked rather than looked up
FEW = 64  # the least elements of a row for each wanted one, for all others to be left out early


def order_key(x: np.ndarray, descending: bool) -> np.ndarray:
    """int64, or int32 for narrow types, that sort as x does; NaN is the greatest, -0 = 0."""
    if x.dtype.kind not in "biu":
        x = comparable(x)
        signed = np.int64 if x.dtype.itemsize == 8 else np.int32
        key = np.add(x, 0, out=memory.empty(x.shape, x.dtype)).view(signed)  # -0 + 0 = 0
        bits = np.right_shift(key, 8 * key.itemsize - 1, out=memory.empty(key.shape, key.dtype))
        bits &= np.iinfo(signed).max
        key ^= bits
        nan = x != x
        if nan.any():
            key[nan] = np.iinfo(signed).max
    else:
        key = x.astype(np.int64 if x.dtype.itemsize == 8 else np.int32)
    if descending:
        np.invert(key, out=key)
    return key


def pack(key: np.ndarray, position: np.ndarray, low: int) -> tuple[np.ndarray, int] | None:
    """(key - least above ``low`` bits of position, least); None where 63 bits do not hold both.

    The least is 0 but for int64, whose span is looked at.
    """
    least = 0
    if key.dtype == np.int64:
        least = int(key.min())
        if (int(key.max()) - least).bit_length() + low > 63:
            return None
    elif low > 31:
        return None
    packed = np.subtract(key, least, out=memory.empty(key.shape, np.dtype(np.int64)))
    packed <<= low
    packed |= position
    return packed, least


def unpack(values: np.ndarray, packed: np.ndarray, low: int, least: int, descending: bool) -> None:
    """The elements that :func:`pack` and :func:`order_key` made ``packed`` of; zeros are +0."""
    key = np.right_shift(packed, low, out=memory.empty(packed.shape, packed.dtype))
    key += least
    if descending:
        np.invert(key, out=key)
    if values.dtype.kind not in "biu":
        key = key.astype(np.int32)
        key ^= (key >> 31) & np.iinfo(np.int32).max
        key = key.view(np.float32)
    np.copyto(values, key, casting="unsafe")


def stable_order(key: np.ndarray) -> np.ndarray:
    """The positions that sort wide keys: an unstable sort, then one by (run of equals, position)."""
    at = np.argsort(key, axis=-1)
    ordered = np.take_along_axis(key, at, -1)
    new = ordered[..., 1:] != ordered[..., :-1]
    if not new.all():
        low = max(key.shape[-1] - 1, 1).bit_length()
        run = np.add.accumulate(new, axis=-1, dtype=np.int64)
        run <<= low
        at[..., 1:] |= run
        at.sort(axis=-1)
        at &= (1 << low) - 1
    return at


def sort_packed(packed: np.ndarray) -> None:
    """Sort rows in place; a single long one in a share for each thread, parted before."""
    rows, n = packed.shape
    shares = threads.get_num_threads()
    if rows > 1 or n < BUSY or shares == 1:
        packed.sort(axis=-1)
        return
    step = -(-n // shares)
    packed.partition(range(step, n, step), axis=-1)
    threads.split(lambda i, j: packed[0, i:j].sort(), n)


def likely(x: np.ndarray, k: int, descending: bool) -> np.ndarray | None:
    """Positions (rows, c) of all that can be among the first k, or None where ties forbid that.

    Element i is of group i % groups. All of the first k lie in the k groups of the best bests: any
    other has k elements before it. Equal bests in more groups than k decide nothing.
    """
    rows, n = x.shape
    groups = math.isqrt(k * n)
    steps = n // groups
    grid = x[:, : steps * groups].reshape(rows, steps, groups)
    floating = x.dtype.kind == "f"
    first = np.maximum if descending else np.fmin if floating else np.minimum  # NaN is the greatest
    best = order_key(first.reduce(grid, axis=1), descending)
    worst = np.partition(best, k - 1, axis=-1)[:, k - 1 : k]
    chosen = np.nonzero(best <= worst)[1]
    if chosen.size != rows * k:
        return None
    inner = chosen.reshape(rows, 1, k) + np.arange(0, steps * groups, groups)[:, None]
    rest = np.broadcast_to(np.arange(steps * groups, n), (rows, n - steps * groups))
    return np.concatenate([inner.reshape(rows, steps * k), rest], axis=1)


def first_in_order(values: np.ndarray, at: np.ndarray, x: np.ndarray, descending: bool) -> None:
    """The first k = at.shape[1] of each row of contiguous x in order, and their positions."""
    rows, n = x.shape
    k = at.shape[1]
    starts = np.arange(0, rows * n, n)[:, None]
    position: np.ndarray | None = None
    if FEW * k <= n:
        position = likely(comparable(x), k, descending)
    if position is None:
        source, position = x, np.arange(n)
    else:
        source = x.reshape(-1).take(position + starts)
    low = max(n - 1, 1).bit_length()
    key = order_key(source, descending)
    found = pack(key, position, low)
    if found is None:
        order = stable_order(key)[:, :k]
        at[...] = np.take_along_axis(np.broadcast_to(position, key.shape), order, -1)
    else:
        packed, least = found
        if 8 * k <= packed.shape[1]:
            packed.partition(k - 1, axis=-1)
            packed = packed[:, :k]
        sort_packed(packed)
        packed = packed[:, :k]
        np.bitwise_and(packed, (1 << low) - 1, out=at)
        if n >= FAR and (x.dtype.kind in "biu" or x.dtype == np.float32):
            unpack(values, packed, low, least, descending)
            zero = values == 0
            if x.dtype == np.float32 and zero.any():  # some may be -0
                values[zero] = x.reshape(-1)[(at + starts)[zero]]
            return
    places = np.add(at, starts, out=memory.empty(at.shape, at.dtype))
    np.take(x.reshape(-1), places, out=values, mode="clip")


@kernel("_sort", "cpu")
def _sort(values, indices, x, dim, descending, k):
    if x.ndim == 0:
        values[...], indices[...] = x, 0
        return
    if not values.size:
        return
    last = [np.moveaxis(a, dim, -1) for a in (values, indices, x)]
    n = x.shape[dim]
    source = last[2].reshape(-1, n)
    straight = all(a.flags.c_contiguous for a in last[:2])
    outs = [a if straight else memory.empty(a.shape, a.dtype) for a in last[:2]]
    v, at = (a.reshape(-1, k) for a in outs)

    def work(start: int, stop: int, worker: int) -> None:
        part = np.ascontiguousarray(source[start:stop])
        first_in_order(v[start:stop], at[start:stop], part, descending)

    if len(source) == 1:  # which may use all threads itself
        with np.errstate(all="ignore"):
            work(0, 1, 0)
    else:
        each_piece(work, len(source), n, BUSY)
    if not straight:
        for a, made in zip(last[:2], outs, strict=True):
            a[...] = made


@kernel("_run_lengths", "cpu")
def _run_lengths(y, x, dim):
    position = np.arange(x.shape[dim]).reshape([-1] + [1] * (x.ndim - dim - 1))
    new = np.zeros(x.shape, np.bool_)
    window = (slice(None),) * dim
    new[(*window, slice(1, None))] = x[(*window, slice(1, None))] != x[(*window, slice(0, -1))]
    start = np.maximum.accumulate(np.where(new, position, 0), axis=dim)
    y[...] = position - start + 1
