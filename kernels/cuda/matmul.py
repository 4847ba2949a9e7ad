"""Matrix products: which kernel of ``gemm.py`` computes one, with which tile, on which strides.

All four transposes are read in place through the operands' own strides. The tile shape comes from
``tiles.py``; where the copy engine can read both operands it does, and pointers do elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.configs import Config
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.gemm import (
    matmul_descriptor_kernel,
    matmul_kernel,
    matvec_kernel,
    sum_splits_kernel,
)
from tgrad.kernels.cuda.limits import is_wide
from tgrad.kernels.cuda.pointwise import merged
from tgrad.kernels.cuda.tiles import config, machine, vector_config
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, expand
from tgrad.runtime.precision import input_precision

PAST = 1 << 16  # elements by which offsets of a last tile may pass the end


class Problem:
    """y = activation(alpha * a @ b + beta * c) with batch axes merged to (outer, inner).

    ``steps`` holds per operand (y, a, b, c) the element strides of outer, inner, rows, columns.
    """

    def __init__(self, y: CudaArray, a: CudaArray, b: CudaArray, c: CudaArray | None):
        self.y, self.a, self.b, self.c = y, a, b, y if c is None else c
        self.M, self.N, self.K = y.shape[-2], y.shape[-1], a.shape[-1]
        operands = (y, a, b, self.c)
        batches = [x.restride(x.shape[:-2], x.strides[:-2], 0) for x in operands]
        sizes, steps = merged(batches)
        self.loop = sizes[:-2]  # axes beyond two are looped over on the host
        self.loop_steps = [s[:-2] for s in steps]
        sizes = [1, 1, *sizes][-2:]
        self.outer, self.inner = sizes
        self.steps = [
            [*[0, 0, *s][-2:], *x.steps[-2:]] for s, x in zip(steps, operands, strict=True)
        ]
        self.fold()

    @property
    def batch(self) -> int:
        return self.outer * self.inner

    def fold(self) -> None:
        """Take batch axes into the rows where b is shared and the rows of y, a and c follow on."""
        y, a, b, c = self.steps
        while self.batch > 1 and b[1] == 0 and all(x[1] == self.M * x[2] for x in (y, a, c)):
            self.M *= self.inner
            self.inner, self.outer = self.outer, 1
            for x in self.steps:
                x[0], x[1] = 0, x[0]

    def transpose(self) -> None:
        """Exchange rows and columns: y^T = b^T a^T."""
        self.M, self.N = self.N, self.M
        self.a, self.b = self.b, self.a
        y, a, b, c = self.steps
        self.steps = [[o, i, n, m] for o, i, m, n in (y, b, a, c)]

    def is_aligned(self) -> bool:
        """Whether rows (or columns) of a and b start on multiples of 16 elements and bytes."""
        return all(
            1 in x[2:] and all(s % 16 == 0 for s in x if s != 1) and array.ptr % 16 == 0
            for x, array in zip(self.steps[1:3], (self.a, self.b), strict=True)
        )

    def described(self, operand: int) -> tuple[bool, int] | None:
        """For the copy engine: whether the operand (0 y, 1 a, 2 b) lies by columns, and its stride.

        None where the engine cannot read it: it wants one axis contiguous, and the memory of
        everything else to start on 16 bytes.
        """
        array = (self.y, self.a, self.b)[operand]
        *batch, row, col = self.steps[operand]
        by_columns = col != 1
        if by_columns and row != 1:
            return None
        stride = col if by_columns else row
        size = array.itemsize
        fits = all(0 <= s * size < 2**40 and s * size % 16 == 0 for s in (*batch, stride))
        if not fits or stride == 0 or array.ptr % 16 or min(self.M, self.N, self.K) == 0:
            return None
        return by_columns, stride

    def is_wide(self) -> bool:
        """Whether an offset inside one batch entry may pass 2^31."""
        sizes = ((self.M, self.N), (self.M, self.K), (self.K, self.N), (self.M, self.N))
        return is_wide(
            *(
                abs(x[2]) * m + abs(x[3]) * n + PAST
                for x, (m, n) in zip(self.steps, sizes, strict=True)
            )
        )

    def is_far(self) -> bool:
        """Whether an offset from the start of y or c may pass 2^31, batch entries included."""
        sizes = (self.outer, self.inner, self.M, self.N)
        reach = [sum(abs(s) * n for s, n in zip(self.steps[k], sizes, strict=True)) for k in (0, 3)]
        return is_wide(*(n + PAST for n in (*reach, self.batch * self.M * self.N)))


def accumulator(dtype: np.dtype) -> tuple[Any, np.dtype]:
    """The dtype that sums are kept in, for Triton and for NumPy."""
    if dtype.kind in "iu":
        return (
            (tl.int64, np.dtype(np.int64))
            if dtype.itemsize == 8
            else (tl.int32, np.dtype(np.int32))
        )
    wide = dtype.itemsize == 8
    return (tl.float64, np.dtype(np.float64)) if wide else (tl.float32, np.dtype(np.float32))


def gemm(
    y: CudaArray,
    a: CudaArray,
    b: CudaArray,
    alpha: float = 1,
    beta: float = 0,
    c: CudaArray | None = None,
    activation: Any = None,
    choice: Config | None = None,
    precision: str | None = None,
) -> None:
    """y = activation(alpha * a @ b + beta * c) for a (..., M, K), b (..., K, N), c broadcast to y.

    ``activation`` is a Triton function of the accumulator. ``choice`` overrides the heuristics,
    ``precision`` the setting of float32 products.
    y may be c, and overlap neither a nor b.
    """
    if y.size == 0:
        return
    if c is not None:
        c = expand(c, y.shape) if beta != 0 else None  # pyright: ignore[reportAssignmentType]
    p = Problem(y, a, b, c)
    if y.dtype.kind in "iu":
        alpha, beta = int(alpha), int(beta)
    elif y.dtype.itemsize == 8:
        alpha, beta = np.float64(alpha), np.float64(beta)
    # A NumPy bool, which np.float64 gives, is no constant that Triton can read.
    constants = {"SCALED": bool(alpha != 1), "ACTIVATION": activation}
    rest = (constants, choice, precision or input_precision())
    if not p.loop:
        run(p, alpha, beta, c is not None, *rest)
        return
    arrays = (p.y, p.a, p.b, p.c)
    for index in np.ndindex(*p.loop):
        p.y, p.a, p.b, p.c = (
            x.restride(
                x.shape, x.strides, x.itemsize * sum(i * s for i, s in zip(index, st, strict=True))
            )
            for x, st in zip(arrays, p.loop_steps, strict=True)
        )
        run(p, alpha, beta, c is not None, *rest)


def run(
    p: Problem,
    alpha: float,
    beta: float,
    has_c: bool,
    constants: dict[str, Any],
    choice: Config | None,
    precision: str,
) -> None:
    """Launch for (outer, inner) batch entries; a second pass where K is split."""
    if p.M == 1 and p.N > 1:
        p.transpose()
    vector = p.N == 1
    described = (p.described(1), p.described(2)) if not vector else (None, None)
    if choice is None:
        choice = choose(p, vector, described, precision)
    acc, acc_numpy = accumulator(p.y.dtype)
    ys, cs = p.steps[0], p.steps[3]
    steps_k = max(triton.cdiv(p.K, choice.block_k), 1)
    splits = triton.cdiv(steps_k, triton.cdiv(steps_k, choice.split_k))  # none without a step
    target, target_steps, step_split = p.y, ys, 0
    if splits > 1:
        n = p.batch * p.M * p.N
        target = cuda.empty((splits, n), acc_numpy)
        target_steps, step_split = [p.inner * p.M * p.N, p.M * p.N, p.N, 1], n
    # A column's neighbours in c are read once for all rows where c is a bias.
    addend = "none" if not has_c else "row" if cs[2] == 0 and not vector else "full"
    shared = {
        **constants, "C": addend, "ACC": acc, "WIDE": p.is_wide(), "SPLIT": splits > 1,
        "num_warps": choice.num_warps, "num_stages": choice.num_stages,
    }  # fmt: skip
    left = (target, p.a, p.b, p.c, alpha, beta, p.M)
    if vector:
        cuda.launch(
            matvec_kernel, (triton.cdiv(p.M, choice.block_m) * p.batch, splits),
            *left, p.K, p.inner, splits,
            *target_steps[:3], *p.steps[1], *p.steps[2][:3], *cs[:3], step_split,
            BLOCK_M=choice.block_m, BLOCK_K=choice.block_k, **shared,
        )  # fmt: skip
    else:
        shared["UPCAST"] = p.y.dtype.name == "bfloat16" and cuda.is_emulated()
        run_tiles(p, left, choice, splits, target_steps, step_split, described, precision, shared)
    if splits > 1:
        block = 1024
        cuda.launch(
            sum_splits_kernel, (triton.cdiv(step_split, block),),
            p.y, target, p.c, alpha, beta, p.M, p.N, p.inner, step_split, splits, *ys, *cs,
            C=addend, WIDE=p.is_far(), BLOCK=block, **constants,
        )  # fmt: skip


def choose(p: Problem, vector: bool, described: tuple, precision: str) -> Config:
    """The config of a product: a tuner's or the cost model's."""
    if vector:
        return vector_config(p.M, p.K, p.steps[1][3], p.batch)
    by_engine = None not in described
    layout = "".join("t" if d[0] else "n" for d in described) if by_engine else ""
    return config(
        p.M, p.N, p.K, p.y.dtype, p.batch, precision, p.is_aligned(), by_engine, layout
    )  # fmt: skip


def run_tiles(
    p: Problem,
    left: tuple,
    choice: Config,
    splits: int,
    target_steps: list[int],
    step_split: int,
    described: tuple,
    precision: str,
    shared: dict[str, Any],
) -> None:
    """One launch of a tiled kernel; ``left`` holds the arguments that both begin with."""
    tiles = triton.cdiv(p.M, choice.block_m) * triton.cdiv(p.N, choice.block_n) * p.batch
    blocks = {
        "GROUP_M": choice.group_m, "BLOCK_M": choice.block_m, "BLOCK_N": choice.block_n,
        "BLOCK_K": choice.block_k, "PRECISION": precision,
    }  # fmt: skip
    _, as_, bs, cs = p.steps
    if not choice.tma:
        cuda.launch(
            matmul_kernel, (tiles, splits), *left, p.N, p.K, p.inner, splits,
            *target_steps, *as_, *bs, *cs, step_split,
            DOT=p.y.dtype.kind not in "iu", EVEN_K=p.K % choice.block_k == 0, **blocks, **shared,
        )  # fmt: skip
        return
    assert None not in described, "the copy engine cannot read these operands"
    (a_t, stride_a), (b_t, stride_b) = described
    store = p.described(0) if splits == 1 else None
    programs = tiles * splits
    if choice.persistent:
        programs = min(programs, machine().multiprocessors)
    specialize = choice.warp_specialize and p.batch == 1
    cuda.launch(
        matmul_descriptor_kernel, (programs,),
        *left, p.N, p.K, p.outer, p.inner, splits, programs,
        *target_steps, *as_[:2], stride_a, *bs[:2], stride_b, *cs, step_split,
        A_T=a_t, B_T=b_t, STORE=store is not None and not store[0], BATCHED=p.batch > 1,
        FLATTEN=choice.persistent and not specialize, SPECIALIZE=specialize,
        SUBTILES=choice.subtiles, **blocks, **shared,
    )  # fmt: skip


def as_matrices(
    y: CudaArray, x: CudaArray, other: CudaArray
) -> tuple[CudaArray, CudaArray, CudaArray]:
    """Views by ``matmul``'s rule: a 1-D x is a row, a 1-D other a column."""
    if other.ndim == 1:
        y, other = y[..., None], other[:, None]
    if x.ndim == 1:
        y, x = y[..., None, :], x[None]
    return y, x, other


@kernel("matmul", "cuda")
def matmul(y, x, other):
    gemm(*as_matrices(y, x, other))


def separate(y: CudaArray, x: CudaArray) -> CudaArray:
    """x, copied where it shares y's memory, which the kernel is about to write."""
    if x.owner is not y.owner:
        return x
    fresh = cuda.empty(x.shape, x.dtype)
    copy(fresh, x)
    return fresh


@kernel("addmm", "cuda")
def addmm(y, x, mat1, mat2, beta=1, alpha=1):
    gemm(y, separate(y, mat1), separate(y, mat2), alpha, beta, x)


@kernel("baddbmm", "cuda")
def baddbmm(y, x, batch1, batch2, beta=1, alpha=1):
    gemm(y, separate(y, batch1), separate(y, batch2), alpha, beta, x)


@kernel("linear", "cuda")
def linear(y, x, weight, bias: Any = None):
    if bias is not None:
        bias = expand(bias, y.shape)
    if weight.ndim == 1:
        y, weight = y[..., None], weight[None]
        bias = None if bias is None else bias[..., None]
    if x.ndim == 1:
        y, x = y[None], x[None]
        bias = None if bias is None else bias[None]
    gemm(y, x, weight.T, 1, 0 if bias is None else 1, bias)
