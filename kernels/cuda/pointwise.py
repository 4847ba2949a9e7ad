"""Running a pointwise expression with Triton: one launch, any strides, operands read once.

Kernels differ by how many operands are arrays and by the number of axes left after merging, so
their source is written out by :func:`source` for each such pattern; the expression arrives as a
``tl.constexpr`` function. Bytes moved: each operand once and the output once.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dtypes import Scalar
from tgrad.kernels.cuda import maths
from tgrad.pointwise import bind
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.pointwise import Pointwise

TL = {"bool": tl.int1, **{n: getattr(tl, n) for n in (
    "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
)}}  # fmt: skip


@functools.cache
def compiled(expression: Any) -> Any:
    """The expression as a Triton function."""
    return triton.jit(bind(expression, maths, tl=tl))


@functools.cache
def source(pattern: str, rank: int) -> Any:
    """The kernel for operands ``pattern`` over ``rank`` axes; rank 0 is flat.

    A pattern's letters: "a" array, "c" array of bool that stays bool, "s" number. A program
    computes BLOCK consecutive elements of the output. Flat, a full block is read and written
    without masks, which keeps accesses 16 bytes wide whatever the size.
    """
    arrays = [i for i, kind in enumerate(pattern) if kind != "s"]
    names = [f"x{i}" if kind == "s" else f"x{i}_ptr" for i, kind in enumerate(pattern)]
    sizes = [f"size_{k}" for k in range(rank)]
    strides = [f"stride_{o}{k}" for o in ("y", *arrays) for k in range(rank)]
    lines = [
        f"def pointwise_kernel(y_ptr, {', '.join([*names, 'n', *sizes, *strides])},",
        "                     F: tl.constexpr, T: tl.constexpr, WIDE: tl.constexpr,",
        "                     BLOCK: tl.constexpr):",
        "    start = tl.program_id(0)",
        "    if WIDE:",
        "        start = start.to(tl.int64)",
        "    offs = start * BLOCK + tl.arange(0, BLOCK)",
    ]
    where = dict.fromkeys(("y", *arrays), "offs")
    if rank == 0:
        lines.append("    if start * BLOCK + BLOCK <= n:")
        lines += ["    " + line for line in body(pattern, where, "")]
        lines.append("    else:")
        lines += ["    " + line for line in body(pattern, where, ", mask=offs < n")]
        return jit("\n".join(lines) + "\n", f"<pointwise {pattern} flat>")
    lines.append("    rest = offs")
    for k in reversed(range(rank)):
        lines.append(f"    at_{k} = rest % size_{k}" if k else "    at_0 = rest")
        if k:
            lines.append(f"    rest = rest // size_{k}")
    where = {o: " + ".join(f"at_{k} * stride_{o}{k}" for k in range(rank)) for o in where}
    lines += body(pattern, where, ", mask=offs < n")
    return jit("\n".join(lines) + "\n", f"<pointwise {pattern} {rank}>")


def body(pattern: str, where: dict, mask: str) -> list[str]:
    """Lines that load the operands, compute and store."""
    lines = []
    for i, kind in enumerate(pattern):
        if kind == "s":
            lines.append(f"    v{i} = tl.full((BLOCK,), x{i}, T)")
        else:
            cast = ".to(T)" if kind == "a" else ""
            lines.append(f"    v{i} = tl.load(x{i}_ptr + {where[i]}{mask}){cast}")
    values = ", ".join(f"v{i}" for i in range(len(pattern)))
    lines.append(f"    y = to(F({values}), y_ptr.dtype.element_ty)")
    lines.append(f"    tl.store(y_ptr + {where['y']}, y{mask})")
    return lines


def jit(text: str, filename: str) -> Any:
    """``triton.jit`` of source text; the line cache lets Triton (and tracebacks) read it back."""
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"tl": tl, "to": maths.to, "__name__": __name__}
    exec(compile(text, filename, "exec"), scope)
    return triton.jit(scope["pointwise_kernel"])


def merged(y: CudaArray, arrays: list[CudaArray]) -> tuple[list[int], list[list[int]]]:
    """Sizes and, per array, steps of the fewest axes that address all arrays alike."""
    steps = [broadcast_steps(a, y.shape) for a in (y, *arrays)]
    sizes: list[int] = []
    kept: list[list[int]] = [[] for _ in steps]
    for k, n in enumerate(y.shape):
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


def launch(entry: Pointwise, y: CudaArray, operands: list, compute: dtype) -> None:
    """y = the op's expression of ``operands``."""
    launch_expression(entry.card, y, operands, compute, entry.program.conditions)


def launch_expression(
    expression: Any,
    y: CudaArray,
    operands: list,
    compute: dtype,
    conditions: Collection[int] = (),
) -> None:
    """y = expression(*operands), computed in ``compute`` and converted by the store.

    Operands at the positions ``conditions`` stay bool where they are.
    """
    if compute.is_complex:
        raise NotImplementedError(f"no pointwise kernels for {compute.name} on CUDA")
    if y.size == 0:
        return
    arrays = [a for a in operands if isinstance(a, CudaArray)]
    sizes, steps = merged(y, arrays)
    flat = len(sizes) <= 1 and all(s == [1] * len(sizes) for s in steps)
    pattern = "".join(
        "s" if not isinstance(a, CudaArray)
        else "c" if i in conditions and a.dtype == np.bool_
        else "a"
        for i, a in enumerate(operands)
    )  # fmt: skip
    reach = max(sum(abs(s) * n for s, n in zip(st, sizes, strict=True)) for st in steps)
    block = 8192 if cuda.is_emulated() else 1024
    cuda.launch(
        source(pattern, 0 if flat else len(sizes)),
        (triton.cdiv(y.size, block),),
        y,
        *[scalar(a) if isinstance(a, Scalar) else a for a in operands],
        y.size,
        *([] if flat else [*sizes, *(s for st in steps for s in st)]),
        F=compiled(expression),
        T=TL[compute.name],
        WIDE=max(reach, y.size + block) >= 2**31,
        BLOCK=block,
    )


def scalar(s: Scalar) -> Any:
    assert not isinstance(s.value, complex)
    return np.float64(s.value) if s.dtype.name == "float64" else s.value
