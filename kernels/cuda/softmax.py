"""Softmax and log-softmax: rows of any width, along any axis, without transposed copies.

A row that fits is read once and stays in registers; a longer one is walked twice, the first time
with a running maximum and sum (Milakov & Gimelshein 2018, arXiv:1805.02867).
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.rows import along, at_rows, planes, tile, tile_rows
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit
def shift_of(m):
    """The maximum where it is finite, else what keeps exp(x - shift) defined."""
    return tl.where(m == float("-inf"), 0.0, m)


@triton.jit
def softmax_kernel(
    y_ptr, x_ptr, rows, n, inner, yo, yn, yi, xo, xn, xi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, Y_UNIT: tl.constexpr,
    X_UNIT: tl.constexpr, ONE_PASS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """y = softmax(x) (LOG: its logarithm) for BLOCK_T rows. ONE_PASS reads x once, else twice."""
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    x_ptrs = x_ptr + at_rows(o, i, xo, xi, X_UNIT)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT)[:, None]
    offs = tl.arange(0, BLOCK_N)
    if ONE_PASS:
        mask = mask_t[:, None] & (offs < n)[None, :]
        x = tl.load(x_ptrs + along(offs, xn, X_UNIT)[None, :], mask=mask, other=float("-inf"))
        x = x.to(ACC)
        x -= tl.max(x, 1, keep_dims=True)
        e = tl.exp(x)
        s = tl.sum(e, 1, keep_dims=True)
        if LOG:
            y = x - tl.log(s)
        else:
            y = e / s
        y_at = along(offs, yn, Y_UNIT)[None, :]
        tl.store(y_ptrs + y_at, maths.to(y, y_ptr.dtype.element_ty), mask=mask)
    else:
        m = tl.full((BLOCK_T,), float("-inf"), ACC)
        s = tl.zeros((BLOCK_T,), ACC)
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask = mask_t[:, None] & (r < n)[None, :]
            x = tl.load(x_ptrs + along(r, xn, X_UNIT)[None, :], mask=mask, other=float("-inf"))
            x = x.to(ACC)
            m_new = tl.maximum(m, tl.max(x, 1))
            shift = shift_of(m_new)
            s = s * tl.exp(m - shift) + tl.sum(tl.exp(x - shift[:, None]), 1)
            m = m_new
        if LOG:
            shift = m + tl.log(s)
        else:
            shift = m
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask = mask_t[:, None] & (r < n)[None, :]
            x = tl.load(x_ptrs + along(r, xn, X_UNIT)[None, :], mask=mask, other=float("-inf"))
            y = x.to(ACC) - shift[:, None]
            if not LOG:
                y = tl.exp(y) / s[:, None]
            y_at = along(r, yn, Y_UNIT)[None, :]
            tl.store(y_ptrs + y_at, maths.to(y, y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def softmax_backward_kernel(
    dx_ptr, g_ptr, y_ptr, rows, n, inner, do, dn, di, go, gn, gi, yo, yn, yi,
    LOG: tl.constexpr, ACC: tl.constexpr, LAYOUT: tl.constexpr, D_UNIT: tl.constexpr,
    G_UNIT: tl.constexpr, Y_UNIT: tl.constexpr, ONE_PASS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx = y * (g - sum(g * y)), LOG: g - exp(y) * sum(g). ONE_PASS reads g and y once."""
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    g_ptrs = g_ptr + at_rows(o, i, go, gi, G_UNIT)[:, None]
    y_ptrs = y_ptr + at_rows(o, i, yo, yi, Y_UNIT)[:, None]
    dx_ptrs = dx_ptr + at_rows(o, i, do, di, D_UNIT)[:, None]
    offs = tl.arange(0, BLOCK_N)
    if ONE_PASS:
        mask = mask_t[:, None] & (offs < n)[None, :]
        g = tl.load(g_ptrs + along(offs, gn, G_UNIT)[None, :], mask=mask, other=0).to(ACC)
        y = tl.load(y_ptrs + along(offs, yn, Y_UNIT)[None, :], mask=mask, other=0).to(ACC)
        if LOG:
            dx = g - tl.exp(y) * tl.sum(g, 1, keep_dims=True)
        else:
            dx = y * (g - tl.sum(g * y, 1, keep_dims=True))
        at = along(offs, dn, D_UNIT)[None, :]
        tl.store(dx_ptrs + at, maths.to(dx, dx_ptr.dtype.element_ty), mask=mask)
    else:
        acc = tl.zeros((BLOCK_T, BLOCK_N), ACC)
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask = mask_t[:, None] & (r < n)[None, :]
            g = tl.load(g_ptrs + along(r, gn, G_UNIT)[None, :], mask=mask, other=0).to(ACC)
            if LOG:
                acc += g
            else:
                y = tl.load(y_ptrs + along(r, yn, Y_UNIT)[None, :], mask=mask, other=0).to(ACC)
                acc += g * y
        total = tl.sum(acc, 1, keep_dims=True)
        for start in range(0, n, BLOCK_N):
            r = start + offs
            mask = mask_t[:, None] & (r < n)[None, :]
            g = tl.load(g_ptrs + along(r, gn, G_UNIT)[None, :], mask=mask, other=0).to(ACC)
            y = tl.load(y_ptrs + along(r, yn, Y_UNIT)[None, :], mask=mask, other=0).to(ACC)
            if LOG:
                dx = g - tl.exp(y) * total
            else:
                dx = y * (g - total)
            at = along(r, dn, D_UNIT)[None, :]
            tl.store(dx_ptrs + at, maths.to(dx, dx_ptr.dtype.element_ty), mask=mask)


def accumulator(*arrays: CudaArray | None) -> tl.dtype:
    """float64 if an array has it, else float32."""
    double = any(a is not None and a.dtype.name == "float64" for a in arrays)
    return tl.float64 if double else tl.float32


def along_dim(x: CudaArray, dim: int):
    return planes(x, dim, dim + 1) if x.ndim else planes(x, 0, 0)


def forward(y: CudaArray, x: CudaArray, dim: int, log: bool) -> None:
    if y.size == 0:
        return
    out, p = along_dim(y, dim), along_dim(x, dim)
    acc = accumulator(x, y)
    t = tile(p, acc)
    cuda.launch(
        softmax_kernel, t.grid(p), y, p.x, p.rows, p.n, p.inner, *out.steps, *p.steps,
        LOG=log, ACC=acc, LAYOUT=p.layout, Y_UNIT=out.unit, X_UNIT=p.unit,
        ONE_PASS=t.one_pass, WIDE=p.wide or out.wide, BLOCK_T=t.block_t, BLOCK_N=t.block_n,
        num_warps=t.num_warps,
    )  # fmt: skip


def backward(dx: CudaArray, g: CudaArray, y: CudaArray, dim: int, log: bool) -> None:
    if dx.size == 0:
        return
    out, pg, py = along_dim(dx, dim), along_dim(g, dim), along_dim(y, dim)
    acc = accumulator(dx, g, y)
    t = tile(out, acc, most=8192, per_warp=512)
    cuda.launch(
        softmax_backward_kernel, t.grid(out), dx, pg.x, py.x, out.rows, out.n, out.inner,
        *out.steps, *pg.steps, *py.steps, LOG=log, ACC=acc, LAYOUT=out.layout,
        D_UNIT=out.unit, G_UNIT=pg.unit, Y_UNIT=py.unit, ONE_PASS=t.one_pass,
        WIDE=out.wide or pg.wide or py.wide, BLOCK_T=t.block_t, BLOCK_N=t.block_n,
        num_warps=t.num_warps,
    )  # fmt: skip


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
