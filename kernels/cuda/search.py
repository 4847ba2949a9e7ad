"""Binary search: each lane halves its own range, all in step."""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.runtime import cuda


@triton.jit
def searchsorted_kernel(
    y_ptr, sequence_ptr, x_ptr, n, length, each, steps,
    RIGHT: tl.constexpr, ACC: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK places, ``each`` per row of ``length`` sorted numbers (``each`` 0: one row for all).

    Bytes moved: x once, y once, and log2(length) probes an element, which share the upper levels of
    the search in cache. NaN counts as larger than any number.
    """
    start = tl.program_id(0)
    if WIDE:
        start = start.to(tl.int64)
    offs = start * BLOCK + tl.arange(0, BLOCK)
    mask = offs < n
    x = tl.load(x_ptr + offs, mask=mask, other=0).to(ACC)
    row = offs * 0
    if each > 0:
        row = offs // each * length
    low = offs * 0
    high = low + length
    for _ in range(steps):
        middle = (low + high) // 2
        searching = low < high
        v = tl.load(sequence_ptr + row + middle, mask=mask & searching, other=0).to(ACC)
        if RIGHT:
            before = (v <= x) | (x != x)
        else:
            before = (v < x) | ((x != x) & (v == v))
        low = tl.where(searching & before, middle + 1, low)
        high = tl.where(searching & (before == 0), middle, high)
    tl.store(y_ptr + offs, low.to(y_ptr.dtype.element_ty), mask=mask)


@kernel("_searchsorted", "cuda")
def _searchsorted(y, sequence, x, right, dtype):
    if y.size == 0:
        return
    length = sequence.shape[-1]
    kind = x.dtype.name
    acc = {"float64": tl.float64, "int64": tl.int64}.get(
        kind, tl.float32 if kind.startswith(("float", "bfloat")) else tl.int32
    )
    block = 1024
    cuda.launch(
        searchsorted_kernel, (triton.cdiv(y.size, block),), y, sequence, x, y.size, length,
        x.shape[-1] if sequence.ndim > 1 else 0, length.bit_length(), RIGHT=right, ACC=acc,
        WIDE=max(y.size + block, sequence.size) >= 2**31, BLOCK=block,
    )  # fmt: skip
