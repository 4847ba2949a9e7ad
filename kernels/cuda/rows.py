"""An array seen as rows along one axis, for kernels that keep whole rows or columns on chip.

Any array is (outer, n, inner) with three steps; more axes are copied away. A program holds a tile
of BLOCK_T rows x BLOCK_N positions. In the layout "rows" (inner = 1) its rows are of different
``outer``, in "planes" neighbours along ``inner``, so that loads are coalesced either way; in
"mixed" (inner small) they run over both.

Kernels take the size of the axis that tiles lie along, and the steps of arrays that lie along it
too, in units of VEC (``limits.common_unit``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import triton
import triton.language as tl

from tgrad.kernels.cuda.axes import merge
from tgrad.kernels.cuda.configs import Case, Space, ask, away, declare, storage_kind
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.limits import common_unit, is_wide, limits
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

INNER = 16  # neighbours from which on a tile lies along the inner axis


@triton.jit
def tile_rows(rows, inner, LAYOUT: tl.constexpr, WIDE: tl.constexpr, BLOCK_T: tl.constexpr):
    """(outer position, inner position, mask) of this program's BLOCK_T rows."""
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    offs = tl.arange(0, BLOCK_T)
    if LAYOUT == "planes":
        per_plane = tl.cdiv(inner, BLOCK_T)
        o = pid // per_plane
        i = (pid % per_plane) * BLOCK_T + offs
        mask = i < inner
    else:
        k = pid * BLOCK_T + offs
        mask = k < rows
        if LAYOUT == "mixed":
            o = k // inner
            i = k % inner
        else:
            o = k
            i = offs * 0
    return o, i, mask


@triton.jit
def full_sizes(n, inner, LAYOUT: tl.constexpr, VEC: tl.constexpr, WIDE: tl.constexpr):
    """(n, inner) from sizes of which the one that tiles lie along comes in units of VEC.

    WIDE, n is of 64 bits, and so is what counts up to it.
    """
    if WIDE:
        n = n.to(tl.int64)
    if LAYOUT == "planes":
        inner = inner * VEC
    else:
        n = n * VEC
    return n, inner


@triton.jit
def positions(N: tl.constexpr, WIDE: tl.constexpr):
    """The first N positions along a row."""
    r = tl.arange(0, N)
    if WIDE:
        r = r.to(tl.int64)
    return r


@triton.jit
def at_rows(o, i, step_o, step_i, UNIT: tl.constexpr, VEC: tl.constexpr):
    """Offsets of the tile's rows; UNIT names the axis ("n" or "i") whose step is 1, if any."""
    if UNIT == "i":
        at = o * step_o * VEC + i
    elif UNIT == "n":
        at = o * step_o * VEC + i * step_i
    else:
        at = o * step_o + i * step_i
    return at


@triton.jit
def along(r, step_n, UNIT: tl.constexpr, VEC: tl.constexpr):
    """Offsets of positions r along the row."""
    if UNIT == "n":
        at = r
    elif UNIT == "i":
        at = r * step_n * VEC
    else:
        at = r * step_n
    return at


