"""One kernel for everything that reads or writes where index tensors say.

The iteration space is that of the elements moved. A *table* array is addressed by strides along
the axes of that space, plus for each index tensor ``index * step``; the *flat* array (what is read
into or written from) by strides alone. With no index tensor it is a strided copy. Kernels differ
by the number of index tensors and of axes left after merging, so :func:`source` writes them out.
Out of range elements are left alone: nothing outside the table is ever touched. The cards have
checked the bounds where that costs no transfer; builds with Triton's debug option assert them.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from tgrad.kernels.cuda import maths, ordered
from tgrad.kernels.cuda.configs import array, example
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.limits import common_unit, is_wide, limits
from tgrad.kernels.cuda.lines import LineConfig, block_of, declare_line
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.settings import are_deterministic_algorithms_enabled

# Moves need no arithmetic, and one kernel for each size of element is enough.
BITS = {1: np.dtype(np.uint8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}
ATOMIC = ("int32", "int64", "float32", "float64")  # dtypes that can be added to by many at once


class Index(NamedTuple):
    """An index tensor; ``steps`` of its elements along each axis of the iteration space."""

    array: CudaArray
    steps: Sequence[int]
    size: int  # of the table's axis that it indexes
    step: int  # of that axis, in elements


Located = tuple[tuple[int, ...], Sequence[int], Sequence[Index]]  # shape, the table's steps there


@functools.cache
def source(mode: str, count: int, rank: int) -> Any:
    """The kernel for ``count`` index tensors over ``rank`` axes.

    Modes: "gather" flat = table, "set" table = flat, "add" table += flat (atomic), "fill"
    table = value, "place" flat = offset in the table. A program covers BLOCK elements.
    """
    names = [f"i{j}" for j in range(count)]
    flat = [] if mode == "fill" else ["flat"]
    strided = ["table", *([] if mode == "place" else flat), *names]
    heads = [
        "value" if mode == "fill" else "flat_ptr", "table_ptr", *(f"{i}_ptr" for i in names), "n",
        *(f"{what}_{i}" for i in names for what in ("n", "step")),
        *(f"size_{k}" for k in range(rank)),
        *(f"stride_{o}_{k}" for o in strided for k in range(rank)),
    ]  # fmt: skip
    if mode == "place":
        heads.remove("table_ptr")
    place = {
        o: " + ".join([f"at_{k} * stride_{o}_{k}" for k in range(rank)]) or "offs * 0"
        for o in strided
    }
    lines = [
        f"def addressing_kernel({', '.join(heads)}, WIDE: tl.constexpr, BLOCK: tl.constexpr):",
        "    start = tl.program_id(0)",
        "    if WIDE:",
        "        start = start.to(tl.int64)",
        "    offs = start * BLOCK + tl.arange(0, BLOCK)",
        "    mask = offs < n",
        "    inside = mask",
        "    rest = offs",
    ]
    for k in reversed(range(rank)):
        lines.append(f"    at_{k} = rest % size_{k}" if k else "    at_0 = rest")
        if k:
            lines.append(f"    rest = rest // size_{k}")
    lines.append(f"    place = {place['table']}")
    for i in names:
        lines += [
            f"    {i} = tl.load({i}_ptr + {place[i]}, mask=mask, other=0)",
            f"    {i} = tl.where({i} < 0, {i} + n_{i}, {i})",
            f"    good = ({i} >= 0) & ({i} < n_{i})",
            '    tl.device_assert(good, "index out of bounds", mask=mask)',
            "    inside = inside & good",
            f"    place += {i}.to(offs.dtype) * step_{i}",
        ]
    if mode == "gather":
        lines += [
            "    moved = tl.load(table_ptr + place, mask=inside, other=0)",
            f"    tl.store(flat_ptr + {place['flat']}, moved, mask=mask)",
        ]
    elif mode == "place":
        lines.append(
            "    tl.store(flat_ptr + offs, tl.where(inside, place, -1).to(tl.int64), mask=mask)"
        )
    elif mode == "fill":
        lines += [
            "    moved = tl.full((BLOCK,), value, table_ptr.dtype.element_ty)",
            "    tl.store(table_ptr + place, moved, mask=inside)",
        ]
    else:
        lines.append(f"    moved = tl.load(flat_ptr + {place['flat']}, mask=inside, other=0)")
        if mode == "set":
            lines.append("    tl.store(table_ptr + place, moved, mask=inside)")
        else:
            lines += [
                "    moved = to(moved, table_ptr.dtype.element_ty)",
                '    tl.atomic_add(table_ptr + place, moved, mask=inside, sem="relaxed")',
            ]
    return jit("\n".join(lines) + "\n", f"<addressing {mode} {count} {rank}>")


@functools.cache
def rows_source(mode: str, count: int, rank: int) -> Any:
    """The same where an innermost axis lies densely in table and flat, and indices pass it by.

    A program moves BLOCK_M rows x BLOCK_N elements: an index is read once a row, and rows are
    accessed 16 bytes wide. Rows run over ``rank`` axes. Sizes and steps of table and flat, those
    of the indexed axes among them, come in units of VEC.
    """
    names = [f"i{j}" for j in range(count)]
    flat = [] if mode == "fill" else ["flat"]
    strided = ["table", *flat, *names]
    heads = [
        "value" if mode == "fill" else "flat_ptr", "table_ptr", *(f"{i}_ptr" for i in names),
        *(f"{what}_{i}" for i in names for what in ("n", "step")), "size_n", "rows",
        *(f"size_{k}" for k in range(rank)),
        *(f"stride_{o}_{k}" for o in strided for k in range(rank)),
    ]  # fmt: skip
    place = {
        o: " + ".join([f"at_{k} * stride_{o}_{k}" for k in range(rank)]) or "offs_m * 0"
        for o in strided
    }
    lines = [
        f"def addressing_kernel({', '.join(heads)}, VEC: tl.constexpr, WIDE: tl.constexpr,",
        "                      BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):",
        "    pid = tl.program_id(0)",
        "    if WIDE:",
        "        pid = pid.to(tl.int64)",
        "        size_n = size_n.to(tl.int64)",
        "    size_n = size_n * VEC",
        "    blocks_n = tl.cdiv(size_n, BLOCK_N)",
        "    offs_n = (pid % blocks_n) * BLOCK_N + tl.arange(0, BLOCK_N)",
        "    offs_m = (pid // blocks_n) * BLOCK_M + tl.arange(0, BLOCK_M)",
        "    mask_m = offs_m < rows",
        "    mask_n = (offs_n < size_n)[None, :]",
        "    inside = mask_m",
        "    rest = offs_m",
    ]
    for k in reversed(range(rank)):
        lines.append(f"    at_{k} = rest % size_{k}" if k else "    at_0 = rest")
        if k:
            lines.append(f"    rest = rest // size_{k}")
    lines.append(f"    place = {place['table']}")
    for i in names:
        lines += [
            f"    {i} = tl.load({i}_ptr + {place[i]}, mask=mask_m, other=0)",
            f"    {i} = tl.where({i} < 0, {i} + n_{i}, {i})",
            f"    good = ({i} >= 0) & ({i} < n_{i})",
            '    tl.device_assert(good, "index out of bounds", mask=mask_m)',
            "    inside = inside & good",
            f"    place += {i}.to(offs_m.dtype) * step_{i}",
        ]
    lines += [
        "    inside = inside[:, None] & mask_n",
        "    table = table_ptr + (place * VEC)[:, None] + offs_n[None, :]",
    ]
    if mode == "fill":
        lines += [
            "    moved = tl.full((BLOCK_M, BLOCK_N), value, table_ptr.dtype.element_ty)",
            "    tl.store(table, moved, mask=inside)",
        ]
        return jit("\n".join(lines) + "\n", f"<addressing rows {mode} {count} {rank}>")
    lines.append(f"    flat = flat_ptr + (({place['flat']}) * VEC)[:, None] + offs_n[None, :]")
    if mode == "gather":
        lines += [
            "    moved = tl.load(table, mask=inside, other=0)",
            "    tl.store(flat, moved, mask=mask_m[:, None] & mask_n)",
        ]
    else:
        lines.append("    moved = tl.load(flat, mask=inside, other=0)")
        if mode == "set":
            lines.append("    tl.store(table, moved, mask=inside)")
        else:
            lines += [
                "    moved = to(moved, table_ptr.dtype.element_ty)",
                '    tl.atomic_add(table, moved, mask=inside, sem="relaxed")',
            ]
    return jit("\n".join(lines) + "\n", f"<addressing rows {mode} {count} {rank}>")


def jit(text: str, filename: str, **names: Any) -> Any:
    """``triton.jit`` of source text; the line cache lets Triton (and tracebacks) read it back.

    Sizes and strides are not specialised.
    """
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"tl": tl, "to": maths.to, "__name__": __name__, **names}
    exec(compile(text, filename, "exec"), scope)
    arguments = inspect.signature(scope["addressing_kernel"]).parameters
    plain = [a for a in arguments if a.startswith(("n_", "step_", "size_", "rows"))]
    return triton.jit(do_not_specialize=plain)(scope["addressing_kernel"])


def merge(
    shape: Sequence[int], steps: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Sizes and, per operand, steps of the fewest axes that address all operands alike."""
    sizes: list[int] = []
    kept: list[list[int]] = [[] for _ in steps]
    for k, n in enumerate(shape):
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


