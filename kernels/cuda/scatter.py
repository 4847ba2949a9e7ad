"""Gathering and scattering along one axis."""

from __future__ import annotations

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import addressing
from tgrad.kernels.cuda.addressing import Index, Located
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.runtime.array import CudaArray


def located(table: CudaArray, dim: int, index: CudaArray) -> Located:
    """Iteration shape, the table's steps in it and the index, for ``index`` along ``dim``."""
    steps = list(table.steps)
    found = [Index(index, index.steps, table.shape[dim], steps[dim])]
    steps[dim] = 0
    return index.shape, steps, found


@kernel("_gather", "cuda")
def _gather(y, x, dim, index):
    shape, steps, found = located(x, dim, index)
    addressing.run("gather", shape, y, x, steps, found)


@kernel("gather_backward", "cuda")
def gather_backward(y, g, index, dim, shape):
    _fill(y, y, 0)
    addressing.add(y, g, lambda table: located(table, dim, index))


@kernel("_scatter", "cuda")
def _scatter(y, x, dim, index, src):
    if y is not x:
        copy(y, x)
    shape, steps, found = located(y, dim, index)
    addressing.run("set", shape, src, y, steps, found)


@kernel("_scatter_fill", "cuda")
def _scatter_fill(y, x, dim, index, value):
    if y is not x:
        copy(y, x)
    shape, steps, found = located(y, dim, index)
    addressing.run("fill", shape, value, y, steps, found)


@kernel("_scatter_add", "cuda")
def _scatter_add(y, x, dim, index, src):
    if y is not x:
        copy(y, x)
    addressing.add(y, src, lambda table: located(table, dim, index))


@kernel("_scatter_reduce", "cuda")
def _scatter_reduce(y, x, dim, index, src, mode):
    if y is not x:
        copy(y, x)
    addressing.reduce(y, src, located(y, dim, index), mode)
