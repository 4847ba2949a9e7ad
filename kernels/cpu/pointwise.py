"""Running a pointwise expression with NumPy: on pieces that fit the cache, on several threads.

:mod:`tgrad.kernels.cpu.routine` has written the expression out as calls of ufuncs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.dtypes import INT, Scalar
from tgrad.kernels.cpu import moves
from tgrad.kernels.cpu.routine import Routine, plain, routine, small_function
from tgrad.runtime import threads
from tgrad.runtime.quiet import quiet

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.pointwise import Pointwise

__all__ = ["launch", "small_function"]

SMALL = 2048  # elements; below, a fresh array a step costs less than laying out work buffers
PIECE = 128 * 1024  # bytes of each buffer: all of an expression's together stay in L2
PARALLEL = 1 << 21  # elements; below, waking a second thread costs more than it saves
PARALLEL_SLOW = 1 << 20  # the same where a step is an exponential or the like
THREAD_PIECE = 1 << 17  # elements; smaller pieces on two threads fight for the interpreter lock
ACROSS = 1 << 17  # elements; from here on operands that run across the outputs are copied first
DIVIDES = ("floor_divide", "remainder", "fmod", "div_trunc", "div_floor")


def fill_small(entry: Pointwise, ys: list, values: list, compute: np.dtype) -> None:
    """ys = expression(*values) without work buffers."""
    conditions = entry.program.conditions
    for i, a in enumerate(values):
        if a.dtype != compute and a.ndim and not (i in conditions and a.dtype == np.bool_):
            values[i] = a.astype(compute)
    made = plain(entry, compute)(*values)
    for y, new in zip(ys, made if len(ys) > 1 else (made,), strict=True):
        np.copyto(y, new, casting="unsafe")


def launch(entry: Pointwise, ys: list[np.ndarray], operands: list, compute: dtype) -> None:
    """ys = expression(*operands), computed in ``compute`` and converted on the way out."""
    values = [a if isinstance(a, np.ndarray) and a.ndim else number(a, compute) for a in operands]
    if compute.category <= INT and entry.name in DIVIDES and not np.all(values[1]):
        raise RuntimeError("ZeroDivisionError")
    if ys[0].size <= SMALL:
        quiet.run(fill_small, entry, ys, values, compute.numpy)
    else:
        drive(routine(entry, ys, values, compute.numpy), ys, values)


def number(a: Any, compute: dtype) -> Any:
    """A single number as a NumPy scalar: a 0-d array is converted, a parameter keeps its dtype."""
    if isinstance(a, Scalar):
        return a.dtype.numpy.type(a.value)
    return a.astype(compute.numpy)[()]


# ---- pieces and threads --------------------------------------------------------------------------


class _Arena(threading.local):
    """Each thread's bytes for work buffers; kept, since fresh pages cost more than the work."""

    block = np.empty(0, np.uint8)


arena = _Arena()


