"""Sorting: short rows by a bitonic network, long ones by radix passes over memory.

Both work on integer keys that order NaN as PyTorch does (:func:`axes.order_key`) and carry the
position along, which makes equal elements keep their order. Values are read once more at the end.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.axes import PLAIN, Axes, locate, order_key, split
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
from tgrad.kernels.cuda.digits import (
    DIGITS,
    DigitConfig,
    digit_counts,
    digit_order,
    digit_ranks,
    digit_refusal,
)
from tgrad.kernels.cuda.extrema import block_size, dense, inner_size
from tgrad.kernels.cuda.scan import run_lengths_kernel, scan
from tgrad.kernels.cuda.tiles import machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

# ---- rows in registers ---------------------------------------------------------------------------


@triton.jit
def bitonic(key, at, keys_ptr, ats_ptr, PAIR: tl.constexpr, ROWS: tl.constexpr, N: tl.constexpr):
    """Sort int64 keys along axis 1 (Batcher 1968), ``at`` with them and deciding ties if PAIR.

    Lanes meet their partners in scratch memory, 2 * ROWS * N elements of this program's own, which
    the caches hold: written on one side while the other may still be read, so that a step takes one
    barrier. A gather on chip would be turned into shuffles of every register with every other
    (6000 instructions a step at 1024 lanes), and the network written out compiles for minutes.
    """
    own = tl.arange(0, ROWS)[:, None] * N + tl.arange(0, N)[None, :]
    lane = own & (N - 1)
    side = 0
    run = 2  # lanes in runs that go up and down by turns; the last run is the whole row
    while run <= N:
        step = run // 2
        while step > 0:
            tl.store(keys_ptr + side + own, key)
            if PAIR:
                tl.store(ats_ptr + side + own, at)
            tl.debug_barrier()
            other = tl.load(keys_ptr + side + (own ^ step))
            upper = (lane & step) != 0
            down = (lane & run) != 0
            if PAIR:
                other_at = tl.load(ats_ptr + side + (own ^ step))
                above = (key > other) | ((key == other) & (at > other_at))
                swap = above != (upper != down)
                at = tl.where(swap, other_at, at)
            else:
                swap = (key > other) != (upper != down)
            key = tl.where(swap, other, key)
            side = ROWS * N - side
            step = step // 2
        run = run * 2
    return key, at


@triton.jit
def sorted_lanes(
    x, mask, keys_ptr, ats_ptr, DESCENDING: tl.constexpr, PAIR: tl.constexpr, ROWS: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    """The lanes of each row in the order of its elements, stably, those not in ``mask`` last.

    Keys of 32 bits go with their lane into one int64; those of 64 bits beside it (PAIR).
    """
    pid = tl.program_id(0) + tl.program_id(1).to(tl.int64) * tl.num_programs(0)
    keys_ptr += pid * (2 * ROWS * N)
    ats_ptr += pid * (2 * ROWS * N)
    key = order_key(x, False)
    key = ~key if DESCENDING else key
    at = tl.broadcast_to(tl.arange(0, N)[None, :], (ROWS, N))
    if PAIR:
        key = tl.where(mask, key, 0x7FFFFFFFFFFFFFFF)
    else:
        key = (tl.where(mask, key, 0x7FFFFFFF).to(tl.int64) << 32) | at.to(tl.int64)
    key, at = bitonic(key, at, keys_ptr, ats_ptr, PAIR, ROWS, N)
    if not PAIR:
        at = (key & 0x7FFFFFFF).to(tl.int32)
    return at


@triton.jit(do_not_specialize=PLAIN)
def sort_rows_kernel(
    y_ptr, i_ptr, x_ptr, keys_ptr, ats_ptr, rows, length, keep, stride,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    DESCENDING: tl.constexpr, PAIR: tl.constexpr, K_COUNT: tl.constexpr, K_UNIT: tl.constexpr,
    R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """The first ``keep`` of BLOCK_K sorted rows of at most BLOCK_R elements."""
    k = tl.program_id(0)
    if WIDE:
        k = k.to(tl.int64)
    offs_k = k * BLOCK_K + tl.arange(0, BLOCK_K)
    x_k = locate(offs_k, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    y_k = (offs_k // stride) * (stride * keep) + offs_k % stride
    mask_k = offs_k < rows
    lane = tl.arange(0, BLOCK_R)
    mask = mask_k[:, None] & (lane < length)[None, :]
    x_r = locate(lane, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
    x = tl.load(x_ptr + x_k[:, None] + x_r[None, :], mask=mask, other=0)
    at = sorted_lanes(x, mask, keys_ptr, ats_ptr, DESCENDING, PAIR, BLOCK_K, BLOCK_R)
    kept = mask_k[:, None] & (lane < keep)[None, :]
    x_r = locate(at, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
    y = tl.load(x_ptr + x_k[:, None] + x_r, mask=kept, other=0)
    out = y_k[:, None] + lane[None, :] * stride
    tl.store(y_ptr + out, y, mask=kept)
    tl.store(i_ptr + out, at.to(tl.int64), mask=kept)


def longest_in_registers() -> int:
    return 128 if cuda.is_emulated() else 4096


def scratch(programs: int, elements: int, pair: bool) -> tuple[CudaArray, CudaArray]:
    """Where the lanes of a bitonic network meet: keys and positions."""
    keys = cuda.empty((programs * 2 * elements,), np.dtype(np.int64))
    return keys, cuda.empty(keys.shape, np.dtype(np.int32)) if pair else keys


# ---- few of long rows: the first of each part, and of those again --------------------------------


@triton.jit(do_not_specialize=[*PLAIN, "left"])
def candidates_kernel(
    at_ptr, from_ptr, x_ptr, keys_ptr, ats_ptr, length, keep, left,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    DESCENDING: tl.constexpr, PAIR: tl.constexpr, AGAIN: tl.constexpr, K_COUNT: tl.constexpr,
    K_UNIT: tl.constexpr, R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """at[row, part * keep :] = where the first ``keep`` in order of BLOCK elements of a row are.

    AGAIN, of those of its elements that ``from`` (rows, length) names; ``left`` is at's length.
    """
    part = tl.program_id(0)
    row = tl.program_id(1)
    if WIDE:
        row = row.to(tl.int64)
    lane = tl.arange(0, BLOCK)[None, :]
    offs = part * BLOCK + lane
    mask = offs < length
    p = offs
    if AGAIN:
        p = tl.load(from_ptr + row * length + offs, mask=mask, other=0)
    elif WIDE:
        p = p.to(tl.int64)
    x_k = locate(row, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    x_r = locate(p, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
    x = tl.load(x_ptr + x_k + x_r, mask=mask, other=0)
    at = sorted_lanes(x, mask, keys_ptr, ats_ptr, DESCENDING, PAIR, 1, BLOCK)
    at = part * BLOCK + at
    kept = (lane < keep) & (part * keep + lane < left)
    if AGAIN:
        p = tl.load(from_ptr + row * length + at, mask=kept & (at < length), other=0)
    else:
        p = at
    out = at_ptr + row * left + part * keep + lane
    tl.store(out, p.to(at_ptr.dtype.element_ty), mask=kept)


def first_few(axes: Axes, descending: bool, k: int) -> CudaArray:
    """The positions, (rows, k), of the first k of each sorted row, without sorting the rest.

    Each round sorts blocks and keeps k of each, in the order of the row: ties stay stable.
    """
    rule = PartConfig(longest_in_registers() // 2, 8)
    size = axes.x.dtype.itemsize
    c = ask("topk", storage_kind(size), (axes.rows, axes.length, k)) or rule
    block, pair = c.block, size == 8
    places = np.dtype(np.int64 if axes.length >= 2**31 else np.int32)
    at, length = None, axes.length
    while at is None or length > k:
        parts = triton.cdiv(length, block)
        left = (parts - 1) * k + min(k, length - (parts - 1) * block)
        found = cuda.empty((axes.rows, left), places)
        cuda.launch(
            candidates_kernel, (parts, axes.rows), found, found if at is None else at, axes.x,
            *scratch(parts * axes.rows, block, pair), length, k, left, *axes.arguments(),
            **axes.constants(), DESCENDING=descending, PAIR=pair, AGAIN=at is not None,
            BLOCK=block, num_warps=c.num_warps,
        )  # fmt: skip
        at, length = found, left
    return at


class PartConfig(NamedTuple):
    """The choices of a launch that takes rows in parts: elements of one, and its warps."""

    block: int
    num_warps: int


def part_refusal(c: PartConfig, case: Case) -> str:
    """Why a part cannot be good, "" where it may be: a round must leave few of its elements."""
    _, length, k = case.sizes
    if c.block < 4 * k or c.block > triton.next_power_of_2(length):
        return f"keeps {k} of {c.block} elements in rows of {length}"
    return lanes_refused(c.block, c.num_warps, case)


def lanes_refused(elements: int, num_warps: int, case: Case) -> str:
    each = elements // (32 * num_warps)
    return f"keeps {each} lanes a thread" if case.arch and not 1 <= each <= 16 else ""


def part_order(c: PartConfig, case: Case) -> float:
    """Sooner: near 2048 lanes of 8 warps."""
    return away(c.block, 2048) + away(c.num_warps, 8)


PARTS = {"block": tuple(1 << k for k in range(5, 13)), "num_warps": (1, 2, 4, 8, 16)}
declare(
    Space("topk", PARTS, part_refusal, PartConfig, order=part_order,
          tiny=example("topk", array(2, 150), 3))
)  # fmt: skip


# ---- long rows: radix passes ---------------------------------------------------------------------

# Loads along rows are wide where 16 divides their length.
STEADY = ["shift", *(name for name in PLAIN if name not in ("length", "keep"))]


@triton.jit(do_not_specialize=STEADY)
def keys_kernel(
    key_ptr, at_ptr, x_ptr, order_ptr, length, blocks,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    DESCENDING: tl.constexpr, ORDERED: tl.constexpr, LEAST: tl.constexpr, K_COUNT: tl.constexpr,
    K_UNIT: tl.constexpr, R_COUNT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """key[k, r] = x[k, p] as bits that sort as unsigned, at[k, r] = p; p is r, or order[k, r]."""
    row = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if WIDE:
        row = row.to(tl.int64)
        block = block.to(tl.int64)
    offs = block * BLOCK + tl.arange(0, BLOCK)
    mask = offs < length
    out = row * length + offs
    p = offs
    if ORDERED:
        p = tl.load(order_ptr + out, mask=mask, other=0)
    x_k = locate(row, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    x_r = locate(p, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
    key = order_key(tl.load(x_ptr + x_k + x_r, mask=mask, other=0), False)
    key = ~key if DESCENDING else key
    tl.store(key_ptr + out, key - LEAST, mask=mask)
    tl.store(at_ptr + out, p.to(at_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=STEADY)
def count_digits_kernel(
    count_ptr, key_ptr, length, blocks, shift, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """count[row, d, block] = how many of the block's keys have digit d at bit ``shift``."""
    row = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if WIDE:
        row = row.to(tl.int64)
        block = block.to(tl.int64)
    offs = block * BLOCK + tl.arange(0, BLOCK)
    mask = offs < length
    key = tl.load(key_ptr + row * length + offs, mask=mask, other=0)
    count = digit_counts(((key >> shift) & 15).to(tl.int32), mask)
    tl.store(count_ptr + (row * 16 + tl.arange(0, 16)) * blocks + block, count)


