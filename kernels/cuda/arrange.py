"""Elements in another place: strided copies where they do, kernels for triangles and repeats."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import addressing
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.ordered import scan
from tgrad.kernels.parts import REVERSED, rolled
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, reshape_strides


@kernel("_flip", "cuda")
def _flip(y, x, dims):
    copy(y, x[tuple(REVERSED if k in dims else slice(None) for k in range(x.ndim))])


@kernel("_roll", "cuda")
def _roll(y, x, shifts, dims):
    for to, where in rolled(x.shape, shifts, dims):
        copy(y[to], x[where])


@kernel("_pad", "cuda")
def _pad(y, x, low, high, value):
    if y.size != x.size:
        _fill(y, y, value)
    copy(y[tuple(slice(a, a + n) for a, n in zip(low, x.shape, strict=True))], x)


@triton.jit
def triangle_kernel(
    y_ptr, x_ptr, rows, columns, diagonal, stride_yb, stride_ym, stride_yn, stride_xb, stride_xm,
    stride_xn, UPPER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One tile of one matrix: x on the kept side of the diagonal, else 0. Reads what it keeps."""
    pid = tl.program_id(0)
    blocks = tl.cdiv(columns, BLOCK_N)
    offs_m = (pid // blocks) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    offs_n = (pid % blocks) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    b = tl.program_id(1).to(tl.int64)
    mask = (offs_m < rows) & (offs_n < columns)
    kept = (offs_n - offs_m >= diagonal) if UPPER else (offs_n - offs_m <= diagonal)
    at_x = b * stride_xb + offs_m.to(tl.int64) * stride_xm + offs_n.to(tl.int64) * stride_xn
    at_y = b * stride_yb + offs_m.to(tl.int64) * stride_ym + offs_n.to(tl.int64) * stride_yn
    x = tl.load(x_ptr + at_x, mask=mask & kept, other=0)
    tl.store(y_ptr + at_y, x, mask=mask)


def matrices(x: CudaArray) -> CudaArray | None:
    """x as (batch, rows, columns); None where its batch axes do not merge."""
    shape = (math.prod(x.shape[:-2]), *x.shape[-2:])
    strides = reshape_strides(x.shape, x.strides, shape, x.itemsize)
    return None if strides is None else x.restride(shape, strides, 0)


@kernel("_triangle", "cuda")
def _triangle(y, x, diagonal, upper):
    if y.size == 0:
        return
    a, b = matrices(y), matrices(x)
    if a is None or b is None:
        for i in range(y.shape[0]):
            _triangle(y[i], x[i], diagonal, upper)
        return
    size = 64 if cuda.is_emulated() else 32
    blocks = triton.cdiv(a.shape[1], size) * triton.cdiv(a.shape[2], 2 * size)
    a, b = addressing.raw(a), addressing.raw(b)
    most = 65535  # programs along the second axis of a grid
    for first in range(0, a.shape[0], most):
        part = slice(first, first + most)
        cuda.launch(
            triangle_kernel,
            (blocks, min(most, a.shape[0] - first)),
            a[part],
            b[part],
            *a.shape[1:],
            diagonal,
            *a.steps,
            *b.steps,
            UPPER=upper,
            BLOCK_M=size,
            BLOCK_N=2 * size,
        )


@kernel("_running_sum", "cuda")
def _running_sum(y, x):
    if x.size == 0:
        _fill(y, y, 0)
        return
    if not x.is_contiguous:
        fresh = cuda.empty(x.shape, x.dtype)
        copy(fresh, x)
        x = fresh
    scan(y, x)


@triton.jit
def repeat_index_kernel(y_ptr, ends_ptr, size, n, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """y[j] = the i with ends[i] <= j < ends[i + 1], by STEPS halvings of [0, n)."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < size
    low = offs * 0
    high = low + n
    for _ in range(STEPS):
        middle = (low + high) // 2
        after = tl.load(ends_ptr + middle + 1, mask=mask & (middle < n), other=0) <= offs
        low = tl.where(after & (low < high), middle + 1, low)
        high = tl.where(after | (low >= high), high, middle)
    tl.store(y_ptr + offs, low, mask=mask)


@kernel("_repeat_index", "cuda")
def _repeat_index(y, repeats, ends, size):
    block = 4096 if cuda.is_emulated() else 512
    cuda.launch(
        repeat_index_kernel,
        (triton.cdiv(size, block),),
        y,
        ends,
        size,
        repeats.size,
        STEPS=repeats.size.bit_length() + 1,
        BLOCK=block,
    )