def work(routine: Routine, values: list, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The routine's buffers with ``shape``, in this thread's arena."""
    sizes = [-(-math.prod(shape) * kind.itemsize // 64) * 64 for kind, _ in routine.buffers]
    if arena.block.size < sum(sizes) + 64:
        arena.block = np.empty(sum(sizes) + 64, np.uint8)
    at = -arena.block.ctypes.data % 64
    buffers = []
    for (kind, fill), size in zip(routine.buffers, sizes, strict=True):
        b = np.ndarray(shape, kind, arena.block, at)
        if fill is not None:
            source, value = fill
            b.fill(values[value] if source == "operand" else value)
        buffers.append(b)
        at += size
    return buffers


def drive(routine: Routine, ys: list[np.ndarray], values: list) -> None:
    """Run ``routine`` over all of the outputs."""
    y = ys[0]
    flat = is_flat(ys, values)
    if not flat and y.size >= moves.CROSSED:
        ys, values = straightened(ys, values)
        y, flat = ys[0], is_flat(ys, values)
    least = PARALLEL_SLOW if routine.slow else PARALLEL
    parallel = y.size >= least and threads.get_num_threads() > 1
    if not (parallel or routine.in_pieces):
        quiet.run(routine.run, *ys, *values)
        return
    if flat and y.ndim != 1:
        ys = [y.reshape(-1) for y in ys]
        values = [a.reshape(-1) if a.ndim else a for a in values]
        y = ys[0]
    run, piece = span if flat else tiles, THREAD_PIECE if parallel else PIECE // y.itemsize
    if not parallel:
        quiet.run(run, routine, ys, values, piece)
        return
    axis = next(k for k, n in enumerate(y.shape) if n > 1)
    lead = (slice(None),) * axis

    def part(start: int, stop: int) -> None:
        index = (*lead, slice(start, stop), *[slice(None)] * (y.ndim - axis - 1))
        quiet.run(
            run, routine, [y[index] for y in ys],
            [window(a, index) if a.ndim else a for a in values], piece,
        )  # fmt: skip

    threads.split(part, y.shape[axis])


def is_flat(ys: list[np.ndarray], values: list) -> bool:
    """Whether all arrays are dense, of one shape and in row-major order."""
    shape = ys[0].shape
    return all(a.flags.c_contiguous and a.shape == shape for a in (*ys, *values) if a.ndim)


def straightened(ys: list[np.ndarray], values: list) -> tuple[list[np.ndarray], list]:
    """The same with axes in the order of the first output's memory, and no operand across it.

    Operands that run across are copied through blocks: x + z.t() of 1024 x 1024 took 26 ms, with
    the copy 2.1 (two shared x86-64 cores, 2026-11).
    """
    y = ys[0]
    steps = [-abs(s) for s in y.strides]
    order = sorted(range(y.ndim), key=steps.__getitem__)
    if order != list(range(y.ndim)):
        ys = [y.transpose(order) for y in ys]
        values = [
            a.reshape((1,) * (y.ndim - a.ndim) + a.shape).transpose(order) if a.ndim else a
            for a in values
        ]
    if y.size < ACROSS:
        return ys, values
    across = [a.ndim and moves.crossing(ys[0], a) is not None for a in values]
    return ys, [moves.contiguous(a) if c else a for a, c in zip(values, across, strict=True)]


def span(routine: Routine, ys: list[np.ndarray], values: list, piece: int) -> None:
    """One-dimensional arrays, in pieces."""
    size = ys[0].size
    if not routine.in_pieces or size <= piece:
        piece = size
    if piece == 0:
        return
    buffers = work(routine, values, (piece,))
    for i in range(0, size, piece):
        j = min(i + piece, size)
        if j - i < piece:
            buffers = [b[: j - i] for b in buffers]
        routine.run(
            *[y[i:j] for y in ys], *[a[i:j] if a.ndim else a for a in values], *buffers
        )  # fmt: skip


def tiles(routine: Routine, ys: list[np.ndarray], values: list, piece: int) -> None:
    """Arrays of any strides and broadcasting shapes, in pieces that are boxes of the outputs."""
    if not routine.in_pieces:
        routine.run(*ys, *values)
        return
    buffers: list[np.ndarray] = []
    have: tuple[int, ...] | None = None
    for index in boxes(ys[0].shape, piece):
        parts = [y[index] for y in ys]
        if parts[0].shape != have:
            have = parts[0].shape
            buffers = work(routine, values, have)
        routine.run(*parts, *[window(a, index) if a.ndim else a for a in values], *buffers)


def boxes(shape: tuple[int, ...], limit: int) -> Iterator[tuple[slice, ...]]:
    """Index tuples that cover ``shape`` in row-major boxes of at most ``limit`` elements."""
    axis, inner = len(shape), 1
    while axis and inner * shape[axis - 1] <= limit:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield tuple(slice(None) for _ in shape)
        return
    axis -= 1
    step = max(limit // inner, 1)
    rest = (slice(None),) * (len(shape) - axis - 1)
    for outer in np.ndindex(*shape[:axis]):
        lead = tuple(slice(k, k + 1) for k in outer)
        for i in range(0, shape[axis], step):
            yield (*lead, slice(i, i + step), *rest)


def window(a: np.ndarray, index: tuple[slice, ...]) -> np.ndarray:
    """The part of a broadcast operand that belongs to a box of the result."""
    own = index[len(index) - a.ndim :]
    return a[tuple([slice(None) if n == 1 else i for n, i in zip(a.shape, own, strict=True)])]
