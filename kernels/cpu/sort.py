"""Sorting by integer keys: ordered bits above, position below, so that one fast sort is stable.

NumPy sorts int64 by SIMD, without order of equal ones and without positions: with both packed into
one number 1024 rows of 1024 take 4 ns an element, ``argsort(kind="stable")`` 41 (AVX-512, 2026-11).
"""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.extrema import comparable
from tgrad.kernels.cpu.rows import PIECE, each_piece
from tgrad.runtime import memory, threads

FAR = 1 << 17  # elements from which a single row is sorted on all cores
PARALLEL = 1 << 19  # elements in all from which a second thread pays
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


def least_key(x: np.ndarray, descending: bool, low: int) -> int | None:
    """What to take off keys so that they fit in 63 bits above ``low`` more; None: they never do."""
    if x.dtype.itemsize < 8:
        return 0 if low <= 31 else None
    if x.dtype.kind == "f":
        return None
    least, greatest = int(x.min()), int(x.max())
    if (greatest - least).bit_length() + low > 63:
        return None
    return ~greatest if descending else least


def pack(packed, x: np.ndarray, position: np.ndarray, low: int, least: int, descending: bool):
    """packed = (key of x - least) above ``low`` bits of position."""
    np.copyto(packed, order_key(x, descending))
    if least:
        packed -= least
    packed <<= low
    packed |= position


def unpack(values: np.ndarray, packed: np.ndarray, low: int, least: int, descending: bool) -> None:
    """The integers or float32 that :func:`pack` packed; every zero is +0."""
    key = np.right_shift(packed, low, out=memory.empty(packed.shape, packed.dtype))
    if least:
        key += least
    if values.dtype.kind in "biu":
        if descending:
            np.invert(key, out=key)
        np.copyto(values, key, casting="unsafe")
        return
    bits = values.view(np.int32)
    np.copyto(bits, key, casting="unsafe")
    if descending:
        np.invert(bits, out=bits)
    sign = np.right_shift(bits, 31, out=key[: values.size // 2 + 1].view(np.int32)[: values.size])
    sign &= np.iinfo(np.int32).max
    bits ^= sign


def stable_order(key: np.ndarray) -> np.ndarray:
    """The positions that sort wide keys: unstably, then again by (run of equals, position)."""
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
    source, position = x, np.arange(n)
    chosen = likely(comparable(x), k, descending) if FEW * k <= n else None
    if chosen is not None:
        source, position = x.reshape(-1).take(chosen + starts), chosen
    low = max(n - 1, 1).bit_length()
    least = least_key(source, descending, low)
    if least is None:
        order = stable_order(order_key(source, descending))[:, :k]
        at[...] = np.take_along_axis(np.broadcast_to(position, source.shape), order, -1)
    else:
        packed = memory.empty(source.shape, np.dtype(np.int64))
        pack(packed, source, position, low, least, descending)
        if 8 * k <= packed.shape[1]:
            packed.partition(k - 1, axis=-1)
            packed = packed[:, :k]
        packed.sort(axis=-1)
        np.bitwise_and(packed[:, :k], (1 << low) - 1, out=at)
    places = np.add(at, starts, out=memory.empty(at.shape, at.dtype))
    np.take(x.reshape(-1), places, out=values, mode="clip")


def one_row(values: np.ndarray, at: np.ndarray, x: np.ndarray, descending: bool) -> bool:
    """Sort a long vector on all cores; False where its numbers cannot be packed.

    Values are unpacked: looking up a million takes 6 ms, the sort itself 9.
    """
    n, low = x.size, max(x.size - 1, 1).bit_length()
    least = least_key(x, descending, low)
    if least is None or not (x.dtype.kind in "biu" or x.dtype == np.float32):
        return False
    packed = memory.empty(x.shape, np.dtype(np.int64))

    def fill(start: int, stop: int, worker: int) -> None:
        position = np.arange(start, stop)
        pack(packed[start:stop], x[start:stop], position, low, least, descending)

    def empty(start: int, stop: int, worker: int) -> None:
        part, y = at[start:stop], values[start:stop]
        unpack(y, packed[start:stop], low, least, descending)
        np.bitwise_and(packed[start:stop], (1 << low) - 1, out=part)
        zero = y == 0
        if x.dtype == np.float32 and zero.any():  # some may have been -0
            y[zero] = x[part[zero]]

    each_piece(fill, n, 1, PARALLEL, piece=PIECE)
    step = -(-n // threads.get_num_threads())
    if step < n:
        packed.partition(range(step, n, step))
    threads.split(lambda i, j: packed[i:j].sort(), n)
    each_piece(empty, n, 1, PARALLEL, piece=PIECE)
    return True


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

    whole = len(source) == 1 and k == n >= FAR
    if not (whole and one_row(v[0], at[0], np.ascontiguousarray(source[0]), descending)):
        # A whole sort keeps five arrays in cache; for few of many, elements are read but once.
        piece = 8 * PIECE if FEW * k <= n else PIECE // 2
        each_piece(work, len(source), n, PARALLEL, piece=piece)
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
