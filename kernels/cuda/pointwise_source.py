"""The source text of pointwise kernels, of which there is one per pattern of operands and axes.

A pattern has a letter "y" per output, then one per operand: "a" array, "c" array of bool that stays
bool, "o" and "p" the same with one element only, "s" number. Written out, a kernel holds no branch
and no argument that its pattern does not need.
"""

from __future__ import annotations

import functools
import linecache
from typing import Any

import triton
import triton.language as tl

from tgrad.kernels.cuda import maths

ARRAYS = "acop"


def named(pattern: str) -> list[tuple[str, str]]:
    """Name and letter of each output, y0, y1, ..., and operand, x0, x1, ..."""
    outputs = pattern.count("y")
    return [(f"y{k}" if kind == "y" else f"x{k - outputs}", kind) for k, kind in enumerate(pattern)]


def outputs(pattern: str) -> list[str]:
    return [name for name, kind in named(pattern) if kind == "y"]


def heads(pattern: str) -> list[str]:
    """The arguments for outputs and operands."""
    return [name if kind == "s" else f"{name}_ptr" for name, kind in named(pattern)]


def walked(pattern: str) -> list[str]:
    """Outputs and operands that have an element for each position, or a row of positions."""
    return [name for name, kind in named(pattern) if kind in "yac"]


def constant(pattern: str, shape: str) -> list[str]:
    """Lines that make blocks of ``shape`` of the operands that are the same everywhere."""
    lines = []
    for name, kind in named(pattern):
        if kind == "s":
            lines.append(f"{name}_block = tl.full({shape}, {name}, T)")
        elif kind in "op":
            cast = ".to(T)" if kind == "o" else ""
            lines.append(f"{name}_block = tl.broadcast_to(tl.load({name}_ptr){cast}, {shape})")
    return lines


def varying(pattern: str, loads: dict[str, str], shape: str) -> list[str]:
    """Lines that load the other operands as blocks of ``shape``, and compute the outputs of all."""
    lines, values = [], []
    for name, kind in named(pattern):
        if kind in "ac":
            cast = ".to(T)" if kind == "a" else ""
            lines.append(f"{name}_block = tl.broadcast_to({loads[name]}{cast}, {shape})")
        if kind != "y":
            values.append(f"{name}_block")
    made = outputs(pattern)
    lines.append(f"{', '.join(f'{y}_block' for y in made)} = F({', '.join(values)})")
    lines += [f"{y} = to({y}_block, {y}_ptr.dtype.element_ty)" for y in made]
    return lines


