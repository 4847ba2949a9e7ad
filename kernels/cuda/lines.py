"""Kernels whose programs each take a block of elements of a line: what there is to choose of them.

A kernel asks :func:`block_of` by a name of its own, and makes the space of that name known beside
it by :func:`declare_line`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import triton

from tgrad.kernels.cuda.configs import Case, Space, ask, away, declare, storage_kind


class LineConfig(NamedTuple):
    """The choices of a launch: elements of a program, and its warps."""

    block: int
    num_warps: int = 4


def block_of(
    kernel: str, itemsize: int, sizes: tuple[int, ...], rule: int, layout: str = ""
) -> LineConfig:
    """A tuner's choice for ``sizes``, elements first, else a block of ``rule`` elements."""
    return ask(kernel, storage_kind(itemsize), sizes, layout) or LineConfig(rule)


def line_refusal(c: LineConfig, case: Case) -> str:
    """Why a block cannot be good, "" where it may be."""
    if c.block > max(triton.next_power_of_2(case.sizes[0]), 64):
        return "is larger than the array"
    each = c.block // (32 * c.num_warps)
    if case.arch and not 1 <= each <= 32:  # the interpreter has no threads
        return f"takes {each} elements a thread"
    return ""


def line_order(c: LineConfig, case: Case) -> float:
    """Sooner: 16 bytes a thread, 4 warps."""
    each = max(128 // int(case.kind.split("-")[0]), 1)
    return away(c.block / (32 * c.num_warps), each) + away(c.num_warps, 4)


def declare_line(
    kernel: str, tiny: Mapping[str, Any], below: Callable[[Any], int] | None = None, least: int = 64
) -> Space:
    """Make the space of a kernel that asks for its block by this name known to tuners."""
    sizes = tuple(least << k for k in range(14 - int(math.log2(least))))
    values = {"block": sizes, "num_warps": (1, 2, 4, 8)}
    return declare(
        Space(kernel, values, line_refusal, LineConfig, order=line_order, tiny=tiny, below=below)
    )
