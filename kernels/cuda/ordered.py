"""Combining values at repeated places in a fixed order: sort the places, then reduce each run.

For what atomics cannot do (products, extrema with NaN) or must not (sums that repeat bit for bit).
The sort is a stable radix sort of 4 bits a pass: counts per block, one scan of all counts, then
every element moves to its rank. A pass reads and writes keys and positions once: 32 bytes a key.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import Space, array, ask, declare, example
from tgrad.kernels.cuda.digits import (
    DIGITS,
    DigitConfig,
    digit_counts,
    digit_order,
    digit_ranks,
    digit_refusal,
)
from tgrad.kernels.cuda.limits import limits
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

COUNTERS = 16  # values of a digit
INT64 = np.dtype(np.int64)
PLAIN = ["n", "shift", "blocks", "chunk"]  # sizes, whose values are not worth a variant each


@triton.jit
def digits_of(keys_ptr, first, n, shift, BLOCK: tl.constexpr):
    """BLOCK keys from ``first`` on, their digits, and which of them there are."""
    offs = first + tl.arange(0, BLOCK)
    keys = tl.load(keys_ptr + offs, mask=offs < n, other=0)
    return offs, keys, ((keys >> shift) & 15).to(tl.int32), offs < n


@triton.jit(do_not_specialize=PLAIN)
def histogram_kernel(counts_ptr, keys_ptr, n, shift, blocks, BLOCK: tl.constexpr):
    """counts[digit, block]: the scan of its rows is where each block's keys of a digit begin."""
    block = tl.program_id(0).to(tl.int64)
    _, _, digit, mask = digits_of(keys_ptr, block * BLOCK, n, shift, BLOCK)
    tl.store(counts_ptr + tl.arange(0, 16) * blocks + block, digit_counts(digit, mask))


