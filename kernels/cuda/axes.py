"""Axes of a strided array sorted into kept and reduced ones and merged, for kernels over both.

A kernel sees an array of any rank and strides as a matrix: position k among the kept axes and r
among the reduced ones, each turned into an offset by :func:`locate` on at most three merged axes.
"""

# pyright: reportArgumentType=false, reportAssignmentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.configs import Case, Space, ask, away, declare, storage_kind
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.limits import common_unit, is_wide, limits
from tgrad.kernels.cuda.tiles import machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

RANK = 3  # merged axes of one kind that kernels take; more are copied away
Axis = tuple[int, int]  # elements, step in elements


# Sizes and steps, whose values are not worth a variant of the code each.
PLAIN = ["rows", "length", "chunk", "keep", "blocks", "splits", "channels",
         *(f"{array}{side}{name}" for array in ("", "x", "g") for side in "kr"
           for name in ("n0", "n1", "s0", "s1", "s2"))]  # fmt: skip


@triton.jit
def locate(
    i, n0, n1, s0, s1, s2, COUNT: tl.constexpr, UNIT: tl.constexpr, VEC: tl.constexpr
):  # fmt: skip
    """Offset of row-major position i among COUNT axes; axis 0 is innermost, of step 1 if UNIT.

    Other steps come in units of VEC, and if UNIT the size of axis 0.
    """
    if UNIT:
        n0 = n0 * VEC
    if COUNT == 1:
        inner = i
    else:
        inner = i % n0
    if UNIT:
        at = inner
    else:
        at = inner * s0 * VEC
    if COUNT == 2:
        at += (i // n0) * s1 * VEC
    if COUNT == 3:
        rest = i // n0
        at += (rest % n1) * s1 * VEC + (rest // n1) * s2 * VEC
    return at


@triton.jit
def full_counts(
    rows, length, chunk, K_UNIT: tl.constexpr, R_UNIT: tl.constexpr, VEC: tl.constexpr
):  # fmt: skip
    """(rows, length, chunk) from what :meth:`Axes.counts` gives."""
    if R_UNIT:
        length = length * VEC
        chunk = chunk * VEC
    elif K_UNIT:
        rows = rows * VEC
    return rows, length, chunk


@triton.jit
def order_key(x, FLIP: tl.constexpr):
    """x as int32 (int64 for 64 bits) that compare as x does; FLIP turns the order around.

    NaN is the greatest both ways, and -0 = 0.
    """
    if x.dtype.is_floating():
        if x.dtype.primitive_bitwidth == 64:
            bits = (x + 0.0).to(tl.int64, bitcast=True)
            key = bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)
            key = ~key if FLIP else key
            key = tl.where(x == x, key, 0x7FFFFFFFFFFFFFFF)
        else:
            wide = x.to(tl.float32)
            bits = (wide + 0.0).to(tl.int32, bitcast=True)
            key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
            key = ~key if FLIP else key
            key = tl.where(wide == wide, key, 0x7FFFFFFF)
    else:
        key = x.to(tl.int64 if x.dtype.primitive_bitwidth == 64 else tl.int32)
        key = ~key if FLIP else key
    return key


@triton.jit
def from_order_key(key, FLIP: tl.constexpr, T: tl.constexpr):
    """The x of type T that :func:`order_key` made into ``key``."""
    key = ~key if FLIP else key
    if T.is_floating():
        if T.primitive_bitwidth == 64:
            x = (key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)).to(tl.float64, bitcast=True)
        else:
            wide = (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)
            x = maths.to(wide, T)
    else:
        x = key.to(T)
    return x


def merge(axes: list[Axis]) -> list[Axis]:
    """The fewest axes, innermost first, that visit the same elements in the same order."""
    merged: list[Axis] = []
    for n, step in reversed(axes):
        if n == 1:
            continue
        if merged and step == merged[-1][0] * merged[-1][1]:
            merged[-1] = (merged[-1][0] * n, merged[-1][1])
        else:
            merged.append((n, step))
    return merged or [(1, 0)]


