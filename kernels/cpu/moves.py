"""Copies between any two layouts: blocks where they run across each other, threads where large.

NumPy walks through both arrays in the order of the target. Where the source's neighbours are far
apart in that order, each element read costs a line of cache, and at powers of two all of them fall
into a few sets: a transposed copy of 1024 x 1024 float32 took 20 ms, by blocks 0.9, a plain copy
0.3 (two shared x86-64 cores, 2026-11).
"""

from __future__ import annotations

import math

import numpy as np

from tgrad.runtime import memory, threads
from tgrad.runtime.quiet import quiet

COLUMNS = 512  # of the target in a block
BLOCK = 128 * 512  # elements: buffer and lines take a megabyte of the L2 cache for 4-byte elements
GAP = 64  # bytes between rows of the buffer, which keep them out of each other's cache sets
LINE = 64  # bytes; neighbours closer than this share lines, and order matters little
CROSSED = 1 << 14  # elements; what is smaller fits the cache in any order
PARALLEL = 1 << 21  # elements; below, waking a second thread costs more than it saves


def move(y: np.ndarray, x: np.ndarray) -> None:
    """y = x, broadcast and converted as PyTorch converts; they may overlap."""
    if y.size < CROSSED or np.may_share_memory(y, x):
        quiet.run(np.copyto, y, x, "unsafe")
        return
    axes = crossing(y, x)
    if axes is not None and y.ndim > 2:
        y, x = joined(y, x)
        axes = crossing(y, x)
    if axes is None:
        straight(y, x)
    else:
        crosswise(y, x, *axes)


def crossing(y: np.ndarray, x: np.ndarray) -> tuple[int, int] | None:
    """The axes along which ``x`` and ``y`` are densest, where those are two and apart in x."""
    if x.shape != y.shape or (x.flags.c_contiguous and y.flags.c_contiguous):
        return None
    inner, outer = densest(x), densest(y)
    return None if inner == outer or abs(x.strides[outer]) < LINE else (inner, outer)


def densest(a: np.ndarray) -> int:
    """The axis with the smallest steps, among those that step at all."""
    axis, least = 0, math.inf
    for k, (n, step) in enumerate(zip(a.shape, a.strides, strict=True)):
        if n > 1 and 0 < abs(step) < least:
            axis, least = k, abs(step)
    return axis


def joined(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Views of both with axes in the order of ``y``'s memory, neighbours joined where they can."""
    order = sorted(range(y.ndim), key=lambda k: -abs(y.strides[k]))
    y, x = y.transpose(order), x.transpose(order)
    shape: list[int] = []
    last = 0
    for k, n in enumerate(y.shape):
        if n == 1:
            continue
        if shape and all(a.strides[last] == n * a.strides[k] for a in (y, x)):
            shape[-1] *= n
        else:
            shape.append(n)
        last = k
    return y.reshape(shape, copy=False), x.reshape(shape, copy=False)


def straight(y: np.ndarray, x: np.ndarray) -> None:
    """y = x in the order of y, in shares of the first axis that can be shared."""
    if y.size < PARALLEL or threads.get_num_threads() == 1:
        quiet.run(np.copyto, y, x, "unsafe")
        return
    x = np.broadcast_to(x, y.shape)
    axis = next(k for k, n in enumerate(y.shape) if n > 1)
    y, x = y.swapaxes(0, axis), x.swapaxes(0, axis)

    def part(start: int, stop: int) -> None:
        quiet.run(np.copyto, y[start:stop], x[start:stop], "unsafe")

    threads.split(part, len(y))


def crosswise(y: np.ndarray, x: np.ndarray, inner: int, outer: int) -> None:
    """y = x by blocks of the plane of their densest axes, through a buffer dense as x is."""
    order = [*(k for k in range(y.ndim) if k not in (inner, outer)), inner, outer]
    y, x = y.transpose(order), x.transpose(order)
    planes = list(np.ndindex(y.shape[:-2])) if y.ndim > 2 else [()]
    columns = min(y.shape[-1], COLUMNS)
    rows = min(y.shape[-2], BLOCK // columns)
    steps = -(-y.shape[-2] // rows)
    pitch = rows + GAP // x.itemsize

    def part(start: int, stop: int) -> None:
        buffer = memory.empty((columns, pitch), x.dtype)
        for k in range(start, stop):
            plane, step = divmod(k, steps)
            to, source = y[planes[plane]], x[planes[plane]]
            i = slice(step * rows, (step + 1) * rows)
            for j in range(0, to.shape[1], columns):
                quiet.run(block, to[i, j : j + columns], source[i, j : j + columns], buffer)

    if y.size < PARALLEL // 2:  # each element costs several times a plain copy's
        part(0, len(planes) * steps)
    else:
        threads.split(part, len(planes) * steps)


def block(to: np.ndarray, source: np.ndarray, buffer: np.ndarray) -> None:
    """to = source (rows, columns), first straight into rows of the buffer, then across."""
    dense = buffer[: to.shape[1], : to.shape[0]]  # (columns, rows)
    dense[...] = source.T
    np.copyto(to, dense.T, "unsafe")


def contiguous(a: np.ndarray) -> np.ndarray:
    """``a`` itself where dense in row-major order, else a copy that is."""
    if a.flags.c_contiguous:
        return a
    out = memory.empty(a.shape, a.dtype)
    move(out, a)
    return out