@triton.jit(do_not_specialize=PLAIN)
def move_kernel(
    to_keys_ptr, to_order_ptr, keys_ptr, order_ptr, sums_ptr, n, shift, blocks,
    FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Move BLOCK keys, and the positions they came with, to their rank by this digit."""
    block = tl.program_id(0).to(tl.int64)
    offs, keys, digit, mask = digits_of(keys_ptr, block * BLOCK, n, shift, BLOCK)
    before = digit_ranks(digit, mask)
    to = tl.load(sums_ptr + digit * blocks + block, mask=mask, other=0) + before
    order = offs.to(tl.int64) if FIRST else tl.load(order_ptr + offs, mask=mask, other=0)
    tl.store(to_keys_ptr + to, keys, mask=mask)
    tl.store(to_order_ptr + to, order, mask=mask)


@triton.jit(do_not_specialize=PLAIN)
def totals_kernel(totals_ptr, counts_ptr, n, chunk, BLOCK: tl.constexpr):
    """totals[i] = the sum of the i-th chunk of counts."""
    first = tl.program_id(0).to(tl.int64) * chunk
    last = tl.minimum(first + chunk, n)
    total = tl.zeros((BLOCK,), tl.int64)
    for start in range(first, last, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        total += tl.load(counts_ptr + offs, mask=offs < last, other=0).to(tl.int64)
    tl.store(totals_ptr + tl.program_id(0), tl.sum(total, axis=0))


@triton.jit(do_not_specialize=PLAIN)
def scan_kernel(
    sums_ptr, counts_ptr, before_ptr, n, chunk, CARRY: tl.constexpr, BLOCK: tl.constexpr
):
    """sums[i] = counts[0] + ... + counts[i - 1], up to i = n, over the program's chunk.

    CARRY, ``before`` has the sums before each chunk.
    """
    first = tl.program_id(0).to(tl.int64) * chunk
    last = tl.minimum(first + chunk, n)
    carry = tl.zeros((), tl.int64)
    if CARRY:
        carry = tl.load(before_ptr + tl.program_id(0))
    for start in range(first, last, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        c = tl.load(counts_ptr + offs, mask=offs < last, other=0).to(tl.int64)
        tl.store(sums_ptr + offs, carry + tl.cumsum(c, axis=0) - c, mask=offs < last)
        carry += tl.sum(c, axis=0)
    tl.store(sums_ptr + n, carry, mask=last == n)


def scan(sums: CudaArray, counts: CudaArray) -> None:
    """The sums before each of ``counts``, and the total as one more element.

    Many are cut into chunks: their totals, the sums of these, then each chunk from its own.
    """
    n = counts.size
    block = min(max(triton.next_power_of_2(n), 16), limits.scan)
    programs = min(triton.cdiv(n, 4 * block), limits.programs)
    if programs <= 4:
        cuda.launch(scan_kernel, (1,), sums, counts, sums, n, n, CARRY=False, BLOCK=block)
        return
    chunk = triton.cdiv(triton.cdiv(n, programs), block) * block
    programs = triton.cdiv(n, chunk)
    totals, before = cuda.empty((programs,), INT64), cuda.empty((programs + 1,), INT64)
    cuda.launch(totals_kernel, (programs,), totals, counts, n, chunk, BLOCK=block)
    scan(before, totals)
    cuda.launch(scan_kernel, (programs,), sums, counts, before, n, chunk, CARRY=True, BLOCK=block)


def sort(keys: CudaArray, largest: int) -> tuple[CudaArray, CudaArray]:
    """Contiguous int64 keys in [0, largest], overwritten, in order; and where each was before."""
    n = keys.size
    c = ask("ordered_sort", "64-bit", (n,)) or DigitConfig()
    blocks, chosen = triton.cdiv(n, c.block), {"BLOCK": c.block, "num_warps": c.num_warps}
    counts = cuda.empty((COUNTERS * blocks,), INT64)
    sums = cuda.empty((COUNTERS * blocks + 1,), INT64)
    other, order, positions = (cuda.empty((n,), INT64) for _ in range(3))
    for shift in range(0, max(largest.bit_length(), 1), 4):
        cuda.launch(histogram_kernel, (blocks,), counts, keys, n, shift, blocks, **chosen)
        scan(sums, counts)
        cuda.launch(
            move_kernel, (blocks,), other, positions, keys, order, sums, n, shift, blocks,
            FIRST=shift == 0, **chosen,
        )  # fmt: skip
        keys, other, order, positions = other, keys, positions, order
    return keys, order


TINY = example(
    "index_reduce", array(7, 3), 0, array(5, dtype="int64"), array(5, 3), "prod",
)  # fmt: skip
declare(Space("ordered_sort", DIGITS, digit_refusal, DigitConfig, order=digit_order, tiny=TINY))


@triton.jit
def combine(a, b, MODE: tl.constexpr):
    if MODE == "add":
        y = a + b
    elif MODE == "prod":
        y = a * b
    elif MODE == "amax":
        y = tl.where((b > a) | (b != b), b, a)
    else:
        y = tl.where((b < a) | (b != b), b, a)
    return y


@triton.jit
def runs_kernel(
    table_ptr, keys_ptr, order_ptr, flat_ptr, n,
    MODE: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """table[key] combined with flat at all positions of the key, in order, by a run's first lane.

    Keys of -1, which nothing may be written at, are passed over.
    """
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    key = tl.load(keys_ptr + offs, mask=mask, other=-1)
    head = (
        mask & (key >= 0) & (key != tl.load(keys_ptr + offs - 1, mask=mask & (offs > 0), other=-1))
    )
    acc = tl.load(table_ptr + key, mask=head, other=0).to(ACC)
    active = head
    at = offs
    while tl.sum(active.to(tl.int32), axis=0) > 0:  # pyright: ignore[reportOperatorIssue]
        order = tl.load(order_ptr + at, mask=active, other=0)
        value = tl.load(flat_ptr + order, mask=active, other=0).to(ACC)
        acc = tl.where(active, combine(acc, value, MODE), acc)
        at += 1
        inside = active & (at < n)
        active = inside & (tl.load(keys_ptr + at, mask=inside, other=-1) == key)
    tl.store(table_ptr + key, maths.to(acc, table_ptr.dtype.element_ty), mask=head)


ACCUMULATE = {"float64": tl.float64, "float32": tl.float32, "float16": tl.float32,
              "bfloat16": tl.float32}  # fmt: skip


def reduce(table: CudaArray, places: CudaArray, largest: int, flat: CudaArray, mode: str) -> None:
    """table[places[i]] combined with dense flat[i], in the order of i. ``places`` is used up."""
    keys, order = sort(places, largest)
    block = 4096 if cuda.is_emulated() else 128
    cuda.launch(
        runs_kernel, (triton.cdiv(keys.size, block),), table, keys, order, flat, keys.size,
        MODE=mode, ACC=ACCUMULATE.get(table.dtype.name, tl.int64), BLOCK=block,
    )  # fmt: skip
