"""Layer and RMS norm: rows in registers where they fit, walked twice where not.

Few rows that do not fit are shared by programs: a first launch leaves statistics of each part of a
row. The weight gradients are column sums: programs keep one partial sum per column in registers
over all rows that they visit, and a second pass adds those up; no atomics, so the result is the
same every time. The kernels are in ``norm_kernels``.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.configs import Case, array, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import common_unit, is_wide, limits
from tgrad.kernels.cuda.norm_kernels import (
    column_totals_kernel,
    layer_norm_backward_kernel,
    layer_norm_backward_long_kernel,
    layer_norm_backward_parts_kernel,
    layer_norm_columns_kernel,
    layer_norm_kernel,
    layer_norm_merge_kernel,
    layer_norm_parts_kernel,
)
from tgrad.kernels.cuda.rows import (
    Planes,
    RowConfig,
    Tile,
    declare_rows,
    planes,
    row_refusal,
    tile,
)
from tgrad.kernels.cuda.tiles import machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


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


def row_unit(n: int, *arrays: Planes) -> int:
    """The unit of the rows' length and of the steps between rows that are dense."""
    return common_unit(16, n, *[p.step_o for p in arrays if p.unit == "n"])


def row_steps(p: Planes, vec: int) -> tuple[int, int]:
    return (p.step_o // vec, 1) if p.unit == "n" else (p.step_o, p.step_n)


def refusal(c: RowConfig, case: Case) -> str:
    """Why a tile cannot be good, "" where it may be: x and its square, or x and g, are kept."""
    return row_refusal(c, case, arrays=2, walks_single_rows=True)


TINY = example("nn.functional.layer_norm", array(8, 60), (60,), array(60), array(60), backward=True)
declare_rows("layer_norm", TINY, refusal)
declare_rows("layer_norm_backward", TINY, refusal)


@kernel("_layer_norm", "cuda")
def _layer_norm(y, mean, rstd, x, weight, bias, dims, eps, centered):
    if y.size == 0:
        return
    p, acc = rows_of(x, dims), acc_of(mean.dtype)
    t = tile(p, acc, elements=2048, per_warp=512, kernel="layer_norm")
    vec = row_unit(p.n, p)
    splits, chunk = t.splits(p)
    w, b = dense_or(weight, y), dense_or(bias, y)
    steps, number = row_steps(p, vec), real(eps, mean.dtype)
    shared = {
        "ACC": acc, "CENTERED": centered, "X_UNIT": p.unit, "VEC": vec,
        "WIDE": p.wide or is_wide(2 * y.size), "BLOCK_T": t.block_t, "BLOCK_N": t.block_n,
        "num_warps": t.num_warps,
    }  # fmt: skip
    affine = {"W": weight is not None, "B": bias is not None}
    if splits == 1:
        cuda.launch(
            layer_norm_kernel, t.grid(p), y, mean, rstd, p.x, w, b, p.rows, p.n // vec, *steps,
            number, ONE_PASS=t.one_pass, **affine, **shared,
        )  # fmt: skip
        return
    parts = [cuda.empty((splits, p.rows), mean.dtype) for _ in range(2)]
    sizes, grid = (p.rows, p.n // vec, chunk // vec), (*t.grid(p), splits)
    cuda.launch(layer_norm_parts_kernel, grid, *parts, p.x, *sizes, *steps, **shared)
    cuda.launch(
        layer_norm_merge_kernel, grid, y, mean, rstd, p.x, w, b, *parts, *sizes, splits, *steps,
        number, SPLITS=triton.next_power_of_2(splits), **affine, **shared,
    )  # fmt: skip


@kernel("layer_norm_backward", "cuda")
def layer_norm_backward(dx, dw, db, g, x, weight, mean, rstd, dims, eps, centered, wanted):
    pg, px, wide = rows_of(g, dims), rows_of(x, dims), mean.dtype
    if x.size == 0:
        for d, need in ((dw, wanted[1]), (db, wanted[2])):
            if need and d.size:
                _fill(d, d, 0)
        return
    m, r = dense(mean), dense(rstd)
    arrays = (pg.x, px.x, dense_or(weight, m), m, r)
    acc, vec = acc_of(wide), row_unit(px.n, pg, px)
    steps = (*row_steps(pg, vec), *row_steps(px, vec))
    common = {
        "ACC": acc, "G_UNIT": pg.unit, "X_UNIT": px.unit, "VEC": vec,
        "WIDE": pg.wide or px.wide or is_wide(2 * x.size),
    }  # fmt: skip
    each = 256 if machine().arch >= 100 else 512  # which spill 4 bytes there
    t = tile(px, acc, elements=2048, most=8192, per_warp=each, kernel="layer_norm_backward")
    if t.one_pass:
        programs = min(triton.cdiv(px.rows, t.block_t), visitors())
        parts = [cuda.empty((programs, px.n), wide) if need else mean for need in wanted[1:]]
        cuda.launch(
            layer_norm_backward_kernel, (programs,), dx, *parts, *arrays, px.rows, px.n // vec,
            *steps, DX=wanted[0], DW=wanted[1], DB=wanted[2], W=weight is not None,
            CENTERED=centered, **common, BLOCK_T=t.block_t, BLOCK_N=t.block_n,
            num_warps=t.num_warps,
        )  # fmt: skip
    else:
        if wanted[0]:
            long_rows(dx, arrays, px, t, steps, weight is not None, centered, common)
        parts = columns(arrays, px, steps, wanted, common)
    if wanted[1] or wanted[2]:
        column_totals(dw, db, parts, px.n, acc, wanted)


def long_rows(
    dx: CudaArray, arrays: tuple, px: Planes, t: Tile, steps: tuple, weighted: bool,
    centered: bool, common: dict,
) -> None:  # fmt: skip
    """dx of rows that do not fit, each by one program or by several."""
    splits, chunk = t.splits(px)
    vec = common["VEC"]
    sizes = (px.rows, px.n // vec, chunk // vec)
    shared = {"W": weighted, **common, "BLOCK_N": t.block_n, "num_warps": t.num_warps}
    grid, parts = (px.rows, splits), [arrays[3], arrays[3]]
    if splits > 1:
        parts = [cuda.empty((splits, px.rows), arrays[3].dtype) for _ in range(2)]
        cuda.launch(layer_norm_backward_parts_kernel, grid, *parts, *arrays, *sizes, *steps,
                    **shared)  # fmt: skip
    cuda.launch(
        layer_norm_backward_long_kernel, grid, dx, *arrays, *parts, *sizes, splits, *steps,
        CENTERED=centered, SPLITS=0 if splits == 1 else triton.next_power_of_2(splits), **shared,
    )  # fmt: skip


def visitors() -> int:
    """Programs that share all rows: two per multiprocessor of an H100."""
    return 3 if cuda.is_emulated() else limits.programs // 2


def columns(arrays: tuple, px: Planes, steps: tuple, wanted: tuple, common: dict) -> list:
    """Partial sums of g x_hat and g, (programs, n), of rows that do not fit."""
    m = arrays[3]
    if not (wanted[1] or wanted[2]):
        return [m, m]
    block_t, block_n = min(16, triton.next_power_of_2(px.rows)), 128
    blocks = triton.cdiv(px.n, block_n)
    programs = max(1, min(triton.cdiv(px.rows, block_t), visitors() // blocks))
    parts = [cuda.empty((programs, px.n), m.dtype) if need else m for need in wanted[1:]]
    cuda.launch(
        layer_norm_columns_kernel, (blocks, programs), *parts, *arrays[:2], *arrays[3:], px.rows,
        px.n // common["VEC"], *steps, DW=wanted[1], DB=wanted[2], **common, BLOCK_T=block_t,
        BLOCK_N=block_n, num_warps=4,
    )  # fmt: skip
    return parts


def column_totals(
    dw: CudaArray, db: CudaArray, parts: list, n: int, acc: tl.dtype, wanted: tuple
) -> None:
    (programs, _) = next(part.shape for part, need in zip(parts, wanted[1:], strict=True) if need)
    block_t = min(triton.next_power_of_2(programs), 64)
    vec, block_n = common_unit(16, n), min(triton.next_power_of_2(n), 2048 // block_t)
    cuda.launch(
        column_totals_kernel, (triton.cdiv(n, block_n),), dw, db, *parts, programs, n // vec,
        DW=wanted[1], DB=wanted[2], ACC=acc, VEC=vec, BLOCK_T=block_t, BLOCK_N=block_n,
    )  # fmt: skip
