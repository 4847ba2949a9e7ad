"""Digits of 4 bits within a block of keys, for the radix sorts: how many of each, and ranks.

Sixteen counters of 10 bits lie in three int64 a lane: three sums or scans of a block do what a
one-hot tile of 16 columns would, with a fifth of the work and of the registers.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tgrad.kernels.cuda.configs import Case, away


class DigitConfig(NamedTuple):
    """The choices of a pass of a radix sort: keys of a program, and its warps."""

    block: int = 512
    num_warps: int = 4


DIGITS = {"block": (64, 128, 256, 512), "num_warps": (1, 2, 4, 8)}  # 512 a counter can hold


def digit_refusal(c: DigitConfig, case: Case) -> str:
    """Why a block cannot be good, "" where it may be."""
    each = c.block // (32 * c.num_warps)
    return f"takes {each} keys a thread" if case.arch and not 1 <= each <= 16 else ""


def digit_order(c: DigitConfig, case: Case) -> float:
    """Sooner: near 512 keys of 4 warps."""
    return away(c.block, 512) + away(c.num_warps, 4)


@triton.jit
def digit_counts(digit, mask):
    """How many lanes of ``mask`` have each of the 16 digits, int64."""
    one = tl.full((), 1, tl.int64) << (digit % 6 * 10).to(tl.int64)
    each = tl.arange(0, 16)
    place = (each % 6 * 10).to(tl.int64)
    counts = tl.zeros((16,), tl.int64)
    for w in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
        total = tl.sum(tl.where(mask & (digit // 6 == w), one, 0), 0)
        counts = tl.where(each // 6 == w, (total >> place) & 1023, counts)
    return counts


@triton.jit
def digit_ranks(digit, mask):
    """How many lanes of ``mask`` before each have its digit, int32."""
    place = (digit % 6 * 10).to(tl.int64)
    one = tl.full((), 1, tl.int64) << place
    ranks = tl.zeros_like(digit)
    for w in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
        mine = digit // 6 == w
        counted = tl.cumsum(tl.where(mask & mine, one, 0), 0)
        ranks = tl.where(mine, ((counted >> place) & 1023).to(tl.int32), ranks)
    return ranks - 1
