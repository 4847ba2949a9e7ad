"""Batch norm: two sums per channel in one pass, then one pointwise pass.

A program sums a tile of channels x positions; few channels are split over programs, whose partial
sums a second kernel adds up and turns into what the pointwise pass needs per channel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.dtypes import from_numpy_dtype
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.axes import (
    PLAIN,
    Axes,
    declare_reduction,
    full_counts,
    locate,
    split,
    tiles,
)
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.norm import dense, real
from tgrad.kernels.cuda.pointwise import launch_expression
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit(do_not_specialize=PLAIN)
def channel_sums_kernel(
    part_ptr, x_ptr, g_ptr, mean_ptr, channels, length, chunk,
    xkn0, xkn1, xks0, xks1, xks2, xrn0, xrn1, xrs0, xrs1, xrs2,
    gkn0, gkn1, gks0, gks1, gks2, grn0, grn1, grs0, grs1, grs2,
    BACKWARD: tl.constexpr, K_COUNT: tl.constexpr, ACC: tl.constexpr,
    X_COUNT: tl.constexpr, X_UNIT: tl.constexpr, G_COUNT: tl.constexpr, G_UNIT: tl.constexpr,
    XK_UNIT: tl.constexpr, GK_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """part[s, 0:2, c]: over the s-th chunk, the sums of x - x0 and its square, x0 the channel's
    first element; BACKWARD the sums of g and g (x - mean). Everything is read once.
    """
    channels, length, chunk = full_counts(channels, length, chunk, XK_UNIT, X_UNIT, VEC)
    k = tl.program_id(0)
    part = tl.program_id(1)
    if WIDE:
        k = k.to(tl.int64)
        part = part.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    mask_k = offs_k < channels
    x_k = x_ptr + locate(offs_k, xkn0, xkn1, xks0, xks1, xks2, K_COUNT, XK_UNIT, VEC)[:, None]
    g_k = g_ptr + locate(offs_k, gkn0, gkn1, gks0, gks1, gks2, K_COUNT, GK_UNIT, VEC)[:, None]
    if BACKWARD:
        origin = tl.load(mean_ptr + offs_k, mask=mask_k, other=0)[:, None]
    else:
        origin = tl.load(x_k, mask=mask_k[:, None], other=0).to(ACC)
    first = tl.zeros((BLOCK_K, BLOCK_R), ACC)
    second = tl.zeros((BLOCK_K, BLOCK_R), ACC)
    start = part * chunk
    stop = tl.minimum(start + chunk, length)
    for r in range(start, stop, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        mask = mask_k[:, None] & (offs_r < stop)[None, :]
        at = locate(offs_r, xrn0, xrn1, xrs0, xrs1, xrs2, X_COUNT, X_UNIT, VEC)
        x = tl.load(x_k + at[None, :], mask=mask, other=0).to(ACC)
        d = tl.where(mask, x - origin, 0)
        if BACKWARD:
            at = locate(offs_r, grn0, grn1, grs0, grs1, grs2, G_COUNT, G_UNIT, VEC)
            g = tl.load(g_k + at[None, :], mask=mask, other=0).to(ACC)
            first += g
            second += g * d
        else:
            first += d
            second += d * d
    at = part * 2 * channels + offs_k
    tl.store(part_ptr + at, tl.sum(first, 1), mask=mask_k)
    tl.store(part_ptr + at + channels, tl.sum(second, 1), mask=mask_k)


@triton.jit(do_not_specialize=PLAIN)
def statistics_kernel(
    mean_ptr, var_ptr, scale_ptr, part_ptr, x_ptr, w_ptr, channels, step_c, step_w, splits, n, eps,
    W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """mean, biased var and w / sqrt(var + eps) of BLOCK channels from their partial sums."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < channels
    T: tl.constexpr = mean_ptr.dtype.element_ty
    first = tl.zeros((BLOCK,), T)
    second = tl.zeros((BLOCK,), T)
    for s in range(splits):
        at = s * 2 * channels + offs
        first += tl.load(part_ptr + at, mask=mask, other=0)
        second += tl.load(part_ptr + at + channels, mask=mask, other=0)
    first = first / n
    var = tl.maximum(second / n - first * first, 0)
    origin = tl.load(x_ptr + offs * step_c, mask=mask, other=0).to(T)
    scale = 1 / maths.sqrt(var + eps)
    if W:
        scale *= tl.load(w_ptr + offs * step_w, mask=mask, other=0).to(T)
    tl.store(mean_ptr + offs, first + origin, mask=mask)
    tl.store(var_ptr + offs, var, mask=mask)
    tl.store(scale_ptr + offs, scale, mask=mask)