def raw(a: CudaArray) -> CudaArray:
    """The same bits as integers."""
    return a.view(BITS[a.itemsize])


def run(
    mode: str,
    shape: tuple[int, ...],
    flat: Any,
    table: CudaArray,
    table_steps: Sequence[int],
    indices: Sequence[Index],
) -> None:
    """Run ``mode`` over ``shape``; ``flat`` is an array of that shape, or a number."""
    n = 1
    for m in shape:
        n *= m
    if n == 0:
        return
    if mode in ("gather", "set"):
        flat, table = raw(flat), raw(table)
    elif mode == "fill":
        flat = int(np.asarray(flat).astype(table.dtype).view(BITS[table.itemsize]))
        table = raw(table)
    strided = [table_steps]
    if mode in ("gather", "set", "add"):
        strided.append(flat.steps)
    sizes, steps = merge(shape, [*strided, *(i.steps for i in indices)])
    reach = sum(abs(s) * m for s, m in zip(table_steps, shape, strict=True))
    reach += sum(abs(i.step) * i.size for i in indices)
    reach = max(reach, *[i.array.size for i in indices], 0)
    moved = steps[: len(strided)]
    dense = sizes and all(st[-1] == 1 for st in moved)
    passed = sizes and all(st[-1] == 0 for st in steps[len(strided) :])
    if mode != "place" and dense and passed and sizes[-1] >= limits.inner:
        run_rows(mode, flat, table, indices, sizes, steps, len(strided), reach)
        return
    c = block_in(mode, table.itemsize, n, "flat", 8192 if cuda.is_emulated() else 1024)
    block = c.block
    heads = [flat] if mode == "place" else [flat, table]
    cuda.launch(
        source(mode, len(indices), len(sizes)),
        (triton.cdiv(n, block),),
        *heads,
        *[i.array for i in indices],
        n,
        *[v for i in indices for v in (i.size, i.step)],
        *sizes,
        *[s for st in steps for s in st],
        WIDE=is_wide(reach, n + block),
        BLOCK=block,
        num_warps=c.num_warps,
    )


