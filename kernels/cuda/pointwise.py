"""Running a pointwise expression with Triton: one launch, any strides, operands read once.

The kernels' source is written out by ``pointwise_source`` for the pattern at hand; the expression
arrives as a ``tl.constexpr`` function. Bytes moved: each operand once and each output once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from tgrad.dtypes import Scalar
from tgrad.kernels.cuda import maths, pointwise_source
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
from tgrad.kernels.cuda.limits import common_unit, is_wide, limits
from tgrad.pointwise import bind
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.pointwise import Pointwise

TL = {"bool": tl.int1, **{n: getattr(tl, n) for n in (
    "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
)}}  # fmt: skip
Steps = list[list[int]]  # of each output and operand, along each axis


@functools.cache
def compiled(expression: Any) -> Any:
    """The expression as a Triton function."""
    return triton.jit(bind(expression, maths, tl=tl))


# ---- axes ----------------------------------------------------------------------------------------


def merged(arrays: list[CudaArray]) -> tuple[list[int], Steps]:
    """Sizes and, per array, steps of the fewest axes that address all arrays alike.

    The first array is an output: it has the shape to which all broadcast, and axes are taken in
    the order in which it lies in memory, so that what is written is contiguous.
    """
    y = arrays[0]
    steps = [broadcast_steps(a, y.shape) for a in arrays]
    sizes: list[int] = []
    kept: Steps = [[] for _ in steps]
    for k in sorted(range(len(y.shape)), key=lambda k: -abs(steps[0][k])):
        n = y.shape[k]
        if n == 1:
            continue
        if sizes and all(have[-1] == s[k] * n for have, s in zip(kept, steps, strict=True)):
            sizes[-1] *= n
            for have, s in zip(kept, steps, strict=True):
                have[-1] = s[k]
        else:
            sizes.append(n)
            for have, s in zip(kept, steps, strict=True):
                have.append(s[k])
    return sizes, kept


def broadcast_steps(a: CudaArray, shape: tuple[int, ...]) -> list[int]:
    extra = len(shape) - len(a.shape)
    steps = [0 if n == 1 else s for n, s in zip(a.shape, a.steps, strict=True)]
    return [0] * extra + steps


def turned_axis(sizes: list[int], steps: Steps) -> int | None:
    """The axis that lies innermost in an operand which is strided along the last one."""
    for st in steps:
        inner = abs(st[-1])
        if inner > 1 and sizes[-1] >= limits.transposed:
            near = [k for k, s in enumerate(st[:-1]) if 0 < abs(s) < inner]
            k = min(near, key=lambda k: abs(st[k]), default=None)
            if k is not None and sizes[k] >= limits.transposed:
                return k
    return None


# ---- launching -----------------------------------------------------------------------------------


def launch(entry: Pointwise, ys: list[CudaArray], operands: list, compute: dtype) -> None:
    """ys = the op's expression of ``operands``."""
    heavy = is_heavy(entry)
    launch_expression(entry.card, ys, operands, compute, entry.program.conditions, heavy)


# Functions with so much to hold that a thread computes one element, else registers spill.
HEAVY = frozenset(
    {"bessel_j0_backward", "bessel_j1", "bessel_j1_backward", "bessel_y0", "bessel_y0_backward",
     "bessel_y1", "igamma", "igammac", "modified_bessel_k1", "scaled_modified_bessel_k1",
     "zeta_other_backward"}
)  # fmt: skip


@functools.cache
def is_heavy(entry: Pointwise) -> bool:
    """Whether the op, or a function that its expression calls, is in HEAVY."""
    return entry.name in HEAVY or any(step.name in HEAVY for step in entry.program.steps)


class Call(NamedTuple):
    """What every kind of kernel needs."""

    pattern: str
    arguments: list[Any]  # the outputs, then the operands
    size: int  # of an output
    constants: dict[str, Any]
    elements: int  # of a program: 16 bytes a thread of the narrowest array, or 32 of numbers
    kind: str
    num_warps: int = 4

    def tuned(self, layout: str) -> Call:
        """With a tuner's choice, where there is one for arrays of this size."""
        found = ask("pointwise", self.kind, (self.size,), layout)
        if found is None:
            return self
        return self._replace(elements=found.elements, num_warps=found.num_warps)


