"""Scans: a program carries the running value along its rows, tile by tile.

Few long rows are cut into chunks: the chunks' totals, a scan of these, and the scan of each chunk
from where the one before it ends. Tiles are long or wide as in the reductions.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.axes import (
    PLAIN,
    Axes,
    Tiles,
    declare_reduction,
    from_order_key,
    full_counts,
    locate,
    order_key,
    split,
    tiles,
)
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.extrema import block_size, dense, inner_size
from tgrad.kernels.cuda.limits import common_unit
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit
def log_add_exp(a, b):
    """log(exp(a) + exp(b)); -inf is nothing, and inf and NaN win."""
    high = tl.maximum(a, b)
    low = tl.minimum(a, b)
    same = (a == b) | (high == float("inf"))
    y = high + tl.where(same, 0.6931471805599453, tl.log(1 + tl.exp(low - high)))
    y = tl.where(high == float("-inf"), high, y)
    return tl.where((a == a) & (b == b), y, a + b)


@triton.jit
def combined(a, b, F: tl.constexpr):
    if F == "sum":
        y = a + b
    elif F == "prod":
        y = a * b
    else:
        y = log_add_exp(a, b)
    return y


@triton.jit(do_not_specialize=PLAIN)
def scan_kernel(
    y_ptr, x_ptr, carry_ptr, rows, length, chunk, stride,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    F: tl.constexpr, REVERSE: tl.constexpr, CARRY: tl.constexpr, TOTALS: tl.constexpr,
    EXCLUSIVE: tl.constexpr, ACC: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr,
    R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr, INNER: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """y = running F along the s-th chunk of each of BLOCK_K rows; y is (outer, length, stride).

    CARRY starts from carry[s, k]; TOTALS writes only the chunk's end, to y[s, k]; EXCLUSIVE leaves
    the element itself out. Reads x once and writes y once.
    """
    rows, length, chunk = full_counts(rows, length, chunk, K_UNIT, R_UNIT, VEC)
    stride = stride * INNER
    k = tl.program_id(0)
    part = tl.program_id(1)
    if WIDE:
        k = k.to(tl.int64)
        part = part.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    x_k = locate(offs_k, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    y_k = (offs_k // stride) * (stride * length) + offs_k % stride
    mask_k = offs_k < rows
    start = part * chunk
    stop = tl.minimum(start + chunk, length)
    nothing: tl.constexpr = 0.0 if F == "sum" else 1.0 if F == "prod" else float("-inf")
    lane = tl.arange(0, BLOCK_R)[None, :]
    carry = tl.full((BLOCK_K,), nothing, ACC)
    if CARRY:
        carry = tl.load(carry_ptr + part * rows + offs_k, mask=mask_k, other=0).to(ACC)
    for r in range(start, stop, BLOCK_R):
        step = r + tl.arange(0, BLOCK_R)
        mask = mask_k[:, None] & (step < stop)[None, :]
        if REVERSE:
            offs_r = length - 1 - step
        else:
            offs_r = step
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=0).to(ACC)
        x = tl.where(mask, x, tl.full((1, 1), nothing, ACC))
        if F == "sum":
            y = tl.cumsum(x, 1)
        elif F == "prod":
            y = tl.cumprod(x, 1)
        else:
            y = tl.associative_scan(x, 1, log_add_exp)
        y = combined(carry[:, None], y, F)
        if not TOTALS:
            at = y_k[:, None] + offs_r[None, :] * stride
            if EXCLUSIVE:  # the value before: what the next position would get
                at += stride
                mask = mask & (step + 1 < length)[None, :]
            tl.store(y_ptr + at, maths.to(y, y_ptr.dtype.element_ty), mask=mask)
        end = tl.where(lane == BLOCK_R - 1, y, 0)
        carry = tl.sum(end, 1)
    if TOTALS:
        tl.store(y_ptr + part * rows + offs_k, carry, mask=mask_k)
    if EXCLUSIVE:
        first = tl.full((BLOCK_K,), nothing, ACC)
        tl.store(y_ptr + y_k, maths.to(first, y_ptr.dtype.element_ty), mask=mask_k)


def tile_elements(function: str, itemsize: int = 4) -> int:
    """8 KiB of numbers of ``itemsize`` bytes, for logarithms in float64 2 KiB: more spill.

    The interpreter runs scans by a function of our own element by element.
    """
    if cuda.is_emulated():
        return 4096 if function in ("sum", "prod") else 32
    return 256 if function == "log" and itemsize == 8 else 8192 // itemsize


def scan(
    y: CudaArray,
    x: CudaArray,
    dim: int,
    function: str,
    reverse: bool,
    exclusive: bool = False,
    of_totals: bool = False,
) -> None:
    """y (contiguous) = the running sum, product or "log" (log sum exp) of x along ``dim``."""
    if y.size == 0:
        return
    axes = split(x, (dim,)[: x.ndim], ordered=True)
    name = "int64" if y.dtype.kind in "biu" else "float64" if y.dtype.itemsize == 8 else "float32"
    size = np.dtype(name).itemsize
    kernel = "" if of_totals else "log_scan" if function == "log" else "scan"
    t = tiles(axes, tile_elements(function, size), kernel=kernel, wide=size == 8)
    inner = inner_size(x.shape, dim) if x.ndim else 1
    shared = {"F": function, "REVERSE": reverse, "ACC": getattr(tl, name)}
    last = {"TOTALS": False, "EXCLUSIVE": exclusive}
    if t.splits == 1:
        run(y, y, axes, t, inner, CARRY=False, **last, **shared)
        return
    totals = cuda.empty((t.splits, axes.rows), np.dtype(name))
    run(totals, y, axes, t, inner, CARRY=False, TOTALS=True, EXCLUSIVE=False, **shared)
    before = cuda.empty((t.splits, axes.rows), np.dtype(name))
    scan(before, totals, 0, function, False, exclusive=True, of_totals=True)
    run(y, before, axes, t, inner, CARRY=True, **last, **shared)


def run(y: CudaArray, carry: CudaArray, axes: Axes, t: Tiles, inner: int, **constants) -> None:
    unit = common_unit(16, inner)
    cuda.launch(
        scan_kernel, t.grid(axes.rows), y, axes.x, carry, *axes.counts(t.chunk), inner // unit,
        *axes.arguments(), **axes.constants(), **constants, INNER=unit, BLOCK_K=t.block_k,
        BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip


declare_reduction("scan", example("cumsum", array(11, 70), 1))
declare_reduction("log_scan", example("logcumsumexp", array(3, 21), 1))


@kernel("_cumsum", "cuda")
def _cumsum(y, x, dim, reverse, dtype):
    scan(y, x, dim, "sum", reverse)


@kernel("_cumprod", "cuda")
def _cumprod(y, x, dim, reverse):
    scan(y, x, dim, "prod", reverse)


@kernel("_logcumsumexp", "cuda")
def _logcumsumexp(y, x, dim):
    scan(y, x, dim, "log", False)


# ---- extrema -------------------------------------------------------------------------------------


@triton.jit
def later_best(key, index, other, other_index):
    """The greater key; of equal ones the one that comes later."""
    take = other >= key
    return tl.where(take, other, key), tl.where(take, other_index, index)


@triton.jit(do_not_specialize=PLAIN)
def running_best_kernel(
    y_ptr, i_ptr, x_ptr, rows, length, stride,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    FLIP: tl.constexpr, ACC: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr,
    R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr, INNER: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """y, i = the largest key so far along BLOCK_K rows and where it was last met.

    Places are kept in 32 bits unless WIDE: in 64 they cost the registers of a whole tile more.
    """
    rows, length, _ = full_counts(rows, length, 0, K_UNIT, R_UNIT, VEC)
    stride = stride * INNER
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    x_k = locate(offs_k, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    y_k = (offs_k // stride) * (stride * length) + offs_k % stride
    mask_k = offs_k < rows
    least: tl.constexpr = -(2**63) if tl.int64 == ACC else -(2**31)
    lane = tl.arange(0, BLOCK_R)[None, :]
    best = tl.full((BLOCK_K,), least, ACC)
    PLACE: tl.constexpr = tl.int64 if WIDE else tl.int32
    where = tl.zeros((BLOCK_K,), PLACE)
    for r in range(0, length, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        mask = mask_k[:, None] & (offs_r < length)[None, :]
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=0)
        key = tl.where(mask, order_key(x, FLIP), tl.full((1, 1), least, ACC))
        index = tl.broadcast_to(offs_r[None, :], (BLOCK_K, BLOCK_R)).to(PLACE)
        key, index = tl.associative_scan((key, index), 1, later_best)
        keep = best[:, None] > key
        key = tl.where(keep, best[:, None], key)
        index = tl.where(keep, where[:, None], index)
        at = y_k[:, None] + offs_r[None, :] * stride
        y = from_order_key(key, FLIP, y_ptr.dtype.element_ty)
        tl.store(y_ptr + at, y, mask=mask)
        tl.store(i_ptr + at, index.to(tl.int64), mask=mask)
        best = tl.sum(tl.where(lane == BLOCK_R - 1, key, 0), 1).to(ACC)
        where = tl.sum(tl.where(lane == BLOCK_R - 1, index, 0), 1).to(PLACE)


def running_best(values: CudaArray, indices: CudaArray, x: CudaArray, dim: int, flip: bool) -> None:
    if x.size == 0:
        return
    axes = split(x, (dim,)[: x.ndim], ordered=True)
    t = tiles(axes, tile_elements("best"), may_split=False, kernel="running_extrema")
    inner = inner_size(x.shape, dim) if x.ndim else 1
    unit = common_unit(16, inner)
    cuda.launch(
        running_best_kernel, (t.grid(axes.rows)[0],), values, indices, axes.x,
        *axes.counts()[:2], inner // unit, *axes.arguments(), INNER=unit,
        **axes.constants(), FLIP=flip, ACC=tl.int64 if x.dtype.itemsize == 8 else tl.int32,
        BLOCK_K=t.block_k, BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip


declare_reduction("running_extrema", example("cummax", array(3, 21), 1))


@kernel("_cummax", "cuda")
def _cummax(values, indices, x, dim):
    running_best(values, indices, x, dim, False)


@kernel("_cummin", "cuda")
def _cummin(values, indices, x, dim):
    running_best(values, indices, x, dim, True)


# ---- runs of equal elements ----------------------------------------------------------------------


@triton.jit
def greater(a, b):
    return tl.maximum(a, b)


@triton.jit
def run_lengths_kernel(
    y_ptr, x_ptr, rows, length, stride, WIDE: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):  # fmt: skip
    """How far along its run each element of BLOCK_K rows is; contiguous (outer, length, stride)."""
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    at_k = (offs_k // stride) * (stride * length) + offs_k % stride
    mask_k = offs_k < rows
    start = tl.zeros((BLOCK_K,), tl.int64)  # of the run that the last tile ended in
    for r in range(0, length, BLOCK_R):
        offs_r = (r + tl.arange(0, BLOCK_R)).to(tl.int64)
        mask = mask_k[:, None] & (offs_r < length)[None, :]
        at = at_k[:, None] + offs_r[None, :] * stride
        x = tl.load(x_ptr + at, mask=mask, other=0)
        inside = mask & (offs_r > 0)[None, :]
        before = tl.load(x_ptr + at - stride, mask=inside, other=0)
        new = tl.where(inside & (x != before), offs_r[None, :], 0)
        starts = tl.maximum(tl.associative_scan(new, 1, greater), start[:, None])
        tl.store(y_ptr + at, offs_r[None, :] - starts + 1, mask=mask)
        start = tl.max(starts, 1)


# ---- the linear recurrence -----------------------------------------------------------------------


@triton.jit
def chained(a, b, other_a, other_b):
    """First h -> a h + b, then h -> other_a h + other_b."""
    return a * other_a, other_a * b + other_b


@triton.jit
def recurrence_kernel(
    h_ptr, a_ptr, b_ptr, rows, length, stride,
    REVERSE: tl.constexpr, LATE: tl.constexpr, ACC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """h[t] = c[t] h[t-1] + b[t] along BLOCK_K rows of contiguous (outer, length, stride) arrays."""
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    at_k = (offs_k // stride) * (stride * length) + offs_k % stride
    mask_k = offs_k < rows
    lane = tl.arange(0, BLOCK_R)[None, :]
    carry = tl.zeros((BLOCK_K,), ACC)
    for r in range(0, length, BLOCK_R):
        step = r + tl.arange(0, BLOCK_R)
        mask = mask_k[:, None] & (step < length)[None, :]
        if REVERSE:
            offs_r = length - 1 - step
            behind: tl.constexpr = 1
        else:
            offs_r = step
            behind: tl.constexpr = -1
        at = at_k[:, None] + offs_r[None, :] * stride
        b = tl.load(b_ptr + at, mask=mask, other=0).to(ACC)
        inside = mask & (step > 0)[None, :]  # nothing comes before the first
        if LATE:
            c = tl.load(a_ptr + at + behind * stride, mask=inside, other=0).to(ACC)
        else:
            c = tl.load(a_ptr + at, mask=inside, other=0).to(ACC)
        c, h = tl.associative_scan((c, b), 1, chained)
        h = c * carry[:, None] + h
        tl.store(h_ptr + at, maths.to(h, h_ptr.dtype.element_ty), mask=mask)
        carry = tl.sum(tl.where(lane == BLOCK_R - 1, h, 0), 1)


declare_reduction(
    "linear_recurrence", example("recurrence", array(3, 21), array(3, 21), 1, False, False)
)


@kernel("recurrence", "cuda")
def recurrence(h, a, b, dim, reverse, late):
    if h.size == 0:
        return
    a, b = dense(a), dense(b)
    axes = split(b, (dim,)[: b.ndim], ordered=True)
    t = tiles(axes, tile_elements("linear"), may_split=False, kernel="linear_recurrence")
    cuda.launch(
        recurrence_kernel, (t.grid(axes.rows)[0],), h, a, b, axes.rows, axes.length,
        inner_size(b.shape, dim) if b.ndim else 1, REVERSE=reverse, LATE=late,
        ACC=tl.float64 if h.dtype.itemsize == 8 else tl.float32, WIDE=axes.wide,
        BLOCK_K=t.block_k, BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip


@triton.jit
def shift_kernel(
    y_ptr, x_ptr, n, length, stride, fill,
    STEP: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y[a, r, b] = x[a, r - STEP, b], or ``fill`` outside; contiguous, BLOCK elements a program."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    r = (offs // stride) % length - STEP
    inside = (offs < n) & (r >= 0) & (r < length)
    x = tl.load(x_ptr + offs - STEP * stride, mask=inside, other=0)
    other = tl.full((BLOCK,), fill, tl.float64 if x.dtype.primitive_bitwidth == 64 else tl.float32)
    y = tl.where(inside, x, maths.to(other, x.dtype))
    tl.store(y_ptr + offs, y, mask=offs < n)


@kernel("_shift", "cuda")
def _shift(y, x, dim, step, fill):
    x, block = dense(x), block_size()
    number = np.float64(fill) if y.dtype.itemsize == 8 else float(fill)
    cuda.launch(
        shift_kernel, (triton.cdiv(y.size, block),), y, x, y.size, x.shape[dim] if x.ndim else 1,
        inner_size(x.shape, dim) if x.ndim else 1, number, STEP=step,
        WIDE=y.size + block >= 2**31, BLOCK=block,
    )  # fmt: skip
