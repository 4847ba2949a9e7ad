"""Random numbers in Triton: Philox-4x64-10 by counter, and the distributions made from its bits.

A program of these kernels computes BLOCKS consecutive Philox blocks, 4 * BLOCKS words, and writes
what they give in one coalesced store. Nothing is read: bytes moved are the output's.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tgrad.runtime import cuda

# The interpreter's 64-bit umulhi is a Python loop over elements: there it is put together from
# 32-bit halves, 40 times faster.
HALVES = tl.constexpr(cuda.is_emulated())


@triton.jit
def umulhi(x, y):
    """The upper 64 bits of the product of two uint64."""
    if HALVES:
        x0, x1 = x & 0xFFFFFFFF, x >> 32
        y0, y1 = y & 0xFFFFFFFF, y >> 32
        middle = x1 * y0 + ((x0 * y0) >> 32)
        low = x0 * y1 + (middle & 0xFFFFFFFF)
        return x1 * y1 + (middle >> 32) + (low >> 32)
    return tl.umulhi(x, y)


@triton.jit
def philox4x64(key, counter):
    """The four words (uint64, of ``counter``'s shape) of block ``counter`` of the stream ``key``.

    Equal to ``tgrad.runtime.random.words(key, counter, 4)``, and to ``tl.philox_impl`` on
    ``counter + 1``: NumPy increments before it draws. ``counter`` is a uint64 tensor, ``key`` a
    uint64 tensor or scalar.
    """
    c0 = counter + 1
    c1, c2, c3 = c0 * 0, c0 * 0, c0 * 0
    k0, k1 = c1 + key, c1
    A = tl.full((), 0xD2E7470EE14C6C93, tl.uint64)
    B = tl.full((), 0xCA5A826395121157, tl.uint64)
    for _ in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        hi0, lo0 = umulhi(c0, A), c0 * A
        hi2, lo2 = umulhi(c2, B), c2 * B
        c0, c1, c2, c3 = hi2 ^ c1 ^ k0, lo2, hi0 ^ c3 ^ k1, lo0
        k0 += tl.full((), 0x9E3779B97F4A7C15, tl.uint64)
        k1 += tl.full((), 0xBB67AE8584CAA73B, tl.uint64)
    return c0, c1, c2, c3


@triton.jit
def word(value):
    """An integer argument as uint64, whatever width the launcher gave it."""
    return tl.full((), value, tl.int64).to(tl.uint64)


def signed(value: int) -> int:
    """A 64-bit word as the int64 that carries it into a kernel."""
    return value - (1 << 64) if value >> 63 else value