def block_in(mode: str, itemsize: int, n: int, layout: str, rule: int) -> LineConfig:
    """The block of a launch over n elements. What is written where indices say cannot be tuned:
    which of two writes to one place stays is not always the same.
    """
    if mode != "gather":
        return LineConfig(rule)
    return block_of("gather", itemsize, (n,), rule, layout)


declare_line(
    "gather", example("gather", array(7, 40), 0, array(5, 40, dtype="int64")),
    lambda call: min(call.arrays[1].shape),
)  # fmt: skip


def run_rows(
    mode: str, flat: Any, table: CudaArray, indices: Sequence[Index], sizes: list[int],
    steps: list[list[int]], strided: int, reach: int,
) -> None:  # fmt: skip
    """By :func:`rows_source`; the first ``strided`` of ``steps`` are table's and flat's."""
    *outer, size_n = sizes
    rows = math.prod(outer)
    far = [s for st in steps[:strided] for s in st[:-1]]
    vec = common_unit(16, size_n, *far, *[i.step for i in indices])
    rule = 8192 if cuda.is_emulated() else max(1024, 2048 // table.itemsize)
    c = block_in(mode, table.itemsize, rows * size_n, "rows", rule)
    elements = c.block
    block_n = min(elements, triton.next_power_of_2(size_n))
    block_m = max(1, min(elements // block_n, triton.next_power_of_2(rows)))
    blocks_m, blocks_n = triton.cdiv(rows, block_m), triton.cdiv(size_n, block_n)
    cuda.launch(
        rows_source(mode, len(indices), len(outer)), (blocks_m * blocks_n,), flat, table,
        *[i.array for i in indices], *[v for i in indices for v in (i.size, i.step // vec)],
        size_n // vec, rows, *outer, *[s // vec for s in far],
        *[s for st in steps[strided:] for s in st[:-1]], VEC=vec,
        WIDE=is_wide(reach, blocks_m * block_m * blocks_n * block_n), BLOCK_M=block_m,
        BLOCK_N=block_n, num_warps=c.num_warps,
    )  # fmt: skip


def add(table: CudaArray, flat: CudaArray, locate: Callable[[CudaArray], Located]) -> None:
    """table += flat where ``locate(table)`` says.

    By atomics, half types and small integers in a contiguous scratch of 32 bits. Sums of floats
    then depend on the order of arrival: where determinism is asked for they are sorted instead.
    """
    if are_deterministic_algorithms_enabled() and table.dtype.kind not in "iub":
        reduce(table, flat, locate(table), "add")
        return
    total = table
    if table.dtype.name not in ATOMIC:
        total = cuda.empty(table.shape, wide(table.dtype))
        copy(total, table)
    shape, steps, indices = locate(total)
    run("add", shape, flat, total, steps, indices)
    if total is not table:
        copy(table, total)


def reduce(table: CudaArray, flat: CudaArray, located: Located, mode: str) -> None:
    """table combined with flat in the order of flat's elements; ``mode`` as in ``ordered``."""
    if flat.size == 0:
        return
    shape, steps, indices = located
    places = cuda.empty((flat.size,), np.dtype(np.int64))
    run("place", shape, places, table, steps, indices)
    dense = flat
    if flat.shape != shape or not flat.is_contiguous:
        dense = cuda.empty(shape, flat.dtype)
        copy(dense, flat)
    reach = sum(s * (n - 1) for s, n in zip(table.steps, table.shape, strict=True))
    ordered.reduce(table, places, reach, dense, mode)


def wide(dtype: np.dtype) -> np.dtype:
    """What elements of a dtype without atomic addition are added up in."""
    return np.dtype(np.int32 if dtype.kind in "iub" else np.float32)


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> CudaArray:
    y = cuda.empty(shape, dtype)
    _fill(y, y, 0)
    return y
