"""Lookup tables: a tile of rows is copied, and added back by atomics or in sorted order."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import (
    Case,
    Space,
    array,
    ask,
    away,
    declare,
    example,
    storage_kind,
)
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import common_unit
from tgrad.kernels.cuda.norm import acc_of, dense
from tgrad.kernels.cuda.ordered import sort
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.settings import are_deterministic_algorithms_enabled

PLAIN = ["n", "width", "rows", "w_row", "w_col", "padding_idx"]


@triton.jit(do_not_specialize=PLAIN)
def embedding_kernel(
    y_ptr, w_ptr, i_ptr, n, width, rows, w_row, w_col,
    FLOATING: tl.constexpr, UNIT: tl.constexpr, VEC: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """BLOCK_T lookups x BLOCK_D columns. A row out of range is NaN (0 in integers).

    ``width``, and ``w_row`` where rows are dense (UNIT), come in units of VEC.
    """
    width = width * VEC
    k = tl.program_id(0).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    i = tl.load(i_ptr + k, mask=k < n, other=0).to(tl.int64)
    mask = (k < n)[:, None] & (d < width)[None, :]
    inside = mask & ((i >= 0) & (i < rows))[:, None]
    if UNIT:
        at = (i * w_row * VEC)[:, None] + d[None, :]
    else:
        at = (i * w_row)[:, None] + (d * w_col)[None, :]
    if FLOATING:
        y = tl.load(w_ptr + at, mask=inside, other=float("nan"))
    else:
        y = tl.load(w_ptr + at, mask=inside, other=0)
    tl.store(y_ptr + (k * width)[:, None] + d[None, :], y, mask=mask)


@triton.jit(do_not_specialize=PLAIN)
def count_kernel(counts_ptr, i_ptr, n, rows, BLOCK: tl.constexpr):
    """How often each row was looked up; integers add up the same in any order."""
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    i = tl.load(i_ptr + k, mask=k < n, other=-1).to(tl.int64)
    one = tl.full((BLOCK,), 1, tl.int32)
    tl.atomic_add(counts_ptr + i, one, mask=(k < n) & (i >= 0) & (i < rows), sem="relaxed")


@triton.jit(do_not_specialize=PLAIN)
def embedding_backward_kernel(
    dw_ptr, g_ptr, i_ptr, counts_ptr, n, width, rows, padding_idx,
    BY_FREQUENCY: tl.constexpr, VEC: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """dw[i] += g for BLOCK_T lookups x BLOCK_D columns, by atomics in float32 or wider."""
    width = width * VEC
    k = tl.program_id(0).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    i = tl.load(i_ptr + k, mask=k < n, other=-1).to(tl.int64)
    used = (i >= 0) & (i < rows) & (i != padding_idx)
    mask = used[:, None] & (d < width)[None, :]
    g = tl.load(g_ptr + (k * width)[:, None] + d[None, :], mask=mask, other=0)
    g = g.to(dw_ptr.dtype.element_ty)
    if BY_FREQUENCY:
        g /= tl.load(counts_ptr + i, mask=used, other=1).to(g.dtype)[:, None]
    tl.atomic_add(dw_ptr + (i * width)[:, None] + d[None, :], g, mask=mask, sem="relaxed")


@triton.jit
def embedding_runs_kernel(
    dw_ptr, keys_ptr, order_ptr, g_ptr, n, width, rows, padding_idx,
    BY_FREQUENCY: tl.constexpr, ACC: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One row of dw, by the program at the start of its run of sorted lookups, in their order."""
    start = tl.program_id(0).to(tl.int64)
    key = tl.load(keys_ptr + start)
    before = tl.load(keys_ptr + start - 1, mask=start > 0, other=-1)
    if (key != before) & (key >= 0) & (key < rows) & (key != padding_idx):
        d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
        acc = tl.zeros((BLOCK_D,), ACC)
        at = start
        here = key
        while here == key:
            k = tl.load(order_ptr + at)
            acc += tl.load(g_ptr + k * width + d, mask=d < width, other=0).to(ACC)
            at += 1
            here = tl.load(keys_ptr + at, mask=at < n, other=-1)
        if BY_FREQUENCY:
            acc /= (at - start).to(ACC)
        y = maths.to(acc, dw_ptr.dtype.element_ty)
        tl.store(dw_ptr + key * width + d, y, mask=d < width)


class LookupConfig(NamedTuple):
    """The choices of a launch: lookups x columns of a program, and its warps."""

    block_t: int
    block_d: int
    num_warps: int = 4


