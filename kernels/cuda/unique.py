"""Numbering runs of equal neighbours, and the order of a matrix's rows."""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.dtypes import from_numpy_dtype
from tgrad.kernels.cuda import pointwise
from tgrad.kernels.cuda.axes import split
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.extrema import block_size, fill, pick
from tgrad.kernels.cuda.sort import _sort as sort
from tgrad.kernels.cuda.sort import longest_in_registers, radix_order
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


def _unequal(a, b):
    return a != b


@kernel("_differs", "cuda")
def _differs(y, x):
    if y.size:
        fill(y[:1], 0)
        pointwise.launch_expression(_unequal, [y[1:]], [x[1:], x[:-1]], from_numpy_dtype(x.dtype))


@kernel("_lexsort", "cuda")
def _lexsort(y, x):
    if y.size == 0:
        return
    columns = [x[:, j] for j in reversed(range(x.shape[1]))]
    if y.size <= longest_in_registers():
        short_lexsort(y, columns)
        return
    order = None
    for column in columns:
        order = radix_order(split(column, (0,), ordered=True), False, order)
    assert order is not None
    copy(y, order.reshape(y.shape))


def short_lexsort(y: CudaArray, columns: list[CudaArray]) -> None:
    """The last column first, each next one in the order so far."""
    key, at = cuda.empty(y.shape, columns[0].dtype), cuda.empty(y.shape, y.dtype)
    sort(key, y, columns[0], 0, False, y.size)
    for column in columns[1:]:
        pick(key, column, y, 0)
        sort(cuda.empty(y.shape, key.dtype), at, key, 0, False, y.size)
        order = cuda.empty(y.shape, y.dtype)
        pick(order, y, at, 0)
        copy(y, order)


@triton.jit
def run_starts_kernel(y_ptr, x_ptr, n, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """y[x[i]] = i where x[i] is not x[i - 1]; x is contiguous."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    run = tl.load(x_ptr + offs, mask=mask, other=0)
    before = tl.load(x_ptr + offs - 1, mask=mask & (offs > 0), other=-1)
    tl.store(y_ptr + run, offs.to(tl.int64), mask=mask & (run != before))


@kernel("_run_starts", "cuda")
def _run_starts(y, x, count):
    block = block_size()
    cuda.launch(
        run_starts_kernel, (triton.cdiv(x.size, block),), y, x, x.size,
        WIDE=x.size + block >= 2**31, BLOCK=block,
    )  # fmt: skip
