"""Norms by the reduction kernel; log sum exp in one pass that rescales as the maximum grows."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

import math

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
    full_counts,
    locate,
    matrix,
    split,
    tiles,
)
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.reduction import reduce
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@kernel("_vector_norm", "cuda")
def _vector_norm(y, x, ord, dim, keepdim):
    if math.isinf(ord):
        reduce(y, x, dim, "max" if ord > 0 else "min", size=True)
    elif ord == 0:
        reduce(y, x, dim, "count")
    elif ord == 1:
        reduce(y, x, dim, "sum", size=True)
    elif ord == 2:
        reduce(y, x, dim, "sum_square", "root")
    else:
        reduce(y, x, dim, "sum_power", "power", ord)


@triton.jit(do_not_specialize=PLAIN)
def logsumexp_kernel(
    y_ptr, x_ptr, rows, length, chunk,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    ACC: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr, R_COUNT: tl.constexpr,
    R_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):  # fmt: skip
    """y[s, k] = log(sum(exp(x))) of the s-th chunk of x[k, :]. Reads x once, one exp an element.

    ``top`` is the largest so far and ``total`` the sum of exp(x - top), or of exp(x) where top is
    infinite, which gives inf and -inf (Milakov and Gimelshein 2018, arXiv:1805.02867).
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
    top = tl.full((BLOCK_K,), float("-inf"), ACC)
    total = tl.zeros((BLOCK_K,), ACC)
    for r in range(start, stop, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        mask = mask_k[:, None] & (offs_r < stop)[None, :]
        x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=float("-inf")).to(ACC)
        known = tl.where(x == x, x, float("-inf"))  # NaN reaches the result by the sum
        higher = tl.maximum(top, tl.max(known, 1))
        shift = tl.where(tl.abs(higher) == float("inf"), 0, higher)
        total = total * tl.exp(top - shift) + tl.sum(tl.exp(x - shift[:, None]), 1)
        top = higher
    shift = tl.where(tl.abs(top) == float("inf"), 0, top)
    y = tl.log(total) + shift
    tl.store(y_ptr + part * rows + offs_k, maths.to(y, y_ptr.dtype.element_ty), mask=mask_k)


def run(y: CudaArray, axes: Axes, t: Tiles, acc: str) -> None:
    cuda.launch(
        logsumexp_kernel, t.grid(axes.rows), y, axes.x, *axes.counts(t.chunk),
        *axes.arguments(), **axes.constants(), ACC=getattr(tl, acc), BLOCK_K=t.block_k,
        BLOCK_R=t.block_r, num_warps=t.num_warps,
    )  # fmt: skip


declare_reduction("logsumexp", example("logsumexp", array(12, 70), 1))


@kernel("_logsumexp", "cuda")
def _logsumexp(y, x, dim, keepdim):
    if y.size == 0:
        return
    axes = split(x, dim)
    t = tiles(axes, 2048, kernel="logsumexp")
    acc = "float64" if x.dtype.itemsize == 8 else "float32"
    if t.splits == 1:
        run(y, axes, t, acc)
        return
    partial = cuda.empty((t.splits, axes.rows), np.dtype(acc))
    run(partial, axes, t, acc)
    again = matrix(partial, axes.rows, t.splits)
    run(y, again, tiles(again, 2048, may_split=False), acc)
