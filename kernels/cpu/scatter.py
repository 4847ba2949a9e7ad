"""Gathering and scattering along one axis, through flat offsets."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.moves import contiguous
from tgrad.kernels.cpu.places import add_at, along, by_pieces, is_half
from tgrad.runtime import memory


@kernel("_gather", "cpu")
def _gather(y, x, dim, index):
    if y.size == 0:
        return
    flat = contiguous(x).reshape(-1)

    def take(rows, places):
        # The card has checked the range; mode "raise" would copy through a buffer.
        np.take(flat, places, out=y[rows], mode="wrap")

    by_pieces(index, dim, x.shape, take, alone=False)


@kernel("gather_backward", "cpu")
def gather_backward(y, g, index, dim, shape):
    y.fill(0)
    if g.size:
        add_along(y.reshape(-1), index, dim, shape, g)


def add_along(flat, index, dim, shape, g) -> None:
    """flat[places of index] += g, each place as often as it occurs."""
    if is_half(flat.dtype):  # widened, and rounded once
        add_at(flat, along(index, dim, shape), g)
    else:
        by_pieces(index, dim, shape, lambda rows, places: add_at(flat, places, g[rows]))


def written(y, x, write) -> None:
    """y = x after ``write(flat)`` on x's elements in row-major order."""
    if y is not x:
        np.copyto(y, x)
    if y.flags.c_contiguous:
        write(y.reshape(-1))
        return
    dense = memory.empty(y.shape, y.dtype)
    np.copyto(dense, y)
    write(dense.reshape(-1))
    np.copyto(y, dense)


@kernel("_scatter", "cpu")
def _scatter(y, x, dim, index, src):
    def write(flat):
        def put(rows, places):
            flat[places] = src[rows]

        by_pieces(index, dim, x.shape, put)

    written(y, x, write)


@kernel("_scatter_fill", "cpu")
def _scatter_fill(y, x, dim, index, value):
    def write(flat):
        def put(rows, places):
            flat[places] = value

        by_pieces(index, dim, x.shape, put)

    written(y, x, write)


@kernel("_scatter_add", "cpu")
def _scatter_add(y, x, dim, index, src):
    written(y, x, lambda flat: add_along(flat, index, dim, x.shape, src))


COMBINE = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


@kernel("_scatter_reduce", "cpu")
def _scatter_reduce(y, x, dim, index, src, mode):
    def write(flat):
        places = along(index, dim, x.shape).reshape(-1)
        half = is_half(flat.dtype)
        total = flat.astype(np.float32) if half else flat
        values = src.reshape(-1).astype(total.dtype, copy=False)
        with np.errstate(all="ignore"):
            COMBINE[mode].at(total, places, values)
            if half:
                np.copyto(flat, total, casting="unsafe")

    written(y, x, write)
