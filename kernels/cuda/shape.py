"""Joining arrays, and writing windows of zeros: strided copies, and one kernel for many inputs."""

from __future__ import annotations

import functools
import math
from typing import Any

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import addressing, maths
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.lines import block_of, declare_line
from tgrad.kernels.parts import overlaps
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

TOGETHER = 16  # inputs that one launch joins


@kernel("slice_backward", "cuda")
def slice_backward(y, g, shape, index):
    if y.size != g.size:
        _fill(y, y, 0)
    copy(y[index], g)


@kernel("_place_window", "cuda")
def _place_window(y, x, shape, size, stride, offset):
    _fill(y, y, 0)
    if not overlaps(size, stride):
        addressing.run("set", size, x, y.restride((), (), offset * y.itemsize), stride, ())
        return
    direct = y.dtype.name in addressing.ATOMIC
    total = y if direct else addressing.zeros(y.shape, addressing.wide(y.dtype))
    start = total.restride((), (), offset * total.itemsize)
    addressing.run("add", size, x, start, stride, ())
    if not direct:
        copy(y, total)


@triton.jit
def unfold_backward_kernel(
    y_ptr, g_ptr, n, length, stride, count, size, step, ACC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Contiguous y (outer, length, stride) from g (outer, count, stride, size), BLOCK elements.

    Each element sums the at most ceil(size / step) windows over it: no two programs write one
    place. Reads g once.
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    r = offs % stride
    p = (offs // stride) % length
    o = offs // (stride * length)
    total = tl.zeros((BLOCK,), ACC)
    last = p // step
    for j in range(tl.cdiv(size, step)):
        w = last - j
        k = p - w * step
        good = mask & (w >= 0) & (w < count) & (k < size)
        at = ((o * count + w) * stride + r) * size + k
        total += tl.load(g_ptr + at, mask=good, other=0).to(ACC)
    tl.store(y_ptr + offs, maths.to(total, y_ptr.dtype.element_ty), mask=mask)


ACCUMULATE = {"float64": tl.float64, "float32": tl.float32, "float16": tl.float32,
              "bfloat16": tl.float32}  # fmt: skip


@kernel("unfold_backward", "cuda")
def unfold_backward(y, g, shape, dim, size, step):
    if g.size == 0:
        _fill(y, y, 0)
        return
    if not g.is_contiguous:
        fresh = cuda.empty(g.shape, g.dtype)
        copy(fresh, g)
        g = fresh
    length = shape[dim] if shape else 1
    count = g.shape[dim] if shape else 1
    inner = math.prod(shape[dim + 1 :])
    block = 4096 if cuda.is_emulated() else 512
    cuda.launch(
        unfold_backward_kernel,
        (triton.cdiv(y.size, block),),
        y, g, y.size, length, inner, count, size, step,
        ACC=ACCUMULATE.get(y.dtype.name, tl.int64),
        WIDE=max(y.size + block, g.size) >= 2**31,
        BLOCK=block,
    )  # fmt: skip


@triton.jit
def cat_part(y_ptr, x_ptr, width, first, row, n, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Copy BLOCK elements of one input, rows of ``width``, to column ``first`` of y's rows."""
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    if start * BLOCK < n:
        offs = start * BLOCK + tl.arange(0, BLOCK)
        mask = offs < n
        x = tl.load(x_ptr + offs, mask=mask)
        tl.store(y_ptr + (offs // width) * row + first + offs % width, x, mask=mask)


@functools.cache
def cat_kernel(count: int) -> Any:
    """The kernel that joins ``count`` dense inputs; program (i, k) copies block i of input k."""
    names = [f"{v}{k}" for v in ("x", "width", "first", "n") for k in range(count)]
    heads = [f"{v}_ptr" if v[0] == "x" else v for v in names]
    lines = [
        f"def addressing_kernel(y_ptr, {', '.join(heads)}, row, WIDE: tl.constexpr,",
        "                      BLOCK: tl.constexpr):",
        "    k = tl.program_id(1)",
    ]
    for k in range(count):
        lines += [
            f"    if k == {k}:",
            f"        cat_part(y_ptr, x{k}_ptr, width{k}, first{k}, row, n{k}, WIDE, BLOCK)",
        ]
    return addressing.jit("\n".join(lines) + "\n", f"<cat {count}>", cat_part=cat_part)


@kernel("_cat", "cuda")
def _cat(y, tensors, dim, dtype):
    join(y, tensors, dim)


@kernel("_stack", "cuda")
def _stack(y, tensors, dim, dtype):
    join(y, [x[(*(slice(None),) * dim, None)] for x in tensors], dim)


def join(y: CudaArray, xs: list[CudaArray], dim: int) -> None:
    """Fill y with ``xs`` along ``dim``: those that are dense and of y's dtype many at a time."""
    inner = math.prod(y.shape[dim + 1 :])
    row = y.shape[dim] * inner
    batch: list[tuple[CudaArray, int, int]] = []
    first = 0
    for x in xs:
        end = first + x.shape[dim]
        if x.size and x.is_contiguous and x.dtype == y.dtype:
            batch.append((x, x.shape[dim] * inner, first * inner))
        elif x.size:
            copy(y[(*(slice(None),) * dim, slice(first, end))], x)
        first = end
    for i in range(0, len(batch), TOGETHER):
        arrays, widths, firsts = zip(*batch[i : i + TOGETHER], strict=True)
        counts = [x.size for x in arrays]
        rule = 8192 if cuda.is_emulated() else 1024
        block, warps = block_of("cat", y.itemsize, (max(counts), len(arrays)), rule)
        cuda.launch(
            cat_kernel(len(arrays)),
            (triton.cdiv(max(counts), block), len(arrays)),
            addressing.raw(y),
            *[addressing.raw(x) for x in arrays],
            *widths,
            *firsts,
            *counts,
            row,
            WIDE=y.size + block >= 2**31,
            BLOCK=block,
            num_warps=warps,
        )


declare_line("cat", example("cat", [array(3, 20), array(4, 20)]))
