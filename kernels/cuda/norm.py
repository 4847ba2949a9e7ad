"""Layer and RMS norm: rows in registers where they fit, walked twice where not.

The weight gradients are column sums: programs keep one partial sum per column in registers over
all rows that they visit, and a second pass adds those up; no atomics, so the result is the same
every time.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.reduction import reduce
from tgrad.kernels.cuda.rows import Planes, along, planes, tile
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

PROGRAMS = 264  # two per multiprocessor of an H100


@triton.jit
def layer_norm_kernel(
    y_ptr, mean_ptr, rstd_ptr, x_ptr, w_ptr, b_ptr, rows, n, x_row, x_n, eps,
    W: tl.constexpr, B: tl.constexpr, CENTERED: tl.constexpr, ACC: tl.constexpr,
    X_UNIT: tl.constexpr, ONE_PASS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) rstd w + b for BLOCK_T rows. ONE_PASS reads x once, else twice.

    A walked row's statistics are merged tile by tile (Chan, Golub & LeVeque 1979).
    """
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    k = pid * BLOCK_T + tl.arange(0, BLOCK_T)
    mask_t = k < rows
    x_ptrs = x_ptr + (k * x_row)[:, None]
    y_ptrs = y_ptr + (k * n)[:, None]
    offs = tl.arange(0, BLOCK_N)
    if ONE_PASS:
        mask_n = offs < n
        mask = mask_t[:, None] & mask_n[None, :]
        x = tl.load(x_ptrs + along(offs, x_n, X_UNIT)[None, :], mask=mask, other=0).to(ACC)
        mean = tl.zeros((BLOCK_T,), ACC)
        if CENTERED:
            mean = tl.sum(x, 1) / n
            x = tl.where(mask, x - mean[:, None], 0)
        var = tl.sum(x * x, 1) / n
        rstd = 1 / maths.sqrt(var + eps)
        y = x * rstd[:, None]
        if W:
            y *= tl.load(w_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
        if B:
            y += tl.load(b_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
        tl.store(y_ptrs + offs[None, :], maths.to(y, y_ptr.dtype.element_ty), mask=mask)
    else:
        mean = tl.zeros((BLOCK_T,), ACC)
        m2 = tl.zeros((BLOCK_T,), ACC)
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask = mask_t[:, None] & (r < n)[None, :]
            x = tl.load(x_ptrs + along(r, x_n, X_UNIT)[None, :], mask=mask, other=0).to(ACC)
            if CENTERED:
                here = tl.minimum(n - start, BLOCK_N).to(ACC)
                tile_mean = tl.sum(x, 1) / here
                d = tl.where(mask, x - tile_mean[:, None], 0)
                delta = tile_mean - mean
                share = here / (start + here)
                m2 += tl.sum(d * d, 1) + delta * delta * (share * start)
                mean += delta * share
            else:
                m2 += tl.sum(x * x, 1)
        rstd = 1 / maths.sqrt(m2 / n + eps)
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask_n = r < n
            mask = mask_t[:, None] & mask_n[None, :]
            x = tl.load(x_ptrs + along(r, x_n, X_UNIT)[None, :], mask=mask, other=0).to(ACC)
            y = (x - mean[:, None]) * rstd[:, None]
            if W:
                y *= tl.load(w_ptr + r, mask=mask_n, other=0).to(ACC)[None, :]
            if B:
                y += tl.load(b_ptr + r, mask=mask_n, other=0).to(ACC)[None, :]
            tl.store(y_ptrs + r[None, :], maths.to(y, y_ptr.dtype.element_ty), mask=mask)
    tl.store(mean_ptr + k, mean, mask=mask_t)
    tl.store(rstd_ptr + k, rstd, mask=mask_t)


@triton.jit
def layer_norm_backward_kernel(
    dx_ptr, dw_ptr, db_ptr, g_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, rows, n,
    g_row, g_n, x_row, x_n,
    DX: tl.constexpr, DW: tl.constexpr, DB: tl.constexpr, W: tl.constexpr, CENTERED: tl.constexpr,
    ACC: tl.constexpr, G_UNIT: tl.constexpr, X_UNIT: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx of every num_programs-th block of rows, and the sums of g x_hat and g over those rows.

    Reads g and x once; the partial sums (programs, n) are all else that is written.
    """
    pid = tl.program_id(0)
    step = tl.num_programs(0)
    if WIDE:
        pid = pid.to(tl.int64)
    offs = tl.arange(0, BLOCK_N)
    mask_n = offs < n
    dw = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    w = tl.full((1, 1), 1, ACC)
    if W:
        w = tl.load(w_ptr + offs, mask=mask_n, other=0).to(ACC)[None, :]
    for block in range(pid, tl.cdiv(rows, BLOCK_T), step):
        k = block * BLOCK_T + tl.arange(0, BLOCK_T)
        mask_t = k < rows
        mask = mask_t[:, None] & mask_n[None, :]
        x_at = (k * x_row)[:, None] + along(offs, x_n, X_UNIT)[None, :]
        g_at = (k * g_row)[:, None] + along(offs, g_n, G_UNIT)[None, :]
        x = tl.load(x_ptr + x_at, mask=mask, other=0).to(ACC)
        g = tl.load(g_ptr + g_at, mask=mask, other=0).to(ACC)
        mean = tl.load(mean_ptr + k, mask=mask_t, other=0)
        rstd = tl.load(rstd_ptr + k, mask=mask_t, other=0)[:, None]
        x_hat = (x - mean[:, None]) * rstd
        if DW:
            dw += g * x_hat  # g is 0 where masked
        if DB:
            db += g
        if DX:
            g *= w
            dx = g - x_hat * (tl.sum(g * x_hat, 1) / n)[:, None]
            if CENTERED:
                dx -= (tl.sum(g, 1) / n)[:, None]
            dx_at = (k * n)[:, None] + offs[None, :]
            tl.store(dx_ptr + dx_at, maths.to(dx * rstd, dx_ptr.dtype.element_ty), mask=mask)
    if DW:
        tl.store(dw_ptr + pid * n + offs, tl.sum(dw, 0), mask=mask_n)
    if DB:
        tl.store(db_ptr + pid * n + offs, tl.sum(db, 0), mask=mask_n)


@triton.jit
def layer_norm_backward_long_kernel(
    dx_ptr, g_ptr, x_ptr, w_ptr, mean_ptr, rstd_ptr, n, g_row, g_n, x_row, x_n,
    W: tl.constexpr, CENTERED: tl.constexpr, ACC: tl.constexpr,
    G_UNIT: tl.constexpr, X_UNIT: tl.constexpr, WIDE: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx of one row, walked twice: first for mean(g w) and mean(g w x_hat)."""
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    offs = tl.arange(0, BLOCK_N)
    mean = tl.load(mean_ptr + k)
    rstd = tl.load(rstd_ptr + k)
    level = tl.zeros((BLOCK_N,), ACC)
    slope = tl.zeros((BLOCK_N,), ACC)
    for start in range(0, n, BLOCK_N):
        r = start + offs
        mask = r < n
        g = tl.load(g_ptr + k * g_row + along(r, g_n, G_UNIT), mask=mask, other=0).to(ACC)
        x = tl.load(x_ptr + k * x_row + along(r, x_n, X_UNIT), mask=mask, other=0).to(ACC)
        if W:
            g *= tl.load(w_ptr + r, mask=mask, other=0).to(ACC)
        level += g
        slope += g * ((x - mean) * rstd)
    a = tl.sum(slope, 0) / n
    b = tl.sum(level, 0) / n
    for start in range(0, n, BLOCK_N):
        r = start + offs
        mask = r < n
        g = tl.load(g_ptr + k * g_row + along(r, g_n, G_UNIT), mask=mask, other=0).to(ACC)
        x = tl.load(x_ptr + k * x_row + along(r, x_n, X_UNIT), mask=mask, other=0).to(ACC)
        if W:
            g *= tl.load(w_ptr + r, mask=mask, other=0).to(ACC)
        dx = g - ((x - mean) * rstd) * a
        if CENTERED:
            dx -= b
        tl.store(dx_ptr + k * n + r, maths.to(dx * rstd, dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def layer_norm_columns_kernel(
    dw_ptr, db_ptr, g_ptr, x_ptr, mean_ptr, rstd_ptr, rows, n, g_row, g_n, x_row, x_n,
    DW: tl.constexpr, DB: tl.constexpr, ACC: tl.constexpr, G_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Sums of g x_hat and g over every num_programs-th block of rows, for BLOCK_N columns."""
    pid = tl.program_id(1)
    step = tl.num_programs(1)
    if WIDE:
        pid = pid.to(tl.int64)
    offs = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    mask_n = offs < n
    dw = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    db = tl.zeros((BLOCK_T, BLOCK_N), ACC)
    for block in range(pid, tl.cdiv(rows, BLOCK_T), step):
        k = block * BLOCK_T + tl.arange(0, BLOCK_T)
        mask_t = k < rows
        mask = mask_t[:, None] & mask_n[None, :]
        g_at = (k * g_row)[:, None] + along(offs, g_n, G_UNIT)[None, :]
        g = tl.load(g_ptr + g_at, mask=mask, other=0).to(ACC)
        if DW:
            x_at = (k * x_row)[:, None] + along(offs, x_n, X_UNIT)[None, :]
            x = tl.load(x_ptr + x_at, mask=mask, other=0).to(ACC)
            mean = tl.load(mean_ptr + k, mask=mask_t, other=0)
            rstd = tl.load(rstd_ptr + k, mask=mask_t, other=0)
            dw += g * ((x - mean[:, None]) * rstd[:, None])
        if DB:
            db += g
    if DW:
        tl.store(dw_ptr + pid * n + offs, tl.sum(dw, 0), mask=mask_n)
    if DB:
        tl.store(db_ptr + pid * n + offs, tl.sum(db, 0), mask=mask_n)


def dense_or(a: CudaArray | None, other: CudaArray) -> CudaArray:
    """A contiguous ``a``; ``other`` stands in the place of an absent argument."""
    return other if a is None else dense(a)


def dense(a: CudaArray) -> CudaArray:
    """``a`` itself where it is contiguous, else a copy that is."""
    if a.is_contiguous:
        return a
    fresh = cuda.empty(a.shape, a.dtype)
    copy(fresh, a)
    return fresh


def real(value: float, wide: np.dtype) -> float:
    """A float argument in the precision that the kernel computes in."""
    return np.float64(value) if wide.itemsize == 8 else float(value)


def acc_of(wide: np.dtype) -> tl.dtype:
    return tl.float64 if wide.itemsize == 8 else tl.float32


def rows_of(x: CudaArray, dims: int) -> Planes:
    return planes(x, x.ndim - dims, x.ndim)


@kernel("_layer_norm", "cuda")
def _layer_norm(y, mean, rstd, x, weight, bias, dims, eps, centered):
    if y.size == 0:
        return
    p, acc = rows_of(x, dims), acc_of(mean.dtype)
    t = tile(p, acc, elements=2048, per_warp=512)
    w, b = dense_or(weight, y), dense_or(bias, y)
    cuda.launch(
        layer_norm_kernel, t.grid(p), y, mean, rstd, p.x, w, b, p.rows, p.n, p.step_o, p.step_n,
        real(eps, mean.dtype), W=weight is not None, B=bias is not None, CENTERED=centered,
        ACC=acc, X_UNIT=p.unit, ONE_PASS=t.one_pass, WIDE=p.wide or 2 * y.size >= 2**31,
        BLOCK_T=t.block_t, BLOCK_N=t.block_n, num_warps=t.num_warps,
    )  # fmt: skip


@kernel("layer_norm_backward", "cuda")
def layer_norm_backward(dx, dw, db, g, x, weight, mean, rstd, dims, eps, centered, wanted):
    pg, px, wide = rows_of(g, dims), rows_of(x, dims), mean.dtype
    rows, n, acc = px.rows, px.n, acc_of(mean.dtype)
    if x.size == 0:
        for d, need in ((dw, wanted[1]), (db, wanted[2])):
            if need and d.size:
                _fill(d, d, 0)
        return
    m, r = dense(mean), dense(rstd)
    arrays = (pg.x, px.x, dense_or(weight, m), m, r)
    steps = (pg.step_o, pg.step_n, px.step_o, px.step_n)
    common = {
        "ACC": acc, "G_UNIT": pg.unit, "X_UNIT": px.unit,
        "WIDE": pg.wide or px.wide or 2 * x.size >= 2**31,
    }  # fmt: skip
    t = tile(px, acc, elements=2048, most=8192, per_warp=512)
    many = 3 if cuda.is_emulated() else PROGRAMS
    if t.one_pass:
        programs = min(triton.cdiv(rows, t.block_t), many)
        parts = [cuda.empty((programs, n), wide) if need else mean for need in wanted[1:]]
        cuda.launch(
            layer_norm_backward_kernel, (programs,), dx, *parts, *arrays, rows, n, *steps,
            DX=wanted[0], DW=wanted[1], DB=wanted[2], W=weight is not None, CENTERED=centered,
            **common, BLOCK_T=t.block_t, BLOCK_N=t.block_n, num_warps=t.num_warps,
        )  # fmt: skip
    else:
        if wanted[0]:
            cuda.launch(
                layer_norm_backward_long_kernel, (rows,), dx, *arrays, n, *steps,
                W=weight is not None, CENTERED=centered, **common, BLOCK_N=t.block_n,
                num_warps=t.num_warps,
            )  # fmt: skip
        block_t, block_n = min(16, triton.next_power_of_2(rows)), 128
        columns = triton.cdiv(n, block_n)
        programs = max(1, min(triton.cdiv(rows, block_t), many // columns))
        parts = [cuda.empty((programs, n), wide) if need else mean for need in wanted[1:]]
        if wanted[1] or wanted[2]:
            cuda.launch(
                layer_norm_columns_kernel, (columns, programs), *parts, pg.x, px.x, m, r, rows, n,
                *steps, DW=wanted[1], DB=wanted[2], **common, BLOCK_T=block_t, BLOCK_N=block_n,
                num_warps=4,
            )  # fmt: skip
    for d, part, need in zip((dw, db), parts, wanted[1:], strict=True):
        if need:
            reduce(d.reshape(n), part, (0,), "sum")
