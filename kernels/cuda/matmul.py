"""Matrix products with Triton: one tiled kernel for every layout, one for vectors, split K.

All four transposes are read in place through the operands' own strides. The tile shape comes from
``tiles.py``; everything after the product (alpha, beta * C, bias as a C of stride 0, an
activation) happens in registers before the one store.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.pointwise import merged
from tgrad.kernels.cuda.tiles import Config, config, vector_config
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, expand
from tgrad.runtime.precision import input_precision


@triton.jit
def epilogue(
    acc, alpha, beta, c_ptrs, mask,
    SCALED: tl.constexpr, HAS_C: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    """activation(alpha * acc + beta * c), in the accumulator's dtype."""
    if SCALED:
        acc = acc * alpha
    if HAS_C:
        acc += beta * tl.load(c_ptrs, mask=mask, other=0).to(acc.dtype)
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    return acc


@triton.jit
def matmul_kernel(
    y_ptr, a_ptr, b_ptr, c_ptr, alpha, beta, M, N, K, inner,
    stride_yo, stride_yi, stride_ym, stride_yn,
    stride_ao, stride_ai, stride_am, stride_ak,
    stride_bo, stride_bi, stride_bk, stride_bn,
    stride_co, stride_ci, stride_cm, stride_cn,
    stride_ys,
    ACC: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
    SCALED: tl.constexpr, HAS_C: tl.constexpr, ACTIVATION: tl.constexpr, WIDE: tl.constexpr,
    EVEN_K: tl.constexpr, SPLIT_K: tl.constexpr, GROUP_M: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One BLOCK_M x BLOCK_N tile of y = epilogue(a @ b), for one batch entry and one split of K.

    Batch entries are (outer, inner) pairs with a stride each, 0 where an operand is broadcast.
    Tiles are visited in groups of GROUP_M rows, so that the programs that run together share rows
    of a and columns of b in L2. The accumulator stays in registers. Bytes moved by a program:
    K * (BLOCK_M + BLOCK_N) elements, most of them from L2, and its tile of y (and c). With
    SPLIT_K > 1, y is a workspace of partial sums and :func:`sum_splits_kernel` does the rest.
    """
    pid = tl.program_id(0)
    split = tl.program_id(1)
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    batch = (pid // (tiles_m * tiles_n)).to(tl.int64)
    tile = pid % (tiles_m * tiles_n)
    group = GROUP_M * tiles_n
    first_m = (tile // group) * GROUP_M
    rows = min(tiles_m - first_m, GROUP_M)
    pid_m = first_m + (tile % group) % rows
    pid_n = (tile % group) // rows

    offs_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    offs_k = tl.arange(0, BLOCK_K)
    mask_m = (offs_m < M)[:, None]
    mask_n = (offs_n < N)[None, :]
    tiles_k = tl.cdiv(tl.cdiv(K, BLOCK_K), SPLIT_K)  # of this split, but for the last ones
    first_k = split * tiles_k
    last_k = min(first_k + tiles_k, tl.cdiv(K, BLOCK_K))
    if WIDE:
        offs_m, offs_n, offs_k = offs_m.to(tl.int64), offs_n.to(tl.int64), offs_k.to(tl.int64)
    outer, entry = batch // inner, batch % inner
    start_k = first_k.to(tl.int64) * BLOCK_K
    a_ptr += outer * stride_ao + entry * stride_ai + start_k * stride_ak
    b_ptr += outer * stride_bo + entry * stride_bi + start_k * stride_bk
    a_ptrs = a_ptr + offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    b_ptrs = b_ptr + offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn

    acc = tl.zeros((BLOCK_M, BLOCK_N), ACC)
    for k in range(first_k, last_k):
        if EVEN_K:
            a = tl.load(a_ptrs, mask=mask_m, other=0)
            b = tl.load(b_ptrs, mask=mask_n, other=0)
        else:
            left = K - k * BLOCK_K
            a = tl.load(a_ptrs, mask=mask_m & (offs_k < left)[None, :], other=0)
            b = tl.load(b_ptrs, mask=mask_n & (offs_k < left)[:, None], other=0)
        if UPCAST:
            a, b = a.to(tl.float32), b.to(tl.float32)
        if DOT:
            acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
        else:
            acc += tl.sum(a.to(ACC)[:, :, None] * b.to(ACC)[None, :, :], axis=1)
        a_ptrs += BLOCK_K * stride_ak
        b_ptrs += BLOCK_K * stride_bk

    mask = mask_m & mask_n
    if SPLIT_K == 1:
        c_ptr += outer * stride_co + entry * stride_ci
        c_ptrs = c_ptr + offs_m[:, None] * stride_cm + offs_n[None, :] * stride_cn
        acc = epilogue(acc, alpha, beta, c_ptrs, mask, SCALED, HAS_C, ACTIVATION)
    y_ptr += split.to(tl.int64) * stride_ys + outer * stride_yo + entry * stride_yi
    y_ptrs = y_ptr + offs_m[:, None] * stride_ym + offs_n[None, :] * stride_yn
    tl.store(y_ptrs, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def matvec_kernel(
    y_ptr, a_ptr, x_ptr, c_ptr, alpha, beta, M, K, inner,
    stride_yo, stride_yi, stride_ym,
    stride_ao, stride_ai, stride_am, stride_ak,
    stride_xo, stride_xi, stride_xk,
    stride_co, stride_ci, stride_cm,
    stride_ys,
    ACC: tl.constexpr, SCALED: tl.constexpr, HAS_C: tl.constexpr, ACTIVATION: tl.constexpr,
    WIDE: tl.constexpr, SPLIT_K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """BLOCK_M elements of y = epilogue(a @ x), x a vector, for one batch entry and split of K.

    Products are kept in BLOCK_M x BLOCK_K lanes and summed across at the end. Reads a once: the
    kernel runs at the speed of memory, and wastes no tensor-core columns on a single vector.
    """
    pid = tl.program_id(0)
    split = tl.program_id(1)
    tiles_m = tl.cdiv(M, BLOCK_M)
    batch = (pid // tiles_m).to(tl.int64)
    offs_m = (pid % tiles_m) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_k = tl.arange(0, BLOCK_K)
    mask_m = offs_m < M
    tiles_k = tl.cdiv(tl.cdiv(K, BLOCK_K), SPLIT_K)
    first_k = split * tiles_k
    last_k = min(first_k + tiles_k, tl.cdiv(K, BLOCK_K))
    if WIDE:
        offs_m, offs_k = offs_m.to(tl.int64), offs_k.to(tl.int64)
    outer, entry = batch // inner, batch % inner
    start_k = first_k.to(tl.int64) * BLOCK_K
    a_ptr += outer * stride_ao + entry * stride_ai + start_k * stride_ak
    a_ptrs = a_ptr + offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    x_ptr += outer * stride_xo + entry * stride_xi + start_k * stride_xk
    x_ptrs = x_ptr + offs_k * stride_xk

    acc = tl.zeros((BLOCK_M, BLOCK_K), ACC)
    for k in range(first_k, last_k):
        mask_k = offs_k < K - k * BLOCK_K
        a = tl.load(a_ptrs, mask=mask_m[:, None] & mask_k[None, :], other=0).to(ACC)
        x = tl.load(x_ptrs, mask=mask_k, other=0).to(ACC)
        acc += a * x[None, :]
        a_ptrs += BLOCK_K * stride_ak
        x_ptrs += BLOCK_K * stride_xk

    y = tl.sum(acc, axis=1)
    if SPLIT_K == 1:
        c_ptrs = c_ptr + outer * stride_co + entry * stride_ci + offs_m * stride_cm
        y = epilogue(y, alpha, beta, c_ptrs, mask_m, SCALED, HAS_C, ACTIVATION)
    y_ptr += split.to(tl.int64) * stride_ys + outer * stride_yo + entry * stride_yi
    tl.store(y_ptr + offs_m * stride_ym, maths.to(y, y_ptr.dtype.element_ty), mask=mask_m)


@triton.jit
def sum_splits_kernel(
    y_ptr, parts_ptr, c_ptr, alpha, beta, M, N, inner, n,
    stride_yo, stride_yi, stride_ym, stride_yn,
    stride_co, stride_ci, stride_cm, stride_cn,
    SCALED: tl.constexpr, HAS_C: tl.constexpr, ACTIVATION: tl.constexpr,
    WIDE: tl.constexpr, SPLIT_K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = epilogue(sum of SPLIT_K partial products), BLOCK elements a program.

    The order of the sum is fixed, so results repeat bit by bit. Reads SPLIT_K * n partial sums of
    the accumulator's dtype, contiguous as (split, batch, M, N).
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    acc = tl.load(parts_ptr + offs, mask=mask, other=0)
    for _ in range(1, SPLIT_K):
        parts_ptr += n
        acc += tl.load(parts_ptr + offs, mask=mask, other=0)
    col, row, batch = offs % N, offs // N % M, offs // N // M
    outer, entry = batch // inner, batch % inner
    c_at = outer * stride_co + entry * stride_ci + row * stride_cm + col * stride_cn
    acc = epilogue(acc, alpha, beta, c_ptr + c_at, mask, SCALED, HAS_C, ACTIVATION)
    y_at = outer * stride_yo + entry * stride_yi + row * stride_ym + col * stride_yn
    tl.store(y_ptr + y_at, maths.to(acc, y_ptr.dtype.element_ty), mask=mask)


# ---- launching -----------------------------------------------------------------------------------


class Problem:
    """y = activation(alpha * a @ b + beta * c) with batch axes merged to (outer, inner).

    ``steps`` holds per operand (y, a, b, c) the element strides of outer, inner, rows, columns.
    """

    def __init__(self, y: CudaArray, a: CudaArray, b: CudaArray, c: CudaArray | None):
        self.y, self.a, self.b, self.c = y, a, b, y if c is None else c
        self.M, self.N, self.K = y.shape[-2], y.shape[-1], a.shape[-1]
        operands = (y, a, b, self.c)
        batches = [x.restride(x.shape[:-2], x.strides[:-2], 0) for x in operands]
        sizes, steps = merged(batches[0], batches[1:])
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
        """Whether rows (or columns) of a and b start on multiples of 16 elements."""
        return all(1 in x[2:] and all(s % 16 == 0 for s in x if s != 1) for x in self.steps[1:3])

    def is_wide(self) -> bool:
        """Whether an offset inside one batch entry may pass 2^31."""
        sizes = ((self.M, self.N), (self.M, self.K), (self.K, self.N), (self.M, self.N))
        return any(
            abs(x[2]) * m + abs(x[3]) * n >= 2**31 - 2**16
            for x, (m, n) in zip(self.steps, sizes, strict=True)
        )

    def is_far(self) -> bool:
        """Whether an offset from the start of y or c may pass 2^31, batch entries included."""
        sizes = (self.outer, self.inner, self.M, self.N)
        reach = [sum(abs(s) * n for s, n in zip(self.steps[k], sizes, strict=True)) for k in (0, 3)]
        return max(*reach, self.batch * self.M * self.N) >= 2**31 - 2**16


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
) -> None:
    """y = activation(alpha * a @ b + beta * c) for a (..., M, K), b (..., K, N), c broadcast to y.

    ``activation`` is a Triton function of the accumulator. ``choice`` overrides the heuristics.
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
    constants = {
        "SCALED": alpha != 1, "HAS_C": c is not None, "ACTIVATION": activation,
    }  # fmt: skip
    if not p.loop:
        run(p, alpha, beta, constants, choice)
        return
    arrays = (p.y, p.a, p.b, p.c)
    for index in np.ndindex(*p.loop):
        p.y, p.a, p.b, p.c = (
            x.restride(
                x.shape, x.strides, x.itemsize * sum(i * s for i, s in zip(index, st, strict=True))
            )
            for x, st in zip(arrays, p.loop_steps, strict=True)
        )
        run(p, alpha, beta, constants, choice)


def run(
    p: Problem, alpha: float, beta: float, constants: dict[str, Any], choice: Config | None
) -> None:
    """Launch for (outer, inner) batch entries; a second pass where K is split."""
    if p.M == 1 and p.N > 1:
        p.transpose()
    vector = p.N == 1
    precision = input_precision()
    if choice is None:
        choice = (
            vector_config(p.M, p.K, p.steps[1][3], p.batch)
            if vector
            else config(p.M, p.N, p.K, p.y.dtype, p.batch, precision, p.is_aligned())
        )
    acc, acc_numpy = accumulator(p.y.dtype)
    ys, as_, bs, cs = p.steps
    target, target_steps, step_split = p.y, ys, 0
    if choice.split_k > 1:
        n = p.batch * p.M * p.N
        target = cuda.empty((choice.split_k, n), acc_numpy)
        target_steps, step_split = [p.inner * p.M * p.N, p.M * p.N, p.N, 1], n
    shared = {**constants, "ACC": acc, "WIDE": p.is_wide(), "SPLIT_K": choice.split_k}
    options = {"num_warps": choice.num_warps, "num_stages": choice.num_stages}
    rows = triton.cdiv(p.M, choice.block_m)
    if vector:
        cuda.launch(
            matvec_kernel, (rows * p.batch, choice.split_k),
            target, p.a, p.b, p.c, alpha, beta, p.M, p.K, p.inner,
            *target_steps[:3], *as_, *bs[:3], *cs[:3], step_split,
            BLOCK_M=choice.block_m, BLOCK_K=choice.block_k, **shared, **options,
        )  # fmt: skip
    else:
        half_bits = p.y.dtype.name == "bfloat16" and cuda.is_emulated()
        cuda.launch(
            matmul_kernel, (rows * triton.cdiv(p.N, choice.block_n) * p.batch, choice.split_k),
            target, p.a, p.b, p.c, alpha, beta, p.M, p.N, p.K, p.inner,
            *target_steps, *as_, *bs, *cs, step_split,
            DOT=p.y.dtype.kind not in "iu", PRECISION=precision, UPCAST=half_bits,
            EVEN_K=p.K % choice.block_k == 0, GROUP_M=choice.group_m,
            BLOCK_M=choice.block_m, BLOCK_N=choice.block_n, BLOCK_K=choice.block_k,
            **shared, **options,
        )  # fmt: skip
    if choice.split_k > 1:
        block = 1024
        cuda.launch(
            sum_splits_kernel, (triton.cdiv(step_split, block),),
            p.y, target, p.c, alpha, beta, p.M, p.N, p.inner, step_split, *ys, *cs,
            WIDE=p.is_far(), SPLIT_K=choice.split_k, BLOCK=block, **constants,
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