class Axes(NamedTuple):
    """Kept and reduced axes of ``x``, innermost first."""

    x: CudaArray
    kept: list[Axis]
    reduced: list[Axis]

    @property
    def rows(self) -> int:
        return math.prod(n for n, _ in self.kept)

    @property
    def length(self) -> int:
        return math.prod(n for n, _ in self.reduced)

    @property
    def in_rows(self) -> bool:
        """Whether neighbours in memory are neighbours in a reduced axis, not in a kept one."""
        (n, step), (m, other) = self.kept[0], self.reduced[0]
        return n == 1 or (m > 1 and abs(step) >= abs(other))

    @property
    def wide(self) -> bool:
        """Whether offsets need 64 bits."""
        reach = sum(abs(s) * n for n, s in (*self.kept, *self.reduced))
        return is_wide(reach, 2 * self.rows, 2 * self.length, self.rows * self.length)

    @property
    def k_unit(self) -> bool:
        """Whether neighbours in a kept axis are neighbours in memory."""
        return self.kept[0][1] == 1 and not self.r_unit

    @property
    def r_unit(self) -> bool:
        return self.reduced[0][1] == 1 and self.reduced[0][0] > 1

    @property
    def vec(self) -> int:
        """The unit of sizes and steps, for wide loads along the axis of step 1."""
        near, far = (self.reduced, self.kept) if self.r_unit else (self.kept, self.reduced)
        if not (self.r_unit or self.k_unit):
            return 1
        return common_unit(16, near[0][0], *[s for _, s in (*near[1:], *far)])

    def counts(self, chunk: int = 0, vec: int | None = None) -> tuple[int, int, int]:
        """Rows, length and chunk as :func:`full_counts` takes them."""
        vec = self.vec if vec is None else vec
        if self.r_unit:
            return self.rows, self.length // vec, chunk // vec
        return self.rows // vec if self.k_unit else self.rows, self.length, chunk

    def arguments(self, vec: int | None = None) -> tuple[int, ...]:
        """What a kernel takes at run time: n0, n1, s0, s1, s2 of the kept and the reduced axes."""
        vec = self.vec if vec is None else vec
        return (*_five(self.kept, self.k_unit, vec), *_five(self.reduced, self.r_unit, vec))

    def constants(self) -> dict[str, int | bool]:
        """What it takes at compile time."""
        return {
            "K_COUNT": len(self.kept), "K_UNIT": self.k_unit, "R_COUNT": len(self.reduced),
            "R_UNIT": self.r_unit, "VEC": self.vec, "WIDE": self.wide,
        }  # fmt: skip


def _five(axes: list[Axis], unit: bool, vec: int) -> tuple[int, ...]:
    (n0, s0), (n1, s1), (_, s2) = (*axes, (1, 0), (1, 0))[:3]
    if unit:
        return n0 // vec, n1, 1, s1 // vec, s2 // vec
    return n0, n1, s0 // vec, s1 // vec, s2 // vec


def split(x: CudaArray, dim: tuple[int, ...], ordered: bool = False) -> Axes:
    """The axes of x; those in ``dim`` are reduced, in memory order unless ``ordered``."""
    kept_dims = [i for i in range(x.ndim) if i not in dim]
    steps = x.steps
    kept = merge([(x.shape[i], steps[i]) for i in kept_dims])
    order = dim if ordered else sorted(dim, key=lambda i: -abs(steps[i]))
    reduced = merge([(x.shape[i], steps[i]) for i in order])
    if len(kept) <= RANK and len(reduced) <= RANK:
        return Axes(x, kept, reduced)
    moved = x.transpose((*kept_dims, *dim))
    fresh = cuda.empty(moved.shape, moved.dtype)
    copy(fresh, moved)
    return split(fresh, tuple(range(len(kept_dims), x.ndim)), ordered)


def matrix(x: CudaArray, rows: int, length: int, along_rows: bool = False) -> Axes:
    """A contiguous (length, rows) array, its first axis reduced; or (rows, length), its last."""
    if along_rows:
        return Axes(x, [(rows, length)], [(length, 1)])
    return Axes(x, [(rows, 1)], [(length, rows)])