class Planes(NamedTuple):
    """``x`` as (outer, n, inner), with its steps in elements."""

    x: CudaArray
    outer: int
    n: int
    inner: int
    step_o: int
    step_n: int
    step_i: int

    @property
    def rows(self) -> int:
        return self.outer * self.inner

    @property
    def layout(self) -> str:
        return "rows" if self.inner == 1 else "planes" if self.inner >= INNER else "mixed"

    @property
    def unit(self) -> str:
        """The axis whose step is 1: what lets the compiler see that loads are contiguous."""
        if self.step_i == 1 and self.layout == "planes":
            return "i"
        return "n" if self.step_n == 1 else ""

    @property
    def steps(self) -> tuple[int, int, int]:
        return self.step_o, self.step_n, self.step_i

    def sizes_in(self, vec: int) -> tuple[int, int]:
        """n and inner as :func:`full_sizes` takes them."""
        along_i = self.layout == "planes"
        return (self.n, self.inner // vec) if along_i else (self.n // vec, self.inner)

    def steps_in(self, vec: int) -> tuple[int, int, int]:
        """The steps as :func:`at_rows` and :func:`along` take them."""
        if self.unit == "i":
            return self.step_o // vec, self.step_n // vec, 1
        return (self.step_o // vec, 1, self.step_i) if self.unit == "n" else self.steps

    @property
    def wide(self) -> bool:
        """Whether offsets need 64 bits."""
        counts = (self.outer, self.n, self.inner)
        reach = sum(abs(s) * n for s, n in zip(self.steps, counts, strict=True))
        return is_wide(reach, 2 * self.rows, 2 * self.n)


def planes(x: CudaArray, start: int, stop: int) -> Planes:
    """x with its axes ``start`` to ``stop`` as the rows' own."""
    steps = x.steps
    pairs = list(zip(x.shape, steps, strict=True))
    groups = [merge(pairs[:start]), merge(pairs[start:stop]), merge(pairs[stop:])]
    if x.size and any(len(group) > 1 for group in groups):
        fresh = cuda.empty(x.shape, x.dtype)
        copy(fresh, x)
        return planes(fresh, start, stop)
    counts = [math.prod(x.shape[a:b]) for a, b in ((0, start), (start, stop), (stop, x.ndim))]
    return Planes(x, *counts, *[group[0][1] for group in groups])


def common_vec(tiles: Planes, *arrays: Planes) -> int:
    """The unit for the sizes of ``tiles`` and for the steps of all arrays of a launch."""
    if tiles.layout == "mixed":
        return 1
    axis = "i" if tiles.layout == "planes" else "n"
    numbers = [tiles.inner if axis == "i" else tiles.n]
    for p in (tiles, *arrays):
        if p.unit == "i":
            numbers += [p.step_o, p.step_n]
        elif p.unit == "n":
            numbers += [p.step_o]
    return common_unit(16, *numbers)


class Tile(NamedTuple):
    """A program's tile."""

    block_t: int
    block_n: int
    one_pass: bool  # whether BLOCK_N covers the row
    num_warps: int

    def grid(self, p: Planes) -> tuple[int]:
        if p.layout == "planes":
            return (p.outer * triton.cdiv(p.inner, self.block_t),)
        return (triton.cdiv(p.rows, self.block_t),)

    def splits(self, p: Planes) -> tuple[int, int]:
        """Over how many programs a row is split, and how much of it each takes.

        Only rows that do not fit are split, where there are too few to occupy the GPU: partial
        results are written by a first launch and merged by all programs of a second.
        """
        (programs,) = self.grid(p)
        if self.one_pass or 2 * programs > limits.programs:
            return 1, p.n
        most = min(limits.programs // programs, triton.cdiv(p.n, 2 * self.block_n))
        count = max(1, min(most, 4096 // self.block_t))
        chunk = triton.cdiv(triton.cdiv(p.n, count), self.block_n) * self.block_n
        return triton.cdiv(p.n, chunk), chunk


def tile(
    p: Planes,
    acc: tl.dtype,
    elements: int = 4096,
    most: int | None = None,
    arrays: int = 1,
    per_warp: int = 1024,
    kernel: str = "",
) -> Tile:
    """Whole rows in one tile of up to ``most`` elements, else tiles that walk along them; a tuner's
    choice where ``kernel`` has one for these sizes.

    A tile of 1024 elements a warp keeps 32 values of each array in a thread's registers; all
    counts are halved where they are computed in float64. The longest row (``limits.row``) is halved
    where two ``arrays`` of it are kept, and a quarter in float64: whole ones spill.
    """
    longest = triton.next_power_of_2(max(p.n, 1))
    if kernel:
        kind = storage_kind(p.x.itemsize, acc == tl.float64)
        found = ask(kernel, kind, (p.outer, p.n, p.inner), p.layout)
        if found is not None:
            return Tile(found.block_t, found.block_n, found.block_n >= longest, found.num_warps)
    most = min(most or limits.row, limits.row) // arrays
    if cuda.is_emulated():
        elements, most = 1024, min(most, 1024)
    elif acc == tl.float64:
        elements, most, per_warp = elements // 2, most // 4, per_warp // 2
    least = min(32, triton.next_power_of_2(p.inner)) if p.layout == "planes" else 1
    one_pass = longest * least <= most
    if one_pass:
        block_n = longest
        block_t = max(least, elements // block_n)
    else:
        block_t = least
        block_n = max(min(longest, elements // block_t, most), 16)
    rows = p.inner if p.layout == "planes" else p.rows
    block_t = max(1, min(block_t, triton.next_power_of_2(max(rows, 1))))
    warps = min(32, max(1, triton.next_power_of_2(block_t * block_n // per_warp)))
    return Tile(block_t, block_n, one_pass, warps)


# ---- what a tuner may try ------------------------------------------------------------------------


class RowConfig(NamedTuple):
    """The choices of a row kernel's launch. A tile that is not as wide as the row walks along."""

    block_t: int
    block_n: int
    num_warps: int


VALUES = {
    "block_t": (1, 2, 4, 8, 16, 32, 64, 128),
    "block_n": tuple(1 << k for k in range(4, 16)),
    "num_warps": (1, 2, 4, 8, 16, 32),
}


def row_refusal(c: RowConfig, case: Case, arrays: int = 1, walks_single_rows: bool = False) -> str:
    """Why a tile cannot be good for rows of which ``arrays`` are kept, "" where it may be."""
    outer, n, inner = case.sizes
    longest = max(triton.next_power_of_2(n), 16)
    along = inner if case.layout == "planes" else outer * inner
    if c.block_n > longest:
        return "is wider than the row"
    if c.block_t > triton.next_power_of_2(along):
        return "has more rows than there are"
    if c.block_n < longest and walks_single_rows and c.block_t > 1:
        return "walks along several rows at once"
    if case.layout == "planes" and c.block_t < min(INNER, triton.next_power_of_2(inner)):
        return "loads less than 16 neighbours"
    each = c.block_t * c.block_n * arrays // (32 * c.num_warps)
    most = 32 if case.kind.endswith("64") or case.kind.startswith("64") else 64
    if each > most:
        return f"keeps {each} values a thread"
    return "" if each else "has threads without a value"


def row_order(c: RowConfig, case: Case) -> float:
    """Sooner: whole rows, 16 values of them a thread, and 4096 in a tile."""
    elements = c.block_t * c.block_n
    walks = 2.0 if c.block_n < case.sizes[1] else 0.0
    return walks + away(elements, 4096) + away(elements / (32 * c.num_warps), 16)


def declare_rows(
    kernel: str, tiny: Mapping[str, Any], refusal: Callable[[RowConfig, Case], str] = row_refusal
) -> Space:
    """Make the space of a kernel that asks for its tile by this name known to tuners."""
    return declare(Space(kernel, VALUES, refusal, RowConfig, order=row_order, tiny=tiny))
