"""Largest and smallest elements and their positions. NumPy orders NaN as PyTorch does."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.reduction import widened
from tgrad.kernels.cpu.rows import each_piece, neighbours

ROWS = 256  # elements beside the reduced axis from which a pass per step beats np.argmax's copy


def comparable(x: np.ndarray) -> np.ndarray:
    """x in a dtype that NumPy compares with SIMD; exact."""
    half = x.dtype.kind not in "biu" and x.dtype.itemsize < 4
    return widened(x, np.dtype(np.float32)) if half else x


@kernel("_amax", "cpu")
def _amax(y, x, dim, keepdim):
    with np.errstate(all="ignore"):
        y[...] = np.maximum.reduce(comparable(x), axis=dim, keepdims=keepdim)


@kernel("_amin", "cpu")
def _amin(y, x, dim, keepdim):
    with np.errstate(all="ignore"):
        y[...] = np.minimum.reduce(comparable(x), axis=dim, keepdims=keepdim)


def select(values: np.ndarray | None, indices: np.ndarray, x: np.ndarray, dim: int, largest: bool):
    """The first extremum along ``dim``; outputs have no reduced axis."""
    x = comparable(x)
    with np.errstate(all="ignore"):
        beside = x.size // max(x.shape[dim], 1)
        if dim != x.ndim - 1 and beside >= ROWS and x.shape[dim] <= 4 * beside:
            running(values, indices, x, dim, largest)
            return
        find = np.argmax if largest else np.argmin
        rows = neighbours(x, (dim,))
        if rows is None or rows.ndim == 3 or not indices.flags.c_contiguous:
            indices[...] = find(x, axis=dim)
        else:
            found = indices.reshape(-1)

            def work(start: int, stop: int, worker: int) -> None:
                find(rows[start:stop], axis=1, out=found[start:stop])

            each_piece(work, len(rows), rows.shape[1])
        if values is not None:
            at = np.expand_dims(indices, dim)
            values[...] = np.take_along_axis(x, at, axis=dim).reshape(values.shape)


def running(values: np.ndarray | None, indices: np.ndarray, x: np.ndarray, dim: int, largest: bool):
    """One pass per step of ``dim`` over contiguous slices, keeping the best so far."""
    steps = np.moveaxis(x, dim, 0)
    best = steps[0].copy()
    indices[...] = 0
    better, nan = np.empty(best.shape, np.bool_), np.empty(best.shape, np.bool_)
    floating = x.dtype.kind == "f"
    for i in range(1, len(steps)):
        (np.greater if largest else np.less)(steps[i], best, out=better)
        if floating:  # a NaN is better than any number, and is kept
            np.not_equal(steps[i], steps[i], out=nan)
            if nan.any():
                better |= nan & (best == best)
        np.copyto(best, steps[i], where=better)
        np.copyto(indices, i, where=better)
    if values is not None:
        values[...] = best


def along(values, indices, x, dim, keepdim, largest):
    if x.ndim == 0:
        values[...], indices[...] = x, 0
        return
    if keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    select(values, indices, x, dim, largest)


@kernel("_max_dim", "cpu")
def _max_dim(values, indices, x, dim, keepdim):
    along(values, indices, x, dim, keepdim, True)


@kernel("_min_dim", "cpu")
def _min_dim(values, indices, x, dim, keepdim):
    along(values, indices, x, dim, keepdim, False)


def position(y, x, dim, keepdim, largest):
    if len(dim) == x.ndim:
        with np.errstate(all="ignore"):
            y[...] = (np.argmax if largest else np.argmin)(comparable(x))
        return
    select(None, y.squeeze(dim) if keepdim else y, x, dim[0], largest)


@kernel("_argmax", "cpu")
def _argmax(y, x, dim, keepdim):
    position(y, x, dim, keepdim, True)


@kernel("_argmin", "cpu")
def _argmin(y, x, dim, keepdim):
    position(y, x, dim, keepdim, False)


@kernel("place", "cpu")
def place(y, x, index, dim, size):
    y.fill(0)
    if y.size:
        np.put_along_axis(y, index, x, axis=dim)


@kernel("pick", "cpu")
def pick(y, x, index, dim):
    y[...] = np.take_along_axis(x, index, axis=dim)