def launch_expression(
    expression: Any,
    ys: list[CudaArray],
    operands: list,
    compute: dtype,
    conditions: Collection[int] = (),
    heavy: bool = False,
) -> None:
    """ys = expression(*operands), computed in ``compute`` and converted by the stores.

    Outputs have one shape. Operands at the positions ``conditions`` stay bool where they are. Of
    what is ``heavy`` a thread computes one element.
    """
    if compute.is_complex:
        raise NotImplementedError(f"no pointwise kernels for {compute.name} on CUDA")
    if ys[0].size == 0:
        return
    letters = [letter(a, i in conditions) for i, a in enumerate(operands)]
    arrays = [*ys, *[a for a, kind in zip(operands, letters, strict=True) if kind in "ac"]]
    narrowest = min(a.itemsize for a in arrays)
    values = [*ys, *[a.argument() if isinstance(a, Scalar) else a for a in operands]]
    constants = {"F": compiled(expression), "T": TL[compute.name]}
    elements = max(min(1024, 4096 // compute.itemsize), 2048 // narrowest)
    elements = 128 if heavy else elements
    elements = 8192 if cuda.is_emulated() else elements
    kind = storage_kind(narrowest, compute.itemsize == 8)
    pattern = "y" * len(ys) + "".join(letters)
    call = Call(pattern, values, ys[0].size, constants, elements, kind)
    sizes, steps = merged(arrays)
    if all(st == ([1] if sizes else []) for st in steps):
        run_flat(call, [], steps, "f" * len(steps))
        return
    turned = turned_axis(sizes, steps)
    if turned is not None:
        run_turned(call, sizes, steps, turned)
        return
    access = "".join(["f" if st == dense_steps(sizes) else "x" for st in steps])
    unit = inner_unit(sizes, steps)
    aligned = unit * narrowest >= 16 or "f" not in access
    if len(sizes) > 1 and sizes[-1] >= limits.inner and aligned:
        run_rows(call, sizes, steps)
    else:
        run_flat(call, sizes, steps, access)


def letter(a: Any, condition: bool) -> str:
    """An operand's letter in the pattern."""
    if not isinstance(a, CudaArray):
        return "s"
    stays = condition and a.dtype == np.bool_
    return ("p" if stays else "o") if a.size == 1 else ("c" if stays else "a")


def dense_steps(sizes: list[int]) -> list[int]:
    """The steps of a contiguous array."""
    return [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]


def inner_unit(sizes: list[int], steps: Steps) -> int:
    """What divides the rows' length and all steps between rows."""
    return common_unit(16, sizes[-1], *[s for st in steps for s in st[:-1] if st[-1] == 1])


def reach(sizes: list[int], steps: Steps) -> int:
    return max(sum(abs(s) * n for s, n in zip(st, sizes, strict=True)) for st in steps)


def run_flat(call: Call, sizes: list[int], steps: Steps, access: str) -> None:
    call = call.tuned("flat")
    n, block = call.size, call.elements
    strided = [s for st, kind in zip(steps, access, strict=True) if kind == "x" for s in st]
    even = n % 16 == 0 and "f" in access
    cuda.launch(
        pointwise_source.flat(call.pattern, access, len(sizes) if strided else 0, even),
        (triton.cdiv(n, block),), *call.arguments, n // 16 if even else n,
        *(sizes if strided else []), *strided,
        **call.constants, WIDE=is_wide(n + block, reach(sizes, steps) if strided else 0),
        BLOCK=block, num_warps=call.num_warps,
    )  # fmt: skip


def run_rows(call: Call, sizes: list[int], steps: Steps) -> None:
    """By tiles along the innermost axis, rows over all others."""
    call = call.tuned("rows")
    *outer, size_n = sizes
    unit, rows = inner_unit(sizes, steps), math.prod(outer)
    access, arguments = [], []
    for *far, near in steps:
        by = unit if near == 1 else 1
        access.append(("x" if any(far) else "0") + kind_of(near))
        arguments += [s // by for s in far] if any(far) else []
        arguments += [near] if kind_of(near) == "x" else []
    block_m, block_n = tile(call.elements, rows, size_n)
    blocks_m, blocks_n = triton.cdiv(rows, block_m), triton.cdiv(size_n, block_n)
    cuda.launch(
        pointwise_source.tiled(call.pattern, tuple(access), len(outer), False),
        (blocks_n * blocks_m,), *call.arguments, size_n // unit, rows, *outer, *arguments,
        **call.constants, VEC=unit, BLOCK_M=block_m, BLOCK_N=block_n,
        WIDE=is_wide(reach(sizes, steps), blocks_m * block_m * blocks_n * block_n),
        num_warps=call.num_warps,
    )  # fmt: skip


def run_turned(call: Call, sizes: list[int], steps: Steps, turned: int) -> None:
    """By square tiles over the innermost axis and the ``turned`` one, which others lie along."""
    size_m, size_n = sizes[turned], sizes[-1]
    outer = [n for k, n in enumerate(sizes[:-1]) if k != turned]
    numbers = [size_m, size_n]
    numbers += [s for st in steps if 1 in (st[turned], st[-1]) for s in st if s != 1]
    unit, access, arguments = common_unit(16, *numbers), [], []
    for st in steps:
        m, near = st[turned], st[-1]
        by = unit if 1 in (m, near) else 1
        access.append(kind_of(m) + kind_of(near))
        arguments += [s // by for k, s in enumerate(st[:-1]) if k != turned]
        arguments += [s // by for s in (m, near) if kind_of(s) == "x"]
    block = 64
    blocks = triton.cdiv(size_m, block) * triton.cdiv(size_n, block) * math.prod(outer)
    cuda.launch(
        pointwise_source.tiled(call.pattern, tuple(access), len(outer), True), (blocks,),
        *call.arguments, size_n // unit, size_m // unit, *outer, *arguments,
        **call.constants, VEC=unit, WIDE=is_wide(reach(sizes, steps), blocks * block * block),
        BLOCK_M=block, BLOCK_N=block, num_warps=8,
    )  # fmt: skip


def kind_of(step: int) -> str:
    return "0" if step == 0 else "1" if step == 1 else "x"


def tile(elements: int, rows: int, size_n: int) -> tuple[int, int]:
    """Rows and columns of a tile: as wide as leaves few lanes idle at the rows' ends."""
    widths = [w for w in (2048, 1024, 512, 256, 128, 64) if w <= elements]
    if cuda.is_emulated():
        widths = [min(elements, triton.next_power_of_2(size_n))]
    used = {w: size_n / (triton.cdiv(size_n, w) * w) for w in widths}
    good = 0.85 * max(used.values())
    block_n = next(w for w in widths if used[w] >= good)
    block_m = max(1, min(elements // block_n, triton.next_power_of_2(rows)))
    return block_m, block_n


# ---- what a tuner may try ------------------------------------------------------------------------


class PointwiseConfig(NamedTuple):
    """The choices of a pointwise launch: elements of a program, and its warps."""

    elements: int
    num_warps: int


def refusal(c: PointwiseConfig, case: Case) -> str:
    """Why a block cannot be good, "" where it may be."""
    each = c.elements // (32 * c.num_warps)
    if case.arch and not 1 <= each <= 32:  # the interpreter has no threads
        return f"computes {each} elements a thread"
    return ""


def order(c: PointwiseConfig, case: Case) -> float:
    """Sooner: 8 elements a thread, 4 warps."""
    return away(c.elements / (32 * c.num_warps), 8) + away(c.num_warps, 4)


VALUES = {
    "elements": tuple(1 << k for k in range(7, 14)),  # 64 lie along the rows of the least tile
    "num_warps": (1, 2, 4, 8),
}
TINY = example("add", array(500), 2.0)
declare(Space("pointwise", VALUES, refusal, PointwiseConfig, order=order, tiny=TINY))
