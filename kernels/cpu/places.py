"""Where index arrays point: flat offsets into contiguous arrays, and sums over equal ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tgrad.runtime import memory, threads

PIECE = 1 << 15  # places computed at a time
PARALLEL = 1 << 19  # elements taken; below, waking a second thread costs more than it saves
SPARSE = 16384  # elements; below, np.add.at is as fast and SciPy need not be imported


def rows(indices: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """The row-major position in ``shape`` of each broadcast tuple of indices; negative ones too."""
    flat: np.ndarray | None = None
    for index, n in zip(indices, shape, strict=True):
        index = index.astype(np.intp, copy=False)
        if index.size and index.min() < 0:
            index = np.where(index < 0, index + n, index)
        flat = index if flat is None else flat * n + index
    assert flat is not None
    return flat


def along(index: np.ndarray, dim: int, shape: tuple[int, ...], first: int = 0) -> np.ndarray:
    """Offsets in a contiguous array of ``shape`` of the elements at ``index`` along ``dim``.

    The other coordinates are those of ``index`` itself, whose rows are counted from ``first``.
    """
    if not shape:
        return np.zeros(index.shape, np.intp)
    steps = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    places = memory.empty(index.shape, np.dtype(np.intp))
    source = index
    if steps[dim] != 1:
        source = np.multiply(index, steps[dim], out=places, casting="unsafe")
    for k, n in enumerate(index.shape):
        low = first if k == 0 else 0
        if k != dim and low + n > 1:
            axis = np.arange(low * steps[k], (low + n) * steps[k], steps[k])
            axis = axis.reshape((-1,) + (1,) * (index.ndim - 1 - k))
            source = np.add(source, axis, out=places, casting="unsafe")
    return places if source is places else index.astype(np.intp, copy=False)


def by_pieces(
    index: np.ndarray, dim: int, shape: tuple[int, ...], do: Callable[[Any, np.ndarray], object],
    alone: bool = True,
) -> None:  # fmt: skip
    """do(rows, places) for pieces of ``index`` along its first axis: places are :func:`along`'s.

    Pieces are done in their order, unless none of them bears on another's (not ``alone``): then
    on several threads. The places of 1024 x 1024 are 8 MB, those of a piece stay in the cache.
    """
    if index.size <= PIECE or len(index) == 1:
        do(..., along(index, dim, shape))
        return
    count = len(index)
    rows = max(PIECE * count // index.size, 1)

    def part(start: int, stop: int) -> None:
        for i in range(start, stop, rows):
            at = slice(i, min(i + rows, stop))
            do(at, along(index[at], dim, shape, i))

    if alone or index.size < PARALLEL:
        part(0, count)
    else:
        threads.split(part, count)


def is_half(dtype: np.dtype) -> bool:
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def add_at(y: np.ndarray, places: np.ndarray, g: np.ndarray) -> None:
    """y[places] += g for flat y, each place as often as it occurs."""
    if is_half(y.dtype):
        total = y.astype(np.float32)
        np.add.at(total, places.reshape(-1), g.reshape(-1).astype(np.float32))
        np.copyto(y, total, casting="unsafe")
    else:
        np.add.at(y, places.reshape(-1), g.reshape(-1))


def add_rows(y: np.ndarray, start: int, flat: np.ndarray, g: np.ndarray, count: int) -> None:
    """y[..., flat, ...] += g over the ``count`` axes from ``start`` on, for contiguous y.

    As a sparse matrix product: 4096 rows of 512 into 30000 take 2.0 ms, np.add.at 48 ms on rows
    and 15 ms on elements, sorting with np.add.reduceat 53 ms (AMD Zen 4, 2026-11).
    """
    if y.size == 0 or g.size == 0:
        return
    outer = math.prod(y.shape[:start])
    n = math.prod(y.shape[start : start + count])
    inner = math.prod(y.shape[start + count :])
    where = flat.reshape(-1)
    if outer > 1:
        where = (np.arange(0, outer * n, n)[:, None] + where).reshape(-1)
    if is_half(y.dtype):
        total, g = y.astype(np.float32), g.astype(np.float32)
    else:
        total = y
    table, values = total.reshape(outer * n, inner), g.reshape(len(where), inner)
    if inner == 1:
        np.add.at(table.reshape(-1), where, values.reshape(-1))
    elif values.size < SPARSE or total.dtype == np.bool_ or not sparse_sum(table, where, values):
        places = where[:, None] * inner + np.arange(inner)
        np.add.at(table.reshape(-1), places.reshape(-1), values.reshape(-1))
    if total is not y:
        np.copyto(y, total, casting="unsafe")


def sparse_sum(table: np.ndarray, where: np.ndarray, values: np.ndarray) -> bool:
    """table += A @ values, where column j of A has one 1, in row where[j]. False without SciPy."""
    try:
        from scipy.sparse import _sparsetools
    except ImportError:
        return False
    m, width = values.shape
    small = np.int32 if max(m, table.size) < 2**31 else np.int64
    _sparsetools.csc_matvecs(
        len(table), m, width, np.arange(m + 1, dtype=small), where.astype(small),
        np.ones(m, table.dtype), np.ascontiguousarray(values).reshape(-1), table.reshape(-1),
    )  # fmt: skip
    return True
