"""Losses over classes: one number per row, reduced in two deterministic passes.

Logits are read once forward and once backward; probabilities are never stored.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.norm import acc_of, dense, dense_or
from tgrad.kernels.cuda.rows import (
    Planes,
    along,
    at_rows,
    common_vec,
    declare_rows,
    full_sizes,
    planes,
    tile,
    tile_rows,
)
from tgrad.kernels.cuda.softmax import merged_parts, parts_of, running_sum
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit
def row_weights(w_ptr, t, valid, n, W: tl.constexpr, ACC: tl.constexpr):
    """weight[t], 0 where not valid."""
    if W:
        w = tl.load(w_ptr + t, mask=valid & (t >= 0) & (t < n), other=0).to(ACC)
    else:
        w = valid.to(ACC)
    return w


PLAIN = ["rows", "n", "inner", "splits", "ignore_index", *(f"{a}{k}" for a in "xd" for k in "oni")]


@triton.jit(do_not_specialize=PLAIN)
def class_loss_kernel(
    loss_ptr, total_ptr, lse_ptr, x_ptr, t_ptr, w_ptr, m_ptr, s_ptr, rows, n, inner, splits,
    xo, xn, xi, ignore_index,
    LOGITS: tl.constexpr, REDUCE: tl.constexpr, W: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """-w[t] x[t] of BLOCK_T rows, LOGITS: w[t] (lse - x[t]); REDUCE: their sum and that of w[t].

    A row's logsumexp is computed tile by tile with a running maximum, so that x is read once; or
    from the maxima and sums m, s of SPLITS parts (0: none).
    """
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    row = o * inner + i
    at = at_rows(o, i, xo, xi, X_UNIT, VEC)
    t = tl.load(t_ptr + row, mask=mask_t, other=0).to(tl.int64)
    valid = mask_t & (t != ignore_index)
    x_at = at + along(t, xn, X_UNIT, VEC)
    inside = valid & (t >= 0) & (t < n)
    picked = tl.load(x_ptr + x_at, mask=inside, other=float("nan")).to(ACC)
    loss = -picked
    if LOGITS:
        if SPLITS:
            m, s = merged_parts(m_ptr, s_ptr, row, mask_t, rows, splits, SPLITS)
        else:
            x_ptrs = x_ptr + at[:, None]
            m, s = running_sum(x_ptrs, mask_t, 0, n, xn, ACC, X_UNIT, VEC, BLOCK_T, BLOCK_N)
        lse = m + tl.log(s)
        tl.store(lse_ptr + row, lse, mask=mask_t)
        loss = lse - picked
    w = row_weights(w_ptr, t, valid, n, W, ACC)
    loss = tl.where(valid, loss * w, 0)
    if REDUCE:
        pid = tl.program_id(0)
        tl.store(loss_ptr + pid, tl.sum(loss, 0))
        tl.store(total_ptr + pid, tl.sum(w, 0))
    else:
        tl.store(loss_ptr + row, maths.to(loss, loss_ptr.dtype.element_ty), mask=mask_t)


@triton.jit(do_not_specialize=PLAIN)
def merged_loss_kernel(
    loss_ptr, total_ptr, lse_ptr, x_ptr, t_ptr, w_ptr, m_ptr, s_ptr, rows, n, inner, splits,
    xo, xn, xi, ignore_index,
    LOGITS: tl.constexpr, REDUCE: tl.constexpr, W: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The same of split rows. Of x it reads one element a row, beside the sums of its parts."""
    class_loss_kernel(
        loss_ptr, total_ptr, lse_ptr, x_ptr, t_ptr, w_ptr, m_ptr, s_ptr, rows, n, inner, splits,
        xo, xn, xi, ignore_index, LOGITS, REDUCE, W, ACC, LAYOUT, X_UNIT, VEC, WIDE, SPLITS,
        BLOCK_T, BLOCK_N,
    )  # fmt: skip