@triton.jit(do_not_specialize=PLAIN)
def coefficients_kernel(
    dw_ptr, db_ptr, out_ptr, part_ptr, var_ptr, w_ptr, channels, step_w, splits, n, eps,
    W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dw, db, and (a, b, c) with dx = a g + b (x - mean) + c, for BLOCK channels."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < channels
    T: tl.constexpr = var_ptr.dtype.element_ty
    total = tl.zeros((BLOCK,), T)
    product = tl.zeros((BLOCK,), T)
    for s in range(splits):
        at = s * 2 * channels + offs
        total += tl.load(part_ptr + at, mask=mask, other=0)
        product += tl.load(part_ptr + at + channels, mask=mask, other=0)
    rstd = 1 / maths.sqrt(tl.load(var_ptr + offs, mask=mask, other=0) + eps)
    a = rstd
    if W:
        a *= tl.load(w_ptr + offs * step_w, mask=mask, other=0).to(T)
    tl.store(out_ptr + offs, a, mask=mask)
    tl.store(out_ptr + channels + offs, -a * rstd * rstd * product / n, mask=mask)
    tl.store(out_ptr + 2 * channels + offs, -a * total / n, mask=mask)
    tl.store(dw_ptr + offs, maths.to(product * rstd, dw_ptr.dtype.element_ty), mask=mask)
    tl.store(db_ptr + offs, maths.to(total, db_ptr.dtype.element_ty), mask=mask)


def normalized(x, mean, scale):
    return (x - mean) * scale


def normalized_shifted(x, mean, scale, bias):
    return (x - mean) * scale + bias


def combined(g, x, mean, a, b, c):
    return a * g + b * (x - mean) + c


def channel_sums(x: CudaArray, g: CudaArray | None, mean: CudaArray) -> tuple[CudaArray, Axes]:
    """Partial sums (splits, 2, C), and the axes of x that they are over."""
    others = (0, *range(2, x.ndim))
    xs = split(x, others, ordered=True)
    gs = xs if g is None else split(g, others, ordered=True)
    t = tiles(xs, 2048, kernel="batch_norm" if g is None else "batch_norm_backward")
    part = cuda.empty((t.splits, 2, x.shape[1]), mean.dtype)
    alike = xs.r_unit == gs.r_unit and xs.k_unit == gs.k_unit
    vec = min(xs.vec, gs.vec) if alike else 1
    cuda.launch(
        channel_sums_kernel, t.grid(xs.rows), part, xs.x, gs.x, mean, *xs.counts(t.chunk, vec),
        *xs.arguments(vec), *gs.arguments(vec), BACKWARD=g is not None, K_COUNT=1,
        ACC=tl.float64 if mean.dtype.itemsize == 8 else tl.float32,
        X_COUNT=len(xs.reduced), X_UNIT=xs.r_unit,
        G_COUNT=len(gs.reduced), G_UNIT=gs.r_unit, XK_UNIT=xs.k_unit, GK_UNIT=gs.k_unit, VEC=vec,
        WIDE=xs.wide or gs.wide, BLOCK_K=t.block_k, BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip
    return part, xs


def per_channel(v: CudaArray, ndim: int) -> CudaArray:
    """A (C) array that broadcasts along dim 1."""
    return v.reshape((v.shape[0], *[1] * (ndim - 2)))


TINY = example(
    "nn.functional.batch_norm", array(5, 6, 7, 3), None, None, array(6), array(6), True,
    backward=True,
)  # fmt: skip
declare_reduction("batch_norm", TINY)
declare_reduction("batch_norm_backward", TINY)

BLOCK = 128  # channels a program of the second kernels


@kernel("_batch_norm", "cuda")
def _batch_norm(y, mean, var, x, weight, bias, eps):
    channels = x.shape[1]
    if y.size == 0:
        _fill(mean, mean, float("nan"))
        _fill(var, var, float("nan"))
        return
    part, axes = channel_sums(x, None, mean)
    scale = cuda.empty((channels,), mean.dtype)
    cuda.launch(
        statistics_kernel, (triton.cdiv(channels, BLOCK),), mean, var, scale, part, axes.x,
        mean if weight is None else weight, channels, axes.kept[0][1],
        0 if weight is None else weight.steps[0], part.shape[0], axes.length, real(eps, mean.dtype),
        W=weight is not None, BLOCK=BLOCK,
    )  # fmt: skip
    vectors = [mean, scale] if bias is None else [mean, scale, bias]
    launch_expression(
        normalized if bias is None else normalized_shifted,
        [y],
        [x, *[per_channel(v, x.ndim) for v in vectors]],
        from_numpy_dtype(mean.dtype),
    )


@kernel("batch_norm_backward", "cuda")
def batch_norm_backward(dx, dw, db, g, x, weight, mean, var, eps):
    channels, wide = x.shape[1], from_numpy_dtype(mean.dtype)
    if dx.size == 0:
        _fill(dw, dw, 0)
        _fill(db, db, 0)
        return
    mean, var = dense(mean), dense(var)
    part, axes = channel_sums(x, g, mean)
    out = cuda.empty((3, channels), mean.dtype)
    cuda.launch(
        coefficients_kernel, (triton.cdiv(channels, BLOCK),), dw, db, out, part, var,
        mean if weight is None else weight, channels, 0 if weight is None else weight.steps[0],
        part.shape[0], axes.length, real(eps, mean.dtype), W=weight is not None, BLOCK=BLOCK,
    )  # fmt: skip
    vectors = [per_channel(v, x.ndim) for v in (mean, out[0], out[1], out[2])]
    launch_expression(combined, [dx], [g, x, *vectors], wide)
