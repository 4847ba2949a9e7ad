"""Softmax and log-softmax: rows of any width, along any axis, without transposed copies.

A row that fits is read once and stays in registers; a longer one is walked twice, the first time
with a running maximum and sum (Milakov & Gimelshein 2018, arXiv:1805.02867). Where such rows are
few, programs share a row: the first launch leaves a maximum and a sum for each part of it.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.rows import (
    Planes,
    Tile,
    along,
    at_rows,
    common_vec,
    declare_rows,
    full_sizes,
    planes,
    positions,
    row_refusal,
    tile,
    tile_rows,
)
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

SIZES = ["rows", "n", "inner", "chunk", "splits"]
STEPS = [f"{a}{axis}" for a in "xydg" for axis in "oni"]


@triton.jit
def shift_of(m):
    """The maximum where it is finite, else what keeps exp(x - shift) defined."""
    return tl.where(m == float("-inf"), 0.0, m)


@triton.jit
def running_sum(x_ptrs, mask_t, start, stop, xn, ACC: tl.constexpr, X_UNIT: tl.constexpr,
                VEC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr):  # fmt: skip
    """(maximum m, sum of exp(x - m)) of BLOCK_T rows between two positions; x is read once."""
    m = tl.full((BLOCK_T,), float("-inf"), ACC)
    s = tl.zeros((BLOCK_T,), ACC)
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = mask_t[:, None] & (r < stop)[None, :]
        x = tl.load(x_ptrs + along(r, xn, X_UNIT, VEC)[None, :], mask=mask, other=float("-inf"))
        x = x.to(ACC)
        m_new = tl.maximum(m, tl.max(x, 1))
        shift = shift_of(m_new)
        s = s * tl.exp(m - shift) + tl.sum(tl.exp(x - shift[:, None]), 1)
        m = m_new
    return m, s


@triton.jit
def merged_parts(m_ptr, s_ptr, row, mask_t, rows, splits, SPLITS: tl.constexpr):
    """(maximum, sum) of whole rows from those of their parts, (splits, rows)."""
    part = tl.arange(0, SPLITS)
    mask = mask_t[:, None] & (part < splits)[None, :]
    at = part[None, :] * rows + row[:, None]
    ms = tl.load(m_ptr + at, mask=mask, other=float("-inf"))
    ss = tl.load(s_ptr + at, mask=mask, other=0)
    m = tl.max(ms, 1)
    return m, tl.sum(ss * tl.exp(ms - shift_of(m)[:, None]), 1)


@triton.jit
def write_softmax(
    y_ptrs, x_ptrs, mask_t, m, s, start, stop, yn, xn,
    LOG: tl.constexpr, ACC: tl.constexpr, Y_UNIT: tl.constexpr, X_UNIT: tl.constexpr,
    VEC: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y between two positions of BLOCK_T rows of known maximum and sum."""
    if LOG:
        m += tl.log(s)
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = mask_t[:, None] & (r < stop)[None, :]
        x = tl.load(x_ptrs + along(r, xn, X_UNIT, VEC)[None, :], mask=mask, other=float("-inf"))
        y = x.to(ACC) - m[:, None]
        if not LOG:
            y = tl.exp(y) / s[:, None]
        y_at = along(r, yn, Y_UNIT, VEC)[None, :]
        tl.store(y_ptrs + y_at, maths.to(y, y_ptrs.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def softmax_kernel(
    y_ptr, x_ptr, rows, n, inner, yo, yn, yi, xo, xn, xi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, Y_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, ONE_PASS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y = softmax(x) (LOG: its logarithm) for BLOCK_T rows. ONE_PASS reads x once, else twice."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    x_ptrs = x_ptr + at_rows(o, i, xo, xi, X_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT, VEC)[:, None]
    if ONE_PASS:
        offs = positions(BLOCK_N, WIDE)
        mask = mask_t[:, None] & (offs < n)[None, :]
        x_at = along(offs, xn, X_UNIT, VEC)[None, :]
        x = tl.load(x_ptrs + x_at, mask=mask, other=float("-inf")).to(ACC)
        x -= tl.max(x, 1, keep_dims=True)
        e = tl.exp(x)
        s = tl.sum(e, 1, keep_dims=True)
        if LOG:
            y = x - tl.log(s)
        else:
            y = e / s
        y_at = along(offs, yn, Y_UNIT, VEC)[None, :]
        tl.store(y_ptrs + y_at, maths.to(y, y_ptr.dtype.element_ty), mask=mask)
    else:
        m, s = running_sum(x_ptrs, mask_t, 0, n, xn, ACC, X_UNIT, VEC, BLOCK_T, BLOCK_N)
        write_softmax(
            y_ptrs, x_ptrs, mask_t, m, s, 0, n, yn, xn, LOG, ACC, Y_UNIT, X_UNIT, VEC, BLOCK_N
        )


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def softmax_parts_kernel(
    m_ptr, s_ptr, x_ptr, rows, n, inner, chunk, xo, xn, xi,
    ACC: tl.constexpr, LAYOUT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """m, s[part, row] = maximum and sum of exp(x - m) of a chunk of BLOCK_T rows."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    x_ptrs = x_ptr + at_rows(o, i, xo, xi, X_UNIT, VEC)[:, None]
    part = tl.program_id(1)
    start = part * (chunk * VEC)
    stop = tl.minimum(start + chunk * VEC, n)
    m, s = running_sum(x_ptrs, mask_t, start, stop, xn, ACC, X_UNIT, VEC, BLOCK_T, BLOCK_N)
    at = part * rows + o * inner + i
    tl.store(m_ptr + at, m, mask=mask_t)
    tl.store(s_ptr + at, s, mask=mask_t)


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def softmax_merge_kernel(
    y_ptr, x_ptr, m_ptr, s_ptr, rows, n, inner, chunk, splits, yo, yn, yi, xo, xn, xi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, Y_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, SPLITS: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y of one chunk of BLOCK_T rows from the maxima and sums of all chunks."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    x_ptrs = x_ptr + at_rows(o, i, xo, xi, X_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT, VEC)[:, None]
    m, s = merged_parts(m_ptr, s_ptr, o * inner + i, mask_t, rows, splits, SPLITS)
    start = tl.program_id(1) * (chunk * VEC)
    stop = tl.minimum(start + chunk * VEC, n)
    write_softmax(
        y_ptrs, x_ptrs, mask_t, m, s, start, stop, yn, xn, LOG, ACC, Y_UNIT, X_UNIT, VEC, BLOCK_N
    )


# ---- backward ------------------------------------------------------------------------------------


@triton.jit
def product_sum(
    g_ptrs, y_ptrs, mask_t, start, stop, gn, yn,
    LOG: tl.constexpr, ACC: tl.constexpr, G_UNIT: tl.constexpr, Y_UNIT: tl.constexpr,
    VEC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """sum(g y) between two positions of BLOCK_T rows, LOG: sum(g)."""
    acc = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = mask_t[:, None] & (r < stop)[None, :]
        g = tl.load(g_ptrs + along(r, gn, G_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        if LOG:
            acc += g
        else:
            y = tl.load(y_ptrs + along(r, yn, Y_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
            acc += g * y
    return tl.sum(acc, 1)


@triton.jit
def write_gradient(
    dx_ptrs, g_ptrs, y_ptrs, mask_t, total, start, stop, dn, gn, yn,
    LOG: tl.constexpr, ACC: tl.constexpr, D_UNIT: tl.constexpr, G_UNIT: tl.constexpr,
    Y_UNIT: tl.constexpr, VEC: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx between two positions of BLOCK_T rows with :func:`product_sum` ``total``."""
    for at in range(start, stop, BLOCK_N):
        r = at + tl.arange(0, BLOCK_N)
        mask = mask_t[:, None] & (r < stop)[None, :]
        g = tl.load(g_ptrs + along(r, gn, G_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        y = tl.load(y_ptrs + along(r, yn, Y_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        if LOG:
            dx = g - tl.exp(y) * total[:, None]
        else:
            dx = y * (g - total[:, None])
        dx_at = along(r, dn, D_UNIT, VEC)[None, :]
        tl.store(dx_ptrs + dx_at, maths.to(dx, dx_ptrs.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def softmax_backward_kernel(
    dx_ptr, g_ptr, y_ptr, rows, n, inner, do, dn, di, go, gn, gi, yo, yn, yi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, D_UNIT: tl.constexpr,
    G_UNIT: tl.constexpr, Y_UNIT: tl.constexpr, VEC: tl.constexpr, ONE_PASS: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx = y * (g - sum(g * y)), LOG: g - exp(y) * sum(g). ONE_PASS reads g and y once."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    g_ptrs = g_ptr + at_rows(o, i, go, gi, G_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT, VEC)[:, None]
    dx_ptrs = dx_ptr + at_rows(o, i, do, di, D_UNIT, VEC)[:, None]
    if ONE_PASS:
        offs = positions(BLOCK_N, WIDE)
        mask = mask_t[:, None] & (offs < n)[None, :]
        g = tl.load(g_ptrs + along(offs, gn, G_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        y = tl.load(y_ptrs + along(offs, yn, Y_UNIT, VEC)[None, :], mask=mask, other=0).to(ACC)
        if LOG:
            dx = g - tl.exp(y) * tl.sum(g, 1, keep_dims=True)
        else:
            dx = y * (g - tl.sum(g * y, 1, keep_dims=True))
        at = along(offs, dn, D_UNIT, VEC)[None, :]
        tl.store(dx_ptrs + at, maths.to(dx, dx_ptr.dtype.element_ty), mask=mask)
    else:
        total = product_sum(
            g_ptrs, y_ptrs, mask_t, 0, n, gn, yn, LOG, ACC, G_UNIT, Y_UNIT, VEC, BLOCK_T, BLOCK_N
        )
        write_gradient(
            dx_ptrs, g_ptrs, y_ptrs, mask_t, total, 0, n, dn, gn, yn,
            LOG, ACC, D_UNIT, G_UNIT, Y_UNIT, VEC, BLOCK_N,
        )  # fmt: skip


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def backward_parts_kernel(
    s_ptr, g_ptr, y_ptr, rows, n, inner, chunk, go, gn, gi, yo, yn, yi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, G_UNIT: tl.constexpr,
    Y_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """s[part, row] = :func:`product_sum` of a chunk of BLOCK_T rows."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    g_ptrs = g_ptr + at_rows(o, i, go, gi, G_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT, VEC)[:, None]
    part = tl.program_id(1)
    start = part * (chunk * VEC)
    stop = tl.minimum(start + chunk * VEC, n)
    s = product_sum(
        g_ptrs, y_ptrs, mask_t, start, stop, gn, yn,
        LOG, ACC, G_UNIT, Y_UNIT, VEC, BLOCK_T, BLOCK_N,
    )  # fmt: skip
    tl.store(s_ptr + part * rows + o * inner + i, s, mask=mask_t)


@triton.jit(do_not_specialize=[*SIZES, *STEPS])
def backward_merge_kernel(
    dx_ptr, g_ptr, y_ptr, s_ptr, rows, n, inner, chunk, splits, do, dn, di, go, gn, gi, yo, yn, yi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, D_UNIT: tl.constexpr,
    G_UNIT: tl.constexpr, Y_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx of one chunk of BLOCK_T rows from the sums of all chunks."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    g_ptrs = g_ptr + at_rows(o, i, go, gi, G_UNIT, VEC)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT, VEC)[:, None]
    dx_ptrs = dx_ptr + at_rows(o, i, do, di, D_UNIT, VEC)[:, None]
    part = tl.arange(0, SPLITS)
    mask = mask_t[:, None] & (part < splits)[None, :]
    at = part[None, :] * rows + (o * inner + i)[:, None]
    total = tl.sum(tl.load(s_ptr + at, mask=mask, other=0), 1)
    start = tl.program_id(1) * (chunk * VEC)
    stop = tl.minimum(start + chunk * VEC, n)
    write_gradient(
        dx_ptrs, g_ptrs, y_ptrs, mask_t, total, start, stop, dn, gn, yn,
        LOG, ACC, D_UNIT, G_UNIT, Y_UNIT, VEC, BLOCK_N,
    )  # fmt: skip


# ---- launching -----------------------------------------------------------------------------------


def accumulator(*arrays: CudaArray | None) -> tl.dtype:
    """float64 if an array has it, else float32."""
    double = any(a is not None and a.dtype.name == "float64" for a in arrays)
    return tl.float64 if double else tl.float32


def along_dim(x: CudaArray, dim: int):
    return planes(x, dim, dim + 1) if x.ndim else planes(x, 0, 0)


def parts_of(p: Planes, t: Tile, acc: tl.dtype, vec: int, splits: int, chunk: int) -> list:
    """Maxima and sums of exp of all chunks of all rows of p, each (splits, rows)."""
    parts = [cuda.empty((splits, p.rows), NUMPY[acc]) for _ in range(2)]
    cuda.launch(
        softmax_parts_kernel, (*t.grid(p), splits), *parts, p.x, p.rows, *p.sizes_in(vec),
        chunk // vec, *p.steps_in(vec), ACC=acc, LAYOUT=p.layout, X_UNIT=p.unit, VEC=vec,
        WIDE=p.wide, BLOCK_T=t.block_t, BLOCK_N=t.block_n, num_warps=t.num_warps,
    )  # fmt: skip
    return parts


NUMPY = {tl.float32: np.dtype(np.float32), tl.float64: np.dtype(np.float64)}


def forward(y: CudaArray, x: CudaArray, dim: int, log: bool) -> None:
    if y.size == 0:
        return
    out, p = along_dim(y, dim), along_dim(x, dim)
    acc = accumulator(x, y)
    t, vec = tile(p, acc, kernel="softmax"), common_vec(p, out)
    splits, chunk = t.splits(p)
    steps = (*out.steps_in(vec), *p.steps_in(vec))
    shared = {
        "LOG": log, "ACC": acc, "LAYOUT": p.layout, "Y_UNIT": out.unit, "X_UNIT": p.unit,
        "VEC": vec, "WIDE": p.wide or out.wide, "BLOCK_T": t.block_t, "BLOCK_N": t.block_n,
        "num_warps": t.num_warps,
    }  # fmt: skip
    if splits == 1:
        cuda.launch(
            softmax_kernel, t.grid(p), y, p.x, p.rows, *p.sizes_in(vec), *steps,
            ONE_PASS=t.one_pass, **shared,
        )  # fmt: skip
        return
    parts = parts_of(p, t, acc, vec, splits, chunk)
    cuda.launch(
        softmax_merge_kernel, (*t.grid(p), splits), y, p.x, *parts, p.rows, *p.sizes_in(vec),
        chunk // vec, splits, *steps, SPLITS=triton.next_power_of_2(splits), **shared,
    )  # fmt: skip


def backward(dx: CudaArray, g: CudaArray, y: CudaArray, dim: int, log: bool) -> None:
    if dx.size == 0:
        return
    out, pg, py = along_dim(dx, dim), along_dim(g, dim), along_dim(y, dim)
    acc = accumulator(dx, g, y)
    t = tile(out, acc, arrays=2, per_warp=512, kernel="softmax_backward")
    vec = common_vec(out, pg, py)
    splits, chunk = t.splits(out)
    steps = (*pg.steps_in(vec), *py.steps_in(vec))
    sizes = (out.rows, *out.sizes_in(vec))
    shared = {
        "LOG": log, "ACC": acc, "LAYOUT": out.layout, "G_UNIT": pg.unit, "Y_UNIT": py.unit,
        "VEC": vec, "WIDE": out.wide or pg.wide or py.wide, "BLOCK_T": t.block_t,
        "BLOCK_N": t.block_n, "num_warps": t.num_warps,
    }  # fmt: skip
    if splits == 1:
        cuda.launch(
            softmax_backward_kernel, t.grid(out), dx, pg.x, py.x, *sizes, *out.steps_in(vec),
            *steps, D_UNIT=out.unit, ONE_PASS=t.one_pass, **shared,
        )  # fmt: skip
        return
    part = cuda.empty((splits, out.rows), NUMPY[acc])
    cuda.launch(
        backward_parts_kernel, (*t.grid(out), splits), part, pg.x, py.x, *sizes, chunk // vec,
        *steps, **shared,
    )  # fmt: skip
    cuda.launch(
        backward_merge_kernel, (*t.grid(out), splits), dx, pg.x, py.x, part, *sizes, chunk // vec,
        splits, *out.steps_in(vec), *steps, D_UNIT=out.unit,
        SPLITS=triton.next_power_of_2(splits), **shared,
    )  # fmt: skip


TINY = example("softmax", array(8, 60), 1, backward=True)
declare_rows("softmax", TINY)
declare_rows("softmax_backward", TINY, lambda c, case: row_refusal(c, case, arrays=2))


@kernel("_softmax", "cuda")
def _softmax(y, x, dim, dtype):
    forward(y, x, dim, False)


@kernel("_log_softmax", "cuda")
def _log_softmax(y, x, dim, dtype):
    forward(y, x, dim, True)


@kernel("softmax_backward", "cuda")
def softmax_backward(dx, g, y, dim):
    backward(dx, g, y, dim, False)


@kernel("log_softmax_backward", "cuda")
def log_softmax_backward(dx, g, y, dim):
    backward(dx, g, y, dim, True)
