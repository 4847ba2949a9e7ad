"""Optimiser steps: an update rule written out as one kernel for all tensors of a model.

The tensors are found by a table of pointers (``optim.py``). A program updates BLOCK elements of one
tensor in registers. Bytes moved: each tensor read once, parameter and state written once.
"""

from __future__ import annotations

import linecache
import zlib
from typing import TYPE_CHECKING, Any

import triton
import triton.language as tl

from tgrad.expression import Symbol
from tgrad.kernels.cuda import maths, optim

if TYPE_CHECKING:
    from tgrad.update import Update, Variant

HEAD = """\
def {name}(table_ptr, sizes_ptr, work_ptr{numbers}, ROLES: tl.constexpr, T: tl.constexpr,
           ACC: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.load(work_ptr + 2 * tl.program_id(0))
    start = tl.multiple_of(tl.load(work_ptr + 2 * tl.program_id(0) + 1), BLOCK)
    offs = start + tl.arange(0, BLOCK)
    n = tl.load(sizes_ptr + i)
"""


def source(variant: Variant) -> str:
    """The kernel's text. A block inside its tensor is read without masks: accesses stay wide."""
    name = variant.name.strip("_") + "_kernel"
    numbers = "".join(f", n{k}" for k in range(variant.numbers))
    lines = ["    if start + BLOCK <= n:"]
    lines += ["        " + line for line in body(variant, True)]
    lines += ["    else:"]
    lines += ["        " + line for line in body(variant, False)]
    return HEAD.format(name=name, numbers=numbers) + "\n".join(lines) + "\n"


def body(variant: Variant, full: bool) -> list[str]:
    """Lines that load every role, compute, and store those that the rule writes."""
    program, lines = variant.program, []
    names = [f"v{k}" for k in range(program.n)]
    for k in range(variant.roles):
        lines.append(f"at{k} = element(table_ptr, i, offs, {k}, ROLES, T, ALIGNED)")
        lines.append(f"v{k} = fetch(at{k}, offs, n, ACC, {full})")
    for k in range(variant.numbers):  # two bare numbers have no dtype of their own
        lines.append(f"v{variant.roles + k} = tl.full((BLOCK,), number(n{k}), ACC)")
    for v, step in enumerate(program.steps, program.n):
        args = [names[a.index] if isinstance(a, Symbol) else repr(a) for a in step.args]
        lines.append(f"v{v} = {step.name}({', '.join(args)})")
        names.append(f"v{v}")
    for role, v in zip(variant.written, program.results, strict=True):
        lines.append(f"put(at{role}, {names[v]}, offs, n, T, {full})")
    return lines


def compiled(variant: Variant) -> Any:
    """The kernel as a Triton function; the line cache lets Triton read its source back."""
    text = source(variant)
    filename = f"<update {variant.name} {zlib.crc32(text.encode()):08x}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope: dict[str, Any] = {"tl": tl, "element": optim.element, "fetch": optim.fetch,
                             "put": optim.put, "number": optim.number,
                             "__name__": __name__}  # fmt: skip
    scope |= {step.name: getattr(maths, step.name) for step in variant.program.steps}
    exec(compile(text, filename, "exec"), scope)
    return triton.jit(scope[variant.name.strip("_") + "_kernel"])


def launch(entry: Update, *args: Any) -> None:
    """Apply the rule to every element of the lists of contiguous arrays in ``args``."""
    variant, numbers = entry.variant(args)
    try:
        function = variant.compiled  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        function = variant.compiled = compiled(variant)  # pyright: ignore[reportAttributeAccessIssue]
    optim.launch(function, [args[i] for i in entry.tensors], numbers)
