"""Reductions: one kernel for every function, width and stride, deterministic and without atomics.

A program holds a tile of kept x reduced positions in registers and walks the reduced axis; the tile
is long where that axis is contiguous and wide where a kept one is, so loads are coalesced both
ways. Few long rows are split over programs, and the same kernel reduces their partial results.
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
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def lifted(x, p, F: tl.constexpr, ABS: tl.constexpr, ACC: tl.constexpr):
    """What function F accumulates of an element."""
    if ABS:
        if x.dtype.primitive_bitwidth < 32:
            x = x.to(tl.float32)
        x = tl.abs(x)
    if F == "max":
        v = order_key(x, False)
    elif F == "min":
        v = order_key(x, True)
    elif F == "any" or F == "all" or F == "count":
        v = (x != 0).to(ACC)
    else:
        v = x.to(ACC)
        if F == "nansum":
            v = tl.where(v == v, v, 0)
        elif F == "sum_square":
            v = v * v
        elif F == "sum_power":  # |x|^p; 0^p is 0, or inf for p < 0
            v = tl.exp2(tl.full((1, 1), p, ACC) * tl.log2(tl.abs(v)))
    return v


@triton.jit
def identity_of(F: tl.constexpr, ACC: tl.constexpr):
    """What changes nothing: the accumulator's smallest value for maxima, 1 or 0 for the others."""
    if F == "max" or F == "min":
        one: tl.constexpr = -(2**63) if tl.int64 == ACC else -(2**31)
    elif F == "prod" or F == "all":
        one: tl.constexpr = 1
    else:
        one: tl.constexpr = 0
    return tl.full((1, 1), one, ACC)


@triton.jit
def finished(total, n, p, F: tl.constexpr, POST: tl.constexpr, T: tl.constexpr):
    """The result of type T from what was accumulated."""
    if F == "max" or F == "min":
        y = from_order_key(total, F == "min", T)
    else:
        if POST == "mean":
            total = total / tl.full((1,), n, total.dtype)
        elif POST == "root":
            total = maths.sqrt(total)
        elif POST == "power":
            total = tl.exp2(tl.full((1,), p, total.dtype) * tl.log2(total))
        y = maths.to(total, T)
    return y


@triton.jit(do_not_specialize=PLAIN)
def reduce_kernel(
    y_ptr, x_ptr, rows, length, chunk, n, p, q,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    F: tl.constexpr, ABS: tl.constexpr, POST: tl.constexpr, ACC: tl.constexpr,
    FIRST: tl.constexpr, LAST: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr,
    R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """y[s, k] = F over the s-th chunk of x[k, :]; BLOCK_K rows a program, x read once.

    FIRST applies what F does to an element, LAST what it does to the end: a second pass over
    partial results has LAST alone. ``p`` is the exponent of elements, ``q`` that of the end.
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
    nothing = identity_of(F, ACC)
    acc = tl.broadcast_to(nothing, (BLOCK_K, BLOCK_R))
    for r in range(start, stop, BLOCK_R):
        offs_r = r + tl.arange(0, BLOCK_R)
        x_r = locate(offs_r, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
        mask = mask_k[:, None] & (offs_r < stop)[None, :]
        x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=0)
        if FIRST:
            v = lifted(x, p, F, ABS, ACC)
        else:
            v = x
        v = tl.where(mask, v, nothing)
        if F == "prod":
            acc = acc * v
        elif F == "max" or F == "min" or F == "any":
            acc = tl.maximum(acc, v)
        elif F == "all":
            acc = tl.minimum(acc, v)
        else:
            acc += v
    if F == "prod":
        total = tl.reduce(acc, 1, multiply)
    elif F == "max" or F == "min" or F == "any":
        total = tl.max(acc, 1)
    elif F == "all":
        total = tl.min(acc, 1)
    else:
        total = tl.sum(acc, 1)
    if LAST:
        y = finished(total, n, q, F, POST, y_ptr.dtype.element_ty)
    else:
        y = total
    tl.store(y_ptr + part * rows + offs_k, y, mask=mask_k)


def accumulator(function: str, x: np.dtype, y: np.dtype) -> tuple[str, np.dtype]:
    """The dtype accumulated in, as Triton's name and NumPy's."""
    if function in ("max", "min"):
        name = "int64" if x.itemsize == 8 else "int32"
    elif function in ("any", "all"):
        name = "int32"
    elif function == "count" or y.kind in "biu":
        name = "int64"
    else:
        name = "float64" if y.itemsize == 8 else "float32"
    return name, np.dtype(name)


def reduce(
    y: CudaArray,
    x: CudaArray,
    dim: tuple[int, ...],
    function: str,
    post: str = "",
    p: float = 1.0,
    size: bool = False,
) -> None:
    """y (contiguous) = ``function`` over the axes ``dim`` of x, or of |x| (``size``); ``post``."""
    if y.size == 0:
        return
    axes = split(x, dim)
    name, acc = accumulator(function, x.dtype, y.dtype)
    elements = 4096
    if cuda.is_emulated():  # tl.reduce by a function of our own runs element by element there
        elements = 512 if function == "prod" else 4096
    t = tiles(axes, elements, kernel="reduction", wide=acc.itemsize == 8)
    n = float(axes.length) or float("nan")
    real = np.float64 if name == "float64" else float
    numbers = (real(n), real(p), real(1 / p if p else 1))
    partial = cuda.empty((t.splits, axes.rows), acc) if t.splits > 1 else y
    shared = {"F": function, "ABS": size, "POST": post, "ACC": getattr(tl, name)}
    run(partial, axes, t, numbers, FIRST=True, LAST=t.splits == 1, **shared)
    if t.splits > 1:
        again = matrix(partial, axes.rows, t.splits)
        t = tiles(again, elements, may_split=False)
        run(y, again, t, numbers, FIRST=False, LAST=True, **shared)


def run(y: CudaArray, axes: Axes, t, numbers: tuple, **constants) -> None:
    cuda.launch(
        reduce_kernel, t.grid(axes.rows), y, axes.x, *axes.counts(t.chunk), *numbers,
        *axes.arguments(), **axes.constants(), **constants, BLOCK_K=t.block_k, BLOCK_R=t.block_r,
        num_warps=t.num_warps,
    )  # fmt: skip


declare_reduction("reduction", example("sum", array(12, 70), 1))


@kernel("_sum", "cuda")
def _sum(y, x, dim, keepdim, dtype):
    reduce(y, x, dim, "sum")


@kernel("_mean", "cuda")
def _mean(y, x, dim, keepdim, dtype):
    reduce(y, x, dim, "sum", "mean")


@kernel("_nansum", "cuda")
def _nansum(y, x, dim, keepdim, dtype):
    reduce(y, x, dim, "nansum" if x.dtype.kind not in "biu" else "sum")


@kernel("_count_nonzero", "cuda")
def _count_nonzero(y, x, dim):
    reduce(y, x, dim, "count")


@kernel("_prod", "cuda")
def _prod(y, x, dim, keepdim, dtype):
    reduce(y, x, dim, "prod")


@kernel("_any", "cuda")
def _any(y, x, dim, keepdim):
    reduce(y, x, dim, "any")


@kernel("_all", "cuda")
def _all(y, x, dim, keepdim):
    reduce(y, x, dim, "all")
