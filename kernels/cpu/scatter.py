"""Gathering and scattering along one axis, through flat offsets."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.moves import contiguous
from tgrad.kernels.cpu.places import add_at, along, is_half
from tgrad.runtime import memory


@kernel("_gather", "cpu")
def _gather(y, x, dim, index):
    if y.size:
        np.take(contiguous(x).reshape(-1), along(index, dim, x.shape), out=y, mode="wrap")


@kernel("gather_backward", "cpu")
def gather_backward(y, g, index, dim, shape):
    y.fill(0)
    if g.size:
        add_at(y.reshape(-1), along(index, dim, shape), g)


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
        flat[along(index, dim, x.shape)] = src

    written(y, x, write)


@kernel("_scatter_fill", "cpu")
def _scatter_fill(y, x, dim, index, value):
    def write(flat):
        flat[along(index, dim, x.shape)] = value

    written(y, x, write)


@kernel("_scatter_add", "cpu")
def _scatter_add(y, x, dim, index, src):
    written(y, x, lambda flat: add_at(flat, along(index, dim, x.shape), src))


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
