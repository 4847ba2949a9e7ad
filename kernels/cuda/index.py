"""Reading and writing where index tensors say, and finding the elements that are not 0."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import addressing
from tgrad.kernels.cuda.addressing import Index, Located
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.ordered import scan
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

STEP = 1024  # elements looked at at a time


def located(table: CudaArray, indices: list[CudaArray], start: int) -> Located:
    """Iteration shape, the table's steps in it and the indices, for table[..., indices, ...]."""
    rank = max(i.ndim for i in indices)
    common = [1] * rank
    for i in indices:
        for k, n in enumerate(i.shape, rank - i.ndim):
            common[k] = n if common[k] == 1 else common[k]
    after = start + len(indices)
    shape = (*table.shape[:start], *common, *table.shape[after:])
    steps = table.steps
    found = []
    for j, i in enumerate(indices):
        own = [0 if n == 1 else s for n, s in zip(i.shape, i.steps, strict=True)]
        at = [0] * start + [0] * (rank - i.ndim) + own + [0] * (table.ndim - after)
        found.append(Index(i, at, table.shape[start + j], steps[start + j]))
    return shape, [*steps[:start], *(0,) * rank, *steps[after:]], found


@kernel("_index", "cuda")
def _index(y, x, indices, start):
    shape, steps, found = located(x, indices, start)
    addressing.run("gather", shape, y, x, steps, found)


@kernel("index_backward", "cuda")
def index_backward(y, g, indices, shape, start):
    _fill(y, y, 0)
    addressing.add(y, g, lambda table: located(table, indices, start))


@kernel("_index_put", "cuda")
def _index_put(y, x, indices, values, start, accumulate):
    if y is not x:
        copy(y, x)
    if accumulate:
        addressing.add(y, values, lambda table: located(table, indices, start))
    else:
        shape, steps, found = located(y, indices, start)
        addressing.run("set", shape, values, y, steps, found)


@kernel("_index_fill", "cuda")
def _index_fill(y, x, indices, start, value):
    if y is not x:
        copy(y, x)
    shape, steps, found = located(y, indices, start)
    addressing.run("fill", shape, value, y, steps, found)


# ---- elements that are not 0 ---------------------------------------------------------------------


@triton.jit
def is_set(x):
    """x != 0; NaN is."""
    return (x.to(tl.float32) != 0) if x.dtype.is_bf16() else (x != 0)


@triton.jit
def count_kernel(counts_ptr, x_ptr, n, CHUNK: tl.constexpr, STEP: tl.constexpr, WIDE: tl.constexpr):
    """counts[i] = how many of CHUNK elements of x are not 0."""
    first = tl.program_id(0)
    if WIDE:
        first = first.to(tl.int64)
    total = tl.zeros((STEP,), tl.int64)
    for start in range(0, CHUNK, STEP):
        offs = first * CHUNK + start + tl.arange(0, STEP)
        total += is_set(tl.load(x_ptr + offs, mask=offs < n, other=0)).to(tl.int64)
    tl.store(counts_ptr + first, tl.sum(total, axis=0))


@functools.cache
def nonzero_kernel(rank: int) -> Any:
    """y[j, :] = the coordinates of the j-th element that is not 0; a program looks at CHUNK."""
    sizes = [f"size_{k}" for k in range(rank)]
    lines = [
        f"def addressing_kernel(y_ptr, x_ptr, sums_ptr, n, {', '.join(sizes)},",
        "                      CHUNK: tl.constexpr, STEP: tl.constexpr, WIDE: tl.constexpr):",
        "    first = tl.program_id(0)",
        "    if WIDE:",
        "        first = first.to(tl.int64)",
        "    carry = tl.load(sums_ptr + first)",
        "    for start in range(0, CHUNK, STEP):",
        "        offs = first * CHUNK + start + tl.arange(0, STEP)",
        "        found = is_set(tl.load(x_ptr + offs, mask=offs < n, other=0))",
        "        ones = found.to(tl.int64)",
        f"        row = (carry + tl.cumsum(ones, axis=0) - ones) * {rank}",
        "        carry += tl.sum(ones, axis=0)",
        "        rest = offs",
    ]
    for k in reversed(range(rank)):
        value = f"rest % size_{k}" if k else "rest"
        lines.append(f"        tl.store(y_ptr + row + {k}, ({value}).to(tl.int64), mask=found)")
        if k:
            lines.append(f"        rest = rest // size_{k}")
    return addressing.jit("\n".join(lines) + "\n", f"<nonzero {rank}>", is_set=is_set)


def dense(x: CudaArray) -> CudaArray:
    """x in row-major order; bool as bytes."""
    if not x.is_contiguous:
        fresh = cuda.empty(x.shape, x.dtype)
        copy(fresh, x)
        x = fresh
    return x.view(np.dtype(np.uint8)) if x.dtype == np.bool_ else x


@kernel("_nonzero_offsets", "cuda")
def _nonzero_offsets(y, x, chunk):
    x, blocks = dense(x), y.size - 1
    counts = cuda.empty((blocks,), y.dtype)
    wide = x.size + chunk >= 2**31
    cuda.launch(count_kernel, (blocks,), counts, x, x.size, CHUNK=chunk, STEP=STEP, WIDE=wide)
    scan(y, counts)


@kernel("_nonzero", "cuda")
def _nonzero(y, x, offsets, chunk, count):
    if y.size == 0:
        return
    x = dense(x)
    cuda.launch(
        nonzero_kernel(x.ndim),
        (offsets.size - 1,),
        y,
        x,
        offsets,
        x.size,
        *x.shape,
        CHUNK=chunk,
        STEP=STEP,
        WIDE=x.size + chunk >= 2**31,
    )