def indented(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


@functools.cache
def flat(pattern: str, access: str, rank: int, even: bool) -> Any:
    """A program computes BLOCK consecutive positions.

    ``access`` has a letter for each output and walked operand: "f" lies in memory as positions do,
    "x" is found by steps along ``rank`` axes. What is "f" is accessed 16 bytes wide whatever the
    other operands: where the number of positions is ``even``, it comes in units of 16 and masks
    are as wide as accesses; else those of a full block go without masks.
    """
    found = dict(zip(walked(pattern), access, strict=True))
    strided = [o for o, kind in found.items() if kind == "x"]
    lines = [
        "start = tl.program_id(0)",
        "if WIDE:",
        "    start = start.to(tl.int64)",
        "    n = n.to(tl.int64)",
        *(["n = n * 16"] if even else []),
        "offs = start * BLOCK + tl.arange(0, BLOCK)",
        *constant(pattern, "(BLOCK,)"),
    ]
    if strided:
        lines.append("rest = offs")
        for k in reversed(range(rank)):
            lines.append(f"at_{k} = rest % size_{k}" if k else "at_0 = rest")
            if k:
                lines.append(f"rest = rest // size_{k}")
    place = dict.fromkeys(found, "offs")
    for o in strided:
        place[o] = " + ".join(f"at_{k} * step_{o}_{k}" for k in range(rank))
    full, masked = (run_at(pattern, place, mask) for mask in ("", ", mask=offs < n"))
    if even or "f" not in access:
        lines += masked
    else:
        lines += ["if start * BLOCK + BLOCK <= n:", *indented(full), "else:", *indented(masked)]
    sizes = [f"size_{k}" for k in range(rank)] if strided else []
    steps = [f"step_{o}_{k}" for o in strided for k in range(rank)]
    return jit(
        [*heads(pattern), "n", *sizes, *steps], ["F", "T", "WIDE", "BLOCK"], lines,
        f"<pointwise {pattern} {access} {rank}{' even' * even}>",
    )  # fmt: skip


def run_at(pattern: str, place: dict[str, str], mask: str) -> list[str]:
    """Lines that load, compute and store positions under a mask."""
    loads = {o: f"tl.load({o}_ptr + {at}{mask})" for o, at in place.items()}
    return [
        *varying(pattern, loads, "(BLOCK,)"),
        *(f"tl.store({y}_ptr + {place[y]}, {y}{mask})" for y in outputs(pattern)),
    ]


@functools.cache
def tiled(pattern: str, access: tuple[str, ...], outer: int, transposed: bool) -> Any:
    """A program computes BLOCK_M rows x BLOCK_N positions along the innermost axis.

    ``access`` has two letters for each output and walked operand, its steps along rows and along
    the innermost axis: "0", "1" or "x" for any other. With "0" one element serves the whole row or
    column of the tile. Rows run over ``outer`` axes; ``transposed``, over the last axis but one
    alone, and ``outer`` more axes over programs: then what lies along the rows is loaded along
    them and turned on chip. The tile's sizes, and the steps of what lies along one of its sides,
    come in units of VEC.
    """
    found = dict(zip(walked(pattern), access, strict=True))
    lines = [
        "pid = tl.program_id(0)",
        "if WIDE:",
        "    pid = pid.to(tl.int64)",
        "size_n = size_n * VEC",
        "blocks_n = tl.cdiv(size_n, BLOCK_N)",
        "offs_n = (pid % blocks_n) * BLOCK_N + tl.arange(0, BLOCK_N)",
        "mask_n = (offs_n < size_n)[None, :]",
        "rest = pid // blocks_n",
    ]
    if transposed:
        lines += [
            "size_m = size_m * VEC",
            "blocks_m = tl.cdiv(size_m, BLOCK_M)",
            "offs_m = (rest % blocks_m) * BLOCK_M + tl.arange(0, BLOCK_M)",
            "mask_m = (offs_m < size_m)[:, None]",
            "rest = rest // blocks_m",
        ]
    else:
        lines += [
            "offs_m = rest * BLOCK_M + tl.arange(0, BLOCK_M)",
            "mask_m = (offs_m < size_m)[:, None]",
            "rest = offs_m",
        ]
    for k in reversed(range(outer)):
        lines.append(f"at_{k} = rest % size_{k}" if k else "at_0 = rest")
        if k:
            lines.append(f"rest = rest // size_{k}")
    loads, steps = {}, []
    for o, (m, n) in found.items():
        by = " * VEC" if "1" in (m, n) else ""
        far = [f"step_{o}_{k}" for k in range(outer)] if transposed or m == "x" else []
        moves = " + ".join(f"at_{k} * ({step}{by})" for k, step in enumerate(far))
        parts = [f"{o}_ptr"]
        if moves:
            parts.append(f"({moves})" if transposed else f"({moves})[:, None]")
        if transposed and m != "0":
            parts.append(f"(offs_m{'' if m == '1' else f' * (step_{o}_m{by})'})[:, None]")
        if n != "0":
            parts.append(f"(offs_n{'' if n == '1' else f' * (step_{o}_n{by})'})[None, :]")
        steps += [*far, *[f"step_{o}_m"] * (transposed and m == "x"), *[f"step_{o}_n"] * (n == "x")]
        mask = " & ".join(["mask_m"] * (m != "0") + ["mask_n"] * (n != "0"))
        load = f"tl.load({' + '.join(parts)}{', mask=' + mask if mask else ''})"
        if m != "0" and n == "0" and o[0] == "x":
            # As (BLOCK_M, 1), Triton 3.6 would load each element of a column once a column.
            load = f"{load.replace('[:, None]', '').replace('mask_m', 'offs_m < size_m')}[:, None]"
        loads[o] = load
    shape = "(BLOCK_M, BLOCK_N)"
    lines += [*constant(pattern, shape), *varying(pattern, loads, shape)]
    for y in outputs(pattern):
        store = loads[y].removeprefix("tl.load(").replace(", mask", f", {y}, mask")
        lines.append(f"tl.store({store}")
    sizes = ["size_n", "size_m", *(f"size_{k}" for k in range(outer))]
    wide = [f"    {a} = {a}.to(tl.int64)" for a in ("size_n", *steps)]
    lines = ["if WIDE:", *wide, *lines]
    return jit(
        [*heads(pattern), *sizes, *steps],
        ["F", "T", "VEC", "WIDE", "BLOCK_M", "BLOCK_N"], lines,
        f"<pointwise {pattern} {' '.join(access)} {outer}{' transposed' * transposed}>",
    )  # fmt: skip


def jit(arguments: list[str], constants: list[str], lines: list[str], filename: str) -> Any:
    """``triton.jit`` of source text; the line cache lets Triton (and tracebacks) read it back.

    Sizes and steps are not specialised: what their values mean for the code is in the pattern.
    """
    head = ", ".join([*arguments, *(f"{c}: tl.constexpr" for c in constants)])
    text = "\n".join([f"def pointwise_kernel({head}):", *indented(lines)]) + "\n"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"tl": tl, "to": maths.to, "__name__": __name__}
    exec(compile(text, filename, "exec"), scope)
    plain = [a for a in arguments if a == "n" or a.startswith(("size_", "step_"))]
    return triton.jit(do_not_specialize=plain)(scope["pointwise_kernel"])
