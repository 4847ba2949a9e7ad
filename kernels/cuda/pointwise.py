"""Running a pointwise expression with Triton: one launch, any strides, operands read once.

Kernels differ by how many operands are arrays and by the number of axes left after merging, so
their source is written out by :func:`source` for each such pattern; the expression arrives as a
``tl.constexpr`` function. Bytes moved: each operand once and the output once.
"""

from __future__ import annotations

import functools
import linecache
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
    "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")}}  # fmt: skip


@functools.cache
def compiled(expression: Any) -> Any:
    """The expression as a Triton function."""
    return triton.jit(bind(expression, maths, tl=tl))


@functools.cache
def source(pattern: str, rank: int) -> Any:
    """The kernel for operands ``pattern`` ("a" array, "s" scalar) over ``rank`` axes; 0 is flat.

    A program computes BLOCK consecutive elements of the output.
    """
    arrays = [i for i, kind in enumerate(pattern) if kind == "a"]
    names = [f"x{i}_ptr" if kind == "a" else f"x{i}" for i, kind in enumerate(pattern)]
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
        "    mask = offs < n",
    ]
    where = {o: "offs" for o in ("y", *arrays)}
    if rank:
        lines.append("    rest = offs")
        for k in reversed(range(rank)):
            lines.append(f"    at_{k} = rest % size_{k}" if k else "    at_0 = rest")
            if k:
                lines.append(f"    rest = rest // size_{k}")
        where = {o: " + ".join(f"at_{k} * stride_{o}{k}" for k in range(rank)) for o in where}
    for i, kind in enumerate(pattern):
        if kind == "a":
            lines.append(f"    x{i} = tl.load(x{i}_ptr + {where[i]}, mask=mask).to(T)")
        else:
            lines.append(f"    x{i} = tl.full((BLOCK,), x{i}, T)")
    values = ", ".join(f"x{i}" for i in range(len(pattern)))
    lines += [
        f"    y = to(F({values}), y_ptr.dtype.element_ty)",
        f"    tl.store(y_ptr + {where['y']}, y, mask=mask)",
    ]
    return jit("\n".join(lines) + "\n", f"<pointwise {pattern} {rank}>")


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
    launch_expression(entry.card, y, operands, compute)


def launch_expression(expression: Any, y: CudaArray, operands: list, compute: dtype) -> None:
    """y = expression(*operands), computed in ``compute`` and converted by the store."""
    if y.size == 0:
        return
    arrays = [a for a in operands if isinstance(a, CudaArray)]
    sizes, steps = merged(y, arrays)
    flat = len(sizes) <= 1 and all(s == [1] * len(sizes) for s in steps)
    pattern = "".join("a" if isinstance(a, CudaArray) else "s" for a in operands)
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
    return np.float64(s.value) if s.dtype.name == "float64" else s.value
