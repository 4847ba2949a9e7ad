"""Reductions: rows in registers, several loads deep."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.copy import copy
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, is_contiguous


@triton.jit
def sum_rows_kernel(y_ptr, x_ptr, n, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """y[row] = sum(x[row, :]); one program per row, BLOCK columns a step. Reads x once."""
    row = tl.program_id(0)
    acc = tl.zeros((BLOCK,), ACC)
    for start in range(0, n, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        acc += tl.load(x_ptr + row * n + offs, mask=offs < n, other=0).to(ACC)
    total = tl.sum(acc, axis=0)
    tl.store(y_ptr + row, maths.to(total, y_ptr.dtype.element_ty))


def rows(x: CudaArray, dim: tuple[int, ...]) -> CudaArray:
    """x as (rows, reduced), contiguous."""
    kept = [i for i in range(x.ndim) if i not in dim]
    moved = x.transpose((*kept, *dim))
    if not is_contiguous(moved):
        fresh = cuda.empty(moved.shape, moved.dtype)
        copy(fresh, moved)
        moved = fresh
    n = math.prod(x.shape[i] for i in dim)
    return moved.reshape((x.size // n if n else math.prod(x.shape[i] for i in kept), n))


@kernel("_sum", "cuda")
def _sum(y, x, dim, keepdim, dtype):
    x = rows(x, dim)
    acc = {"f": tl.float64 if y.dtype.itemsize == 8 else tl.float32}.get(y.dtype.kind, tl.int64)
    if y.dtype.name == "bfloat16":
        acc = tl.float32
    block = min(triton.next_power_of_2(max(x.shape[1], 1)), 4096)
    cuda.launch(sum_rows_kernel, (y.size,), y, x, x.shape[1], ACC=acc, BLOCK=block)