def tile_of(kernel: str, w: CudaArray, n: int) -> LookupConfig:
    """A tuner's choice for n lookups in w, else 2048 elements, of whole rows up to 1024."""
    width = w.shape[1]
    found = ask(kernel, storage_kind(w.itemsize), (n, width))
    if found is not None:
        return found
    block_d = min(triton.next_power_of_2(max(width, 1)), 1024)
    block_t = min(triton.next_power_of_2(max(n, 1)), max(2048 // block_d, 1))
    return LookupConfig(block_t, block_d)


def refusal(c: LookupConfig, case: Case) -> str:
    """Why a tile cannot be good, "" where it may be."""
    n, width = case.sizes
    if c.block_t > triton.next_power_of_2(n) or c.block_d > triton.next_power_of_2(width):
        return "is larger than what is looked up"
    if c.block_d < min(16, width):
        return "loads less than 16 neighbours"
    each = c.block_t * c.block_d // (32 * c.num_warps)
    return f"takes {each} elements a thread" if case.arch and not 1 <= each <= 32 else ""


def order(c: LookupConfig, case: Case) -> float:
    """Sooner: 2048 elements, 16 a thread."""
    elements = c.block_t * c.block_d
    return away(elements, 2048) + away(elements / (32 * c.num_warps), 16)


VALUES = {
    "block_t": (1, 2, 4, 8, 16, 32, 64, 128),
    "block_d": (8, 16, 32, 64, 128, 256, 512, 1024, 2048), "num_warps": (1, 2, 4, 8),
}  # fmt: skip
TINY = example("nn.functional.embedding", array(5, 3, dtype="int64"), array(11, 19), backward=True)
declare(Space("embedding", VALUES, refusal, LookupConfig, order=order, tiny=TINY,
              below=lambda call: call.arrays[1].shape[0]))  # fmt: skip
declare(Space("embedding_backward", VALUES, refusal, LookupConfig, order=order, tiny=TINY,
              below=lambda call: call.arrays[0].shape[0]))  # fmt: skip


@kernel("embedding", "cuda")
def embedding(y, weight, indices, padding_idx, scale_grad_by_freq, sparse):
    if y.size == 0:
        return
    n, (rows, width) = indices.size, weight.shape
    c = tile_of("embedding", weight, n)
    w_row, w_col = weight.steps
    vec = common_unit(16, width, w_row if w_col == 1 else 0)
    cuda.launch(
        embedding_kernel, (triton.cdiv(n, c.block_t), triton.cdiv(width, c.block_d)), y, weight,
        dense(indices), n, width // vec, rows, w_row // vec if w_col == 1 else w_row, w_col,
        FLOATING=weight.dtype.kind in "fV", UNIT=w_col == 1, VEC=vec, BLOCK_T=c.block_t,
        BLOCK_D=c.block_d, num_warps=c.num_warps,
    )  # fmt: skip


@kernel("embedding_backward", "cuda")
def embedding_backward(dw, g, indices, rows, padding_idx, scale_grad_by_freq):
    n, width = indices.size, dw.shape[1]
    if are_deterministic_algorithms_enabled():
        _fill(dw, dw, 0)
        if g.size and rows:
            in_order(dw, dense(g), indices, padding_idx, scale_grad_by_freq)
        return
    wide = np.dtype(np.float64 if dw.dtype.itemsize == 8 else np.float32)
    total = dw if dw.dtype == wide else cuda.empty(dw.shape, wide)
    _fill(total, total, 0)
    if g.size and rows:
        where, counts = dense(indices), total
        if scale_grad_by_freq:
            counts = cuda.empty((rows,), np.dtype(np.int32))
            _fill(counts, counts, 0)
            grid = (triton.cdiv(n, 1024),)
            cuda.launch(count_kernel, grid, counts, where, n, rows, BLOCK=1024)
        c, vec = tile_of("embedding_backward", dw, n), common_unit(16, width)
        cuda.launch(
            embedding_backward_kernel, (triton.cdiv(n, c.block_t), triton.cdiv(width, c.block_d)),
            total, dense(g), where, counts, n, width // vec, rows, padding_idx,
            BY_FREQUENCY=scale_grad_by_freq, VEC=vec, BLOCK_T=c.block_t, BLOCK_D=c.block_d,
            num_warps=c.num_warps,
        )  # fmt: skip
    if total is not dw:
        copy(dw, total)


def in_order(
    dw: CudaArray, g: CudaArray, indices: CudaArray, padding_idx: int, by_frequency: bool
) -> None:
    """The sums without atomics: lookups sorted by row, each run added up by one program."""
    n, (rows, width) = indices.size, dw.shape
    keys = cuda.empty((n,), np.dtype(np.int64))
    copy(keys.reshape(indices.shape), indices)
    keys, order = sort(keys, max(rows - 1, 0))
    block_d = min(triton.next_power_of_2(width), 1024)
    wide = np.dtype(np.float64 if dw.dtype.itemsize == 8 else np.float32)
    cuda.launch(
        embedding_runs_kernel, (n, math.ceil(width / block_d)), dw, keys, order, g, n, width, rows,
        padding_idx, BY_FREQUENCY=by_frequency, ACC=acc_of(wide), BLOCK_D=block_d,
    )  # fmt: skip