@triton.jit
def total_kernel(
    loss_ptr, total_ptr, losses_ptr, totals_ptr, n, MEAN: tl.constexpr, BLOCK: tl.constexpr
):
    """Sum of the programs' losses (MEAN: over that of their weights), in one program."""
    T: tl.constexpr = total_ptr.dtype.element_ty
    losses = tl.zeros((BLOCK,), T)
    totals = tl.zeros((BLOCK,), T)
    for start in range(0, n, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        losses += tl.load(losses_ptr + offs, mask=offs < n, other=0)
        totals += tl.load(totals_ptr + offs, mask=offs < n, other=0)
    loss = tl.sum(losses, 0)
    total = tl.sum(totals, 0)
    if MEAN:
        loss = maths.div(loss, total)
    tl.store(loss_ptr, maths.to(loss, loss_ptr.dtype.element_ty))
    tl.store(total_ptr, total)


@triton.jit(do_not_specialize=PLAIN)
def class_loss_backward_kernel(
    dx_ptr, g_ptr, x_ptr, t_ptr, w_ptr, lse_ptr, total_ptr, rows, n, inner, do, dn, di, xo, xn, xi,
    ignore_index,
    LOGITS: tl.constexpr, REDUCTION: tl.constexpr, W: tl.constexpr, ACC: tl.constexpr,
    LAYOUT: tl.constexpr, D_UNIT: tl.constexpr, X_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dx = g w[t] (exp(x - lse) - [class = t]), without LOGITS -g w[t] [class = t]; one tile."""
    n, inner = full_sizes(n, inner, LAYOUT, VEC, WIDE)
    o, i, mask_t = tile_rows(rows, inner, LAYOUT, WIDE, BLOCK_T)
    row = o * inner + i
    t = tl.load(t_ptr + row, mask=mask_t, other=0).to(tl.int64)
    valid = mask_t & (t != ignore_index)
    scale = row_weights(w_ptr, t, valid, n, W, ACC)
    if REDUCTION == "none":
        scale *= tl.load(g_ptr + row, mask=mask_t, other=0).to(ACC)
    else:
        scale *= tl.load(g_ptr).to(ACC)
        if REDUCTION == "mean":
            scale /= tl.load(total_ptr)
    scale = tl.where(valid, scale, 0)[:, None]
    r = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    if WIDE:
        r = r.to(tl.int64)
    mask = mask_t[:, None] & (r < n)[None, :]
    hit = (t[:, None] == r[None, :]).to(ACC)
    if LOGITS:
        x_at = at_rows(o, i, xo, xi, X_UNIT, VEC)[:, None] + along(r, xn, X_UNIT, VEC)[None, :]
        x = tl.load(x_ptr + x_at, mask=mask, other=0).to(ACC)
        lse = tl.load(lse_ptr + row, mask=mask_t, other=0)
        dx = (tl.exp(x - lse[:, None]) - hit) * scale
    else:
        dx = -hit * scale
    dx_at = at_rows(o, i, do, di, D_UNIT, VEC)[:, None] + along(r, dn, D_UNIT, VEC)[None, :]
    tl.store(dx_ptr + dx_at, maths.to(dx, dx_ptr.dtype.element_ty), mask=mask)


def forward(
    loss: CudaArray, total: CudaArray, lse: CudaArray | None, x: CudaArray, target: CudaArray,
    weight: CudaArray | None, ignore_index: int, reduction: str,
) -> None:  # fmt: skip
    p, acc, reduces = planes(x, 1, 2), acc_of(total.dtype), reduction != "none"
    t = tile(p, acc, elements=2048, kernel="" if lse is None else "cross_entropy")
    vec = common_vec(p)
    splits, chunk = t.splits(p) if lse is not None and target.size else (1, p.n)
    parts = [total, total] if splits == 1 else parts_of(p, t, acc, vec, splits, chunk)
    (programs,) = t.grid(p) if target.size else (0,)
    losses, totals = loss, total
    if reduces:
        losses, totals = (cuda.empty((programs,), total.dtype) for _ in range(2))
    cuda.launch(
        class_loss_kernel if splits == 1 else merged_loss_kernel, (programs,), losses, totals,
        total if lse is None else lse, p.x, dense(target), dense_or(weight, total), *parts, p.rows,
        *p.sizes_in(vec), splits, *p.steps_in(vec), ignore_index, LOGITS=lse is not None,
        REDUCE=reduces, W=weight is not None, ACC=acc, LAYOUT=p.layout, X_UNIT=p.unit, VEC=vec,
        WIDE=p.wide, SPLITS=0 if splits == 1 else triton.next_power_of_2(splits),
        BLOCK_T=t.block_t, BLOCK_N=t.block_n, num_warps=t.num_warps,
    )  # fmt: skip
    if reduces:
        cuda.launch(
            total_kernel, (1,), loss, total, losses, totals, programs, MEAN=reduction == "mean",
            BLOCK=min(4096, triton.next_power_of_2(max(programs, 1))),
        )  # fmt: skip


def backward(
    dx: CudaArray, g: CudaArray, x: CudaArray | None, target: CudaArray, weight: CudaArray | None,
    lse: CudaArray, total: CudaArray, ignore_index: int, reduction: str,
) -> None:  # fmt: skip
    if dx.size == 0:
        return
    out = planes(dx, 1, 2)
    p: Planes = out if x is None else planes(x, 1, 2)
    acc = acc_of(total.dtype)
    name = "" if x is None else "cross_entropy_backward"
    per_warp = 512 if acc == tl.float64 else 1024  # halved there again: 16 values a thread spill
    t = tile(out, acc, elements=4096, most=4096, per_warp=per_warp, kernel=name)
    vec = common_vec(out, p)
    cuda.launch(
        class_loss_backward_kernel, (*t.grid(out), triton.cdiv(out.n, t.block_n)), dx, dense(g),
        p.x, dense(target), dense_or(weight, total), dense(lse), total, out.rows,
        *out.sizes_in(vec), *out.steps_in(vec), *p.steps_in(vec), ignore_index,
        LOGITS=x is not None, REDUCTION=reduction, W=weight is not None, ACC=acc,
        LAYOUT=out.layout, D_UNIT=out.unit, X_UNIT=p.unit, VEC=vec, WIDE=out.wide or p.wide,
        BLOCK_T=t.block_t, BLOCK_N=t.block_n, num_warps=t.num_warps,
    )  # fmt: skip


TINY = example("nn.functional.cross_entropy", array(9, 37), array(9, dtype="int64"), backward=True)
declare_rows("cross_entropy", TINY)
declare_rows("cross_entropy_backward", TINY)


@kernel("_nll_loss", "cuda")
def _nll_loss(loss, total, x, target, weight, ignore_index, reduction):
    forward(loss, total, None, x, target, weight, ignore_index, reduction)


@kernel("_cross_entropy", "cuda")
def _cross_entropy(loss, lse, total, x, target, weight, ignore_index, reduction):
    forward(loss, total, lse, x, target, weight, ignore_index, reduction)


@kernel("nll_loss_backward", "cuda")
def nll_loss_backward(dx, g, target, weight, total, shape, ignore_index, reduction):
    backward(dx, g, None, target, weight, total, total, ignore_index, reduction)


@kernel("cross_entropy_backward", "cuda")
def cross_entropy_backward(dx, g, x, target, weight, lse, total, ignore_index, reduction):
    backward(dx, g, x, target, weight, lse, total, ignore_index, reduction)
