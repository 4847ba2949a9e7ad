"""Taking gradients out of a loss scale: one launch for all of them, found by a table of pointers.

Bytes moved: every gradient read and written once; the flag only where something is not finite.
"""
# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.dtypes import from_numpy_dtype
from tgrad.kernels.cuda.optim import element, fetch, put, tables
from tgrad.kernels.cuda.pointwise import TL
from tgrad.runtime import cuda


@triton.jit
def unscale_block(table_ptr, i, offs, n, found_ptr, inv_ptr, T: tl.constexpr, ACC: tl.constexpr,
                  ALIGNED: tl.constexpr, FULL: tl.constexpr):  # fmt: skip
    at = element(table_ptr, i, offs, 0, 1, T, ALIGNED)
    g = fetch(at, offs, n, ACC, FULL)
    off = g - g != 0  # inf - inf is NaN
    if not FULL:
        off &= offs < n
    if tl.max(off.to(tl.int32), 0) > 0:  # pyright: ignore[reportOperatorIssue]
        tl.store(found_ptr, 1.0)
    put(at, g * tl.load(inv_ptr).to(ACC), offs, n, T, FULL)


@triton.jit
def unscale_kernel(table_ptr, sizes_ptr, work_ptr, found_ptr, inv_ptr, T: tl.constexpr,
                   ACC: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """BLOCK elements of one gradient; programs that find a bad one all write the same 1."""
    i = tl.load(work_ptr + 2 * tl.program_id(0))
    start = tl.multiple_of(tl.load(work_ptr + 2 * tl.program_id(0) + 1), BLOCK)
    offs = start + tl.arange(0, BLOCK)
    n = tl.load(sizes_ptr + i)
    if start + BLOCK <= n:
        unscale_block(table_ptr, i, offs, n, found_ptr, inv_ptr, T, ACC, ALIGNED, True)
    else:
        unscale_block(table_ptr, i, offs, n, found_ptr, inv_ptr, T, ACC, ALIGNED, False)


@kernel("_unscale", "cuda")
def unscale(grads, found_inf, inv_scale):
    block = 8192 if cuda.is_emulated() else 1024
    found = tables([grads], block)
    dtype = from_numpy_dtype(grads[0].dtype)
    cuda.launch(
        unscale_kernel,
        (found.programs,),
        *found.arrays,
        found_inf,
        inv_scale,
        T=TL[dtype.name],
        ACC=tl.float64 if dtype.name == "float64" else tl.float32,
        ALIGNED=found.aligned,
        BLOCK=block,
    )
