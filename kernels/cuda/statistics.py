"""Variance and mean in one pass: Welford's update in every lane, Chan's formula between lanes."""

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
    declare_reduction,
    full_counts,
    locate,
    split,
    tiles,
)
from tgrad.kernels.cuda.configs import array, example
from tgrad.runtime import cuda


@triton.jit
def merged(mean, m2, number):
    """Moments of the union of groups along axis 1 (Chan, Golub and LeVeque 1979).

    ``mean`` and ``m2``, the squares around it, are per group, ``number`` its size.
    """
    n = tl.sum(number, 1)
    center = tl.sum(mean * number, 1) / n
    away = mean - center[:, None]
    return center, tl.sum(m2 + number * away * away, 1)


@triton.jit(do_not_specialize=PLAIN)
def moments_kernel(
    y_ptr, mean_ptr, x_ptr, rows, length, chunk, free,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    ROOT: tl.constexpr, LAST: tl.constexpr, ACC: tl.constexpr, K_COUNT: tl.constexpr,
    K_UNIT: tl.constexpr, R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """Mean and variance (LAST), or mean and sum of squares, of the s-th chunk of x[k, :].

    Lane j sees elements j, j + BLOCK_R, ... and updates its own mean (Welford 1962), without
    talking to its neighbours until the end. Reads x once.
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
    mean = tl.zeros((BLOCK_K, BLOCK_R), ACC)
    m2 = tl.zeros((BLOCK_K, BLOCK_R), ACC)
    number = tl.zeros((1, BLOCK_R), ACC)
    for r in range(start, stop, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        inside = (offs_r < stop)[None, :]
        mask = mask_k[:, None] & inside
        x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=0).to(ACC)
        number += inside.to(ACC)
        away = x - mean
        mean = tl.where(mask, mean + away / tl.maximum(number, 1), mean)
        m2 = tl.where(mask, m2 + away * (x - mean), m2)
    center, squares = merged(mean, m2, number)
    out = part * rows + offs_k
    if LAST:
        y = squares / tl.full((1,), free, ACC)
        if ROOT:
            y = maths.sqrt(y)
        tl.store(y_ptr + out, maths.to(y, y_ptr.dtype.element_ty), mask=mask_k)
        tl.store(mean_ptr + out, maths.to(center, mean_ptr.dtype.element_ty), mask=mask_k)
    else:
        tl.store(y_ptr + out, squares, mask=mask_k)
        tl.store(mean_ptr + out, center, mask=mask_k)


@triton.jit(do_not_specialize=PLAIN)
def moments_merge_kernel(
    y_ptr, mean_ptr, m2s_ptr, means_ptr, rows, length, chunk, splits, free,
    ROOT: tl.constexpr, ACC: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Mean and variance of BLOCK_K rows from those of their chunks."""
    offs_k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    offs_s = tl.arange(0, BLOCK_S)
    mask_k = offs_k < rows
    mask = mask_k[:, None] & (offs_s < splits)[None, :]
    at = offs_s[None, :] * rows + offs_k[:, None]
    number = tl.minimum(tl.maximum(length - offs_s * chunk, 0), chunk)
    mean = tl.load(means_ptr + at, mask=mask, other=0)
    m2 = tl.load(m2s_ptr + at, mask=mask, other=0)
    center, squares = merged(mean, m2, number.to(ACC)[None, :])
    y = squares / tl.full((1,), free, ACC)
    if ROOT:
        y = maths.sqrt(y)
    tl.store(y_ptr + offs_k, maths.to(y, y_ptr.dtype.element_ty), mask=mask_k)
    tl.store(mean_ptr + offs_k, maths.to(center, mean_ptr.dtype.element_ty), mask=mask_k)


declare_reduction("var_mean", example("var_mean", array(12, 70), 1))


@kernel("_var_mean", "cuda")
def _var_mean(y, mean, x, dim, correction, keepdim, root):
    if y.size == 0:
        return
    axes = split(x, dim)
    t = tiles(axes, 2048, kernel="var_mean")
    name = "float64" if x.dtype.itemsize == 8 else "float32"
    free = max(axes.length - correction, 0)
    free = np.float64(free) if name == "float64" else float(free)
    shared = {"ROOT": root, "ACC": getattr(tl, name)}
    m2s, means = y, mean
    if t.splits > 1:
        m2s, means = (cuda.empty((t.splits, axes.rows), np.dtype(name)) for _ in range(2))
    cuda.launch(
        moments_kernel, t.grid(axes.rows), m2s, means, axes.x,
        *axes.counts(t.chunk), free, *axes.arguments(), **axes.constants(), LAST=t.splits == 1,
        **shared, BLOCK_K=t.block_k, BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip
    if t.splits > 1:
        block_s = triton.next_power_of_2(t.splits)
        block_k = max(1, min(triton.next_power_of_2(axes.rows), 2048 // block_s))
        cuda.launch(
            moments_merge_kernel, (triton.cdiv(axes.rows, block_k),), y, mean, m2s, means,
            axes.rows, axes.length, t.chunk, t.splits, free, **shared,
            BLOCK_K=block_k, BLOCK_S=block_s,
        )  # fmt: skip