@triton.jit(do_not_specialize=STEADY)
def scatter_digits_kernel(
    key_out_ptr, at_out_ptr, key_ptr, at_ptr, base_ptr, length, blocks, shift,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Move the block's keys to base[row, digit, block] plus their rank among equal digits."""
    row = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if WIDE:
        row = row.to(tl.int64)
        block = block.to(tl.int64)
    offs = block * BLOCK + tl.arange(0, BLOCK)
    mask = offs < length
    key = tl.load(key_ptr + row * length + offs, mask=mask, other=0)
    at = tl.load(at_ptr + row * length + offs, mask=mask, other=0)
    digit = ((key >> shift) & 15).to(tl.int32)
    rank = digit_ranks(digit, mask)
    base = tl.load(base_ptr + (row * 16 + digit) * blocks + block, mask=mask, other=0)
    out = row * length + base + rank
    tl.store(key_out_ptr + out, key, mask=mask)
    tl.store(at_out_ptr + out, at, mask=mask)


@triton.jit(do_not_specialize=STEADY)
def take_sorted_kernel(
    y_ptr, i_ptr, x_ptr, at_ptr, length, keep, stride, blocks,
    kn0, kn1, ks0, ks1, ks2, rn0, rn1, rs0, rs1, rs2,
    K_COUNT: tl.constexpr, K_UNIT: tl.constexpr, R_COUNT: tl.constexpr, R_UNIT: tl.constexpr,
    VEC: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y, i = the first ``keep`` elements of each row in sorted order, and their positions."""
    row = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if WIDE:
        row = row.to(tl.int64)
        block = block.to(tl.int64)
    offs = block * BLOCK + tl.arange(0, BLOCK)
    mask = offs < keep
    at = tl.load(at_ptr + row * length + offs, mask=mask, other=0)
    x_k = locate(row, kn0, kn1, ks0, ks1, ks2, K_COUNT, K_UNIT, VEC)
    x_r = locate(at, rn0, rn1, rs0, rs1, rs2, R_COUNT, R_UNIT, VEC)
    x = tl.load(x_ptr + x_k + x_r, mask=mask)
    out = (row // stride) * (stride * keep) + row % stride + offs * stride
    tl.store(y_ptr + out, x, mask=mask)
    tl.store(i_ptr + out, at.to(tl.int64), mask=mask)


LEAST = {"int8": -128, "uint8": 0, "bool": 0, "int16": -(2**15)}
# Bits of a key that decide: (lowest, how many). Halves are compared as float32.
BITS = {"int8": (0, 8), "uint8": (0, 8), "bool": (0, 4), "int16": (0, 16), "float16": (12, 20),
        "bfloat16": (16, 16)}  # fmt: skip


def radix_order(axes: Axes, descending: bool, order: CudaArray | None = None) -> CudaArray:
    """The positions, (rows, length), that sort each row stably; of the given ``order`` of it.

    Four bits a pass from the lowest: count digits by block, scan the counts, move (Satish, Harris
    and Garland 2009).
    """
    rows, length, name = axes.rows, axes.length, axes.x.dtype.name
    size = 8 if axes.x.dtype.itemsize == 8 else 4
    least = LEAST.get(name, -(2**63) if size == 8 else -(2**31))
    if descending and name in LEAST:
        least = {"int8": -128, "uint8": -256, "bool": -2, "int16": -(2**15)}[name]
    first, bits = BITS.get(name, (0, 8 * size))
    places = np.dtype(np.int64 if length >= 2**31 else np.int32)
    keys, other_keys = (cuda.empty((rows, length), np.dtype(f"int{8 * size}")) for _ in range(2))
    at, other_at = (cuda.empty((rows, length), places) for _ in range(2))
    c = ask("radix_sort", storage_kind(axes.x.itemsize), (rows, length)) or DigitConfig()
    block, warps = c.block, c.num_warps
    blocks = triton.cdiv(length, block)
    wide = axes.wide
    cuda.launch(
        keys_kernel, (blocks * rows,), keys, at, axes.x, at if order is None else order, length,
        blocks, *axes.arguments(), **axes.constants(), DESCENDING=descending,
        ORDERED=order is not None, LEAST=least, BLOCK=block, num_warps=warps,
    )  # fmt: skip
    counts = cuda.empty((rows, 16 * blocks), np.dtype(np.int64))
    base = cuda.empty((rows, 16 * blocks), np.dtype(np.int64))
    for shift in range(first, first + bits, 4):
        cuda.launch(
            count_digits_kernel, (blocks * rows,), counts, keys, length, blocks, shift,
            WIDE=wide, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        scan(base, counts, 1, "sum", False, exclusive=True)
        cuda.launch(
            scatter_digits_kernel, (blocks * rows,), other_keys, other_at, keys, at, base, length,
            blocks, shift, WIDE=wide, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        keys, other_keys, at, other_at = other_keys, keys, other_at, at
    return at


TINY = example("sort", array(2, 150))  # longer than what is emulated in registers
declare(Space("radix_sort", DIGITS, digit_refusal, DigitConfig, order=digit_order, tiny=TINY))


class RowsConfig(NamedTuple):
    """The choices of a launch that sorts whole rows: how many, and its warps."""

    block_k: int
    num_warps: int


def rows_rule(rows: int, length: int) -> RowsConfig:
    block, elements = triton.next_power_of_2(length), 1024 if cuda.is_emulated() else 2048
    block_k = max(1, min(elements // block, triton.next_power_of_2(rows)))
    most = 16 if machine().arch < 90 and block_k > 1 else 8  # 8 spill 8 bytes there
    return RowsConfig(block_k, most if block_k * block >= 2048 else 4)


def rows_refusal(c: RowsConfig, case: Case) -> str:
    """Why a number of rows cannot be good, "" where it may be."""
    rows, length = case.sizes
    if c.block_k > triton.next_power_of_2(rows):
        return "has more rows than there are"
    return lanes_refused(c.block_k * triton.next_power_of_2(length), c.num_warps, case)


def rows_order(c: RowsConfig, case: Case) -> float:
    """Sooner: near 2048 lanes, 8 of them a thread."""
    lanes = c.block_k * case.sizes[1]
    return away(lanes, 2048) + away(lanes / (32 * c.num_warps), 8)


ROWS = {"block_k": (1, 2, 4, 8, 16, 32, 64, 128), "num_warps": (1, 2, 4, 8, 16)}
declare(
    Space("sort", ROWS, rows_refusal, RowsConfig, order=rows_order,
          tiny=example("sort", array(5, 37)))
)  # fmt: skip


@kernel("_sort", "cuda")
def _sort(values, indices, x, dim, descending, k):
    if values.size == 0:
        return
    axes = split(x, (dim,)[: x.ndim], ordered=True)
    inner = inner_size(x.shape, dim) if x.ndim else 1
    block = triton.next_power_of_2(axes.length)
    if block <= longest_in_registers():
        rows, length, pair = axes.rows, axes.length, x.dtype.itemsize == 8
        kind = storage_kind(x.dtype.itemsize)
        block_k, warps = ask("sort", kind, (rows, length)) or rows_rule(rows, length)
        programs = triton.cdiv(rows, block_k)
        cuda.launch(
            sort_rows_kernel, (programs,), values, indices, axes.x,
            *scratch(programs, block_k * block, pair), rows, length, k, inner,
            *axes.arguments(), **axes.constants(), DESCENDING=descending, PAIR=pair,
            BLOCK_K=block_k, BLOCK_R=block, num_warps=warps,
        )  # fmt: skip
        return
    few = 8 * k <= longest_in_registers() and axes.rows < 2**16
    at = first_few(axes, descending, k) if few else radix_order(axes, descending)
    block = block_size()
    blocks = triton.cdiv(k, block)
    cuda.launch(
        take_sorted_kernel, (blocks * axes.rows,), values, indices, axes.x, at, at.shape[1], k,
        inner, blocks, *axes.arguments(), **axes.constants(), BLOCK=block,
    )  # fmt: skip


# ---- runs of equal elements ----------------------------------------------------------------------


@kernel("_run_lengths", "cuda")
def _run_lengths(y, x, dim):
    if y.size == 0:
        return
    x = dense(x)
    length, inner = x.shape[dim], inner_size(x.shape, dim)
    rows = x.size // length
    elements = 256 if cuda.is_emulated() else 2048
    block_r = min(triton.next_power_of_2(length), elements if inner == 1 else 64)
    block_k = max(1, min(triton.next_power_of_2(rows), elements // block_r))
    cuda.launch(
        run_lengths_kernel, (triton.cdiv(rows, block_k),), y, x, rows, length, inner,
        WIDE=2 * x.size >= 2**31, BLOCK_K=block_k, BLOCK_R=block_r,
    )  # fmt: skip