class Tiles(NamedTuple):
    """How a grid covers a kept x reduced matrix."""

    block_k: int
    block_r: int
    splits: int  # programs along the reduced axis
    chunk: int  # reduced elements of each
    num_warps: int = 4

    def grid(self, rows: int) -> tuple[int, int]:
        return triton.cdiv(rows, self.block_k), self.splits


def tiles(
    axes: Axes, elements: int = 4096, may_split: bool = True, kernel: str = "", wide: bool = False
) -> Tiles:
    """Tiles of ``elements``: long ones along rows, 128 wide across columns; a tuner's choice where
    ``kernel`` has one for these sizes.

    Few long rows are split over several programs, whose partial results a second pass reduces.
    """
    rows, length, num_warps = axes.rows, axes.length, 4
    longest = triton.next_power_of_2(max(length, 1))
    found = None
    if kernel:
        kind, layout = storage_kind(axes.x.itemsize, wide), "rows" if axes.in_rows else "columns"
        found = ask(kernel, kind, (rows, length), layout)
    if machine().arch >= 100:  # 32 elements a thread spill 4 to 16 bytes, 16 across columns 4
        elements = min(elements, 2048)
        num_warps = 4 if axes.in_rows or axes.x.itemsize < 4 else 8
    if found is not None:
        block_k, block_r, num_warps = found
    elif axes.in_rows:
        block_r = min(longest, elements)
        block_k = min(triton.next_power_of_2(max(rows, 1)), max(elements // block_r, 1))
    else:
        block_k = min(triton.next_power_of_2(max(rows, 1)), 128, elements)
        block_r = min(longest, max(elements // block_k, 1))
    splits, least = 1, 4 * block_r
    if may_split and length > least:
        busy = triton.cdiv(max(rows, 1), block_k)
        splits = max(1, min(triton.cdiv(length, least), limits.programs // busy))
    chunk = triton.cdiv(triton.cdiv(max(length, 1), splits), block_r) * block_r
    return Tiles(block_k, block_r, triton.cdiv(max(length, 1), chunk), chunk, num_warps)


# ---- what a tuner may try ------------------------------------------------------------------------


class ReduceConfig(NamedTuple):
    """The choices of a reduction's launch: kept x reduced elements of a tile, and its warps."""

    block_k: int
    block_r: int
    num_warps: int


def refusal(c: ReduceConfig, case: Case) -> str:
    """Why a tile of a reduction cannot be good, "" where it may be."""
    rows, length = case.sizes
    if c.block_k > triton.next_power_of_2(rows) or c.block_r > triton.next_power_of_2(length):
        return "is larger than the matrix"
    if case.layout == "columns" and c.block_k < min(32, rows):
        return "loads less than 32 neighbours"
    each = c.block_k * c.block_r // (32 * c.num_warps)
    most = 32 if case.kind.endswith("64") or case.kind.startswith("64") else 64
    if each > most:
        return f"keeps {each} sums a thread"
    return "" if each else "has threads without a sum"


def order(c: ReduceConfig, case: Case) -> float:
    """Sooner: 4096 elements in a tile, 32 a thread, 128 neighbours where they lie across rows."""
    elements = c.block_k * c.block_r
    across = away(c.block_k, min(128, case.sizes[0])) if case.layout == "columns" else 0.0
    return across + away(elements, 4096) + away(elements / (32 * c.num_warps), 32)


VALUES = {
    "block_k": tuple(1 << k for k in range(10)),
    "block_r": tuple(1 << k for k in range(14)),
    "num_warps": (1, 2, 4, 8, 16),
}


def declare_reduction(kernel: str, tiny: Mapping[str, Any]) -> Space:
    """Make the space of a reduction that asks for its tiles by this name known to tuners."""
    return declare(Space(kernel, VALUES, refusal, ReduceConfig, order=order, tiny=tiny))
