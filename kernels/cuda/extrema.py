"""Largest and smallest elements and their positions, on keys that order NaN as PyTorch does."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.axes import (
    PLAIN,
    Axes,
    Tiles,
    declare_reduction,
    from_order_key,
    full_counts,
    locate,
    matrix,
    order_key,
    split,
    tiles,
)
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.reduction import reduce
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@kernel("_amax", "cuda")
def _amax(y, x, dim, keepdim):
    reduce(y, x, dim, "max")


@kernel("_amin", "cuda")
def _amin(y, x, dim, keepdim):
    reduce(y, x, dim, "min")


@triton.jit(do_not_specialize=PLAIN)
def select_kernel(
    y_ptr, i_ptr, x_ptr, from_ptr, rows, length, chunk,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    FLIP: tl.constexpr, VALUES: tl.constexpr, FIRST: tl.constexpr, LAST: tl.constexpr,
    ACC: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr, R_COUNT: tl.constexpr,
    R_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):  # fmt: skip
    """y[s, k], i[s, k] = the largest key in the s-th chunk of x[k, :] and its first position.

    Each lane keeps its best and where; lanes agree at the end. A second pass (not FIRST) reads keys
    from x and positions from ``from_ptr``.
    """
    rows, length, chunk = full_counts(rows, length, chunk, K_UNIT, R_UNIT, VEC)
    k = tl.program_id(0)
    part = tl.program_id(1)
    if WIDE:
        k = k.to(tl.int64)
        part = part.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    x_k = locate(offs_k, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    mask_k = offs_k < rows
    start = part * chunk
    stop = tl.minimum(start + chunk, length)
    least: tl.constexpr = -(2**63) if tl.int64 == ACC else -(2**31)
    best = tl.full((BLOCK_K, BLOCK_R), least, ACC)
    where = tl.broadcast_to((start + tl.arange(0, BLOCK_R))[None, :], (BLOCK_K, BLOCK_R))
    where = where.to(tl.int64)
    if not FIRST:
        where = tl.full((BLOCK_K, BLOCK_R), 2**62, tl.int64)
    for r in range(start, stop, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        mask = mask_k[:, None] & (offs_r < stop)[None, :]
        at = x_k[:, None] + x_r[None, :]
        x = tl.load(x_ptr + at, mask=mask, other=0)
        if FIRST:
            key = order_key(x, FLIP)
            found = tl.broadcast_to(offs_r[None, :], (BLOCK_K, BLOCK_R)).to(tl.int64)
            better = mask & (key > best)
        else:
            key = x
            found = tl.load(from_ptr + at, mask=mask, other=2**62)
            better = mask & ((key > best) | ((key == best) & (found < where)))
        best = tl.where(better, key, best)
        where = tl.where(better, found, where)
    top = tl.max(best, 1)
    index = tl.min(tl.where(best == top[:, None], where, 2**62), 1)
    out = part * rows + offs_k
    tl.store(i_ptr + out, index, mask=mask_k)
    if VALUES:
        if LAST:
            top = from_order_key(top, FLIP, y_ptr.dtype.element_ty)
        tl.store(y_ptr + out, top, mask=mask_k)


def select(
    values: CudaArray | None, indices: CudaArray, x: CudaArray, dim: tuple[int, ...], largest: bool
) -> None:
    """The extremum over ``dim`` and its first row-major position; outputs are contiguous."""
    if indices.size == 0:
        return
    axes = split(x, dim, ordered=True)
    elements = 2048
    t = tiles(axes, elements, kernel="extrema")
    acc = np.dtype(np.int64 if x.dtype.itemsize == 8 else np.int32)
    shared = {"FLIP": not largest, "ACC": getattr(tl, acc.name)}
    if t.splits == 1:
        run(values, indices, indices, axes, t, FIRST=True, LAST=True, **shared)
        return
    keys = cuda.empty((t.splits, axes.rows), acc)
    places = cuda.empty((t.splits, axes.rows), np.dtype(np.int64))
    run(keys, places, places, axes, t, FIRST=True, LAST=False, **shared)
    again = matrix(keys, axes.rows, t.splits)
    t = tiles(again, elements, may_split=False)
    run(values, indices, places, again, t, FIRST=False, LAST=True, **shared)


def run(values: CudaArray | None, indices, places, axes: Axes, t: Tiles, **constants) -> None:
    cuda.launch(
        select_kernel, t.grid(axes.rows), indices if values is None else values, indices, axes.x,
        places, *axes.counts(t.chunk), *axes.arguments(), **axes.constants(),
        VALUES=values is not None, **constants, BLOCK_K=t.block_k, BLOCK_R=t.block_r,
        num_warps=t.num_warps,
    )  # fmt: skip


declare_reduction("extrema", example("max", array(12, 70), 1))


@kernel("_max_dim", "cuda")
def _max_dim(values, indices, x, dim, keepdim):
    select(values, indices, x, (dim,)[: x.ndim], True)


@kernel("_min_dim", "cuda")
def _min_dim(values, indices, x, dim, keepdim):
    select(values, indices, x, (dim,)[: x.ndim], False)


@kernel("_argmax", "cuda")
def _argmax(y, x, dim, keepdim):
    select(None, y, x, dim, True)


@kernel("_argmin", "cuda")
def _argmin(y, x, dim, keepdim):
    select(None, y, x, dim, False)


# ---- going to and from positions -----------------------------------------------------------------


@triton.jit
def place_one_kernel(y_ptr, x_ptr, i_ptr, n, size, stride, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """y[a, r, b] = x[a, b] where r = i[a, b], else 0: writes y once, in order; n is y's size."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    row = offs // stride
    at = (row // size) * stride + offs % stride
    index = tl.load(i_ptr + at, mask=mask, other=0)
    x = tl.load(x_ptr + at, mask=mask, other=0)
    tl.store(y_ptr + offs, tl.where(index == row % size, x, 0), mask=mask)


@triton.jit
def move_kernel(
    y_ptr, x_ptr, i_ptr, n, length, size, stride,
    PICK: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y[a, i[a, r, b], b] = x[a, r, b], or with PICK y[a, r, b] = x[a, i[a, r, b], b].

    i has n elements, ``length`` along the dim; the other array has ``size``; ``inner`` come after.
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    index = tl.load(i_ptr + offs, mask=mask, other=0)
    other = (offs // (stride * length) * size + index) * stride + offs % stride
    if PICK:
        tl.store(y_ptr + offs, tl.load(x_ptr + other, mask=mask), mask=mask)
    else:
        tl.store(y_ptr + other, tl.load(x_ptr + offs, mask=mask), mask=mask)


@triton.jit
def fill_kernel(y_ptr, n, VALUE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """y = VALUE, n contiguous elements."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offs, tl.full((BLOCK,), VALUE, y_ptr.dtype.element_ty), mask=offs < n)


def block_size() -> int:
    return 8192 if cuda.is_emulated() else 1024


def fill(y: CudaArray, value: float) -> None:
    """y (contiguous) = value."""
    block = block_size()
    wide = y.size + block >= 2**31
    cuda.launch(
        fill_kernel, (triton.cdiv(y.size, block),), y, y.size, VALUE=value, WIDE=wide, BLOCK=block
    )


def dense(a: CudaArray) -> CudaArray:
    """a itself where it is contiguous, else a copy that is."""
    if a.is_contiguous:
        return a
    fresh = cuda.empty(a.shape, a.dtype)
    copy(fresh, a)
    return fresh


def inner_size(shape: tuple[int, ...], dim: int) -> int:
    return math.prod(shape[dim + 1 :])


@kernel("place", "cuda")
def place(y, x, index, dim, size):
    x, index = dense(x), dense(index)
    inner, length, block = inner_size(y.shape, dim), index.shape[dim], block_size()
    wide = y.size + block >= 2**31
    if length == 1:
        cuda.launch(
            place_one_kernel, (triton.cdiv(y.size, block),), y, x, index, y.size, size, inner,
            WIDE=wide, BLOCK=block,
        )  # fmt: skip
        return
    if length < size:
        fill(y, 0)
    cuda.launch(
        move_kernel, (triton.cdiv(x.size, block),), y, x, index, x.size, length, size, inner,
        PICK=False, WIDE=wide, BLOCK=block,
    )  # fmt: skip


@kernel("pick", "cuda")
def pick(y, x, index, dim):
    x, index = dense(x), dense(index)
    block = block_size()
    cuda.launch(
        move_kernel, (triton.cdiv(y.size, block),), y, x, index, y.size, index.shape[dim],
        x.shape[dim], inner_size(y.shape, dim), PICK=True,
        WIDE=max(x.size, y.size) + block >= 2**31, BLOCK=block,
    )  # fmt: skip
