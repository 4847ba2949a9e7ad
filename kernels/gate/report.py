"""The gate's command: compile, judge, print a table by kernel, store every row."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from tgrad.kernels.gate.facts import Facts, all_facts
from tgrad.kernels.gate.rules import SHARED, failures
from tgrad.kernels.gate.variants import Variant, variants
from tgrad.kernels.samples import ALL, samples
from tgrad.kernels.samples.matrix import every_tile

ARCHES = tuple(SHARED)
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "kernels.json"
FACTS = [name for name in Facts._fields if name != "error"]
COLUMNS = ["family", "kernel", "op", "dtype", "sample", "config"]


class Row(NamedTuple):
    variant: Variant
    facts: Facts
    failures: list[str]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tgrad.kernels",
        description="Compile every kernel in every dtype and shipped configuration, without a GPU, "
        "and fail on spills, matrix products without tensor cores, narrow loads of rows, and tiles "
        "that do not fit.",
    )
    many: dict[str, Any] = {"action": "extend", "nargs": "+", "default": []}
    made.add_argument("--arch", type=architecture, metavar="sm_90", **many)
    made.add_argument("--family", metavar="softmax", help="only these families", **many)
    made.add_argument("--kernel", metavar="matmul_kernel", help="only these kernels", **many)
    made.add_argument("--dtype", choices=ALL, metavar="bfloat16", help="only these dtypes", **many)
    made.add_argument("--first", type=int, metavar="N", help="only N variants of each kernel")
    made.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    made.add_argument("--check", action="store_true", help="print failures alone")
    made.add_argument("--list", action="store_true", help="print every variant")
    made.add_argument(
        "--json", type=Path, help=f"where every row goes; a run of everything: {RESULTS.name}"
    )
    return made


def architecture(text: str) -> int:
    number = text.removeprefix("sm_")
    if not number.isdecimal() or int(number) not in SHARED:
        known = ", ".join(f"sm_{a}" for a in SHARED)
        raise argparse.ArgumentTypeError(f"expected one of {known}, got {text!r}")
    return int(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gate; the exit status: 1 where something fails, 2 where nothing was compiled."""
    chosen = parser().parse_args(arguments)
    work = [v for arch in chosen.arch or ARCHES for v in selected(chosen, arch)]
    if not work:
        print("no sample is of these families, kernels and dtypes", file=sys.stderr)
        return 2
    start = time.perf_counter()
    rows = judged(work, chosen.jobs)
    seconds = time.perf_counter() - start
    if chosen.list:
        print(table(each(rows)))
    elif not chosen.check:
        print(table(by_kernel(rows)))
    bad = [r for r in rows if r.failures]
    for r in bad:
        print(complaint(r))
    filters = {n: getattr(chosen, n) for n in ("arch", "family", "kernel", "dtype", "first")}
    filters = {n: value for n, value in filters.items() if value}
    place = chosen.json or (None if filters or chosen.check else RESULTS)
    if place:
        store(place, rows, filters)
    print(f"{len(rows)} kernels compiled in {seconds:.0f} s, {len(bad)} of them fail")
    return 1 if bad else 0


def selected(chosen: argparse.Namespace, arch: int) -> list[Variant]:
    """The variants that the command line asks for."""
    wanted = [s for s in samples() if not chosen.family or s.family in chosen.family]
    if not chosen.family or "matmul" in chosen.family:
        wanted += every_tile(arch)
    seen: Counter[str] = Counter()
    found = []
    for v in variants(wanted, arch, chosen.dtype):
        seen[v.name] += 1
        if chosen.kernel and v.name not in chosen.kernel:
            continue
        if not chosen.first or seen[v.name] <= chosen.first:
            found.append(v)
    return found


def judged(work: Sequence[Variant], jobs: int) -> list[Row]:
    """A row per variant, in their order."""
    rows: dict[int, Row] = {}
    with tqdm(total=len(work), unit="kernel", disable=None) as bar:
        for k, facts in all_facts(work, jobs):
            rows[k] = Row(work[k], facts, failures(work[k], facts))
            bar.update()
    return [rows[k] for k in range(len(work))]


# ---- tables --------------------------------------------------------------------------------------


def complaint(r: Row) -> str:
    """What fails, where, and how to compile just that."""
    v = r.variant
    return (
        f"sm_{v.arch} {v.name} in {v.about}, {v.dtype}: {'; '.join(r.failures)}\n"
        f"    {v.arguments}\n    {v.config}"
    )


def each(rows: Iterable[Row]) -> list[list[str]]:
    lines = [["arch", *COLUMNS, *FACTS]]
    for v, facts, _ in rows:
        values = facts._asdict()
        lines.append([f"sm_{v.arch}", *about(v), *(cell(values[n]) for n in FACTS)])
    return lines


def about(v: Variant) -> list[str]:
    return [v.family, v.name, v.op, v.dtype, v.about, v.config]


def by_kernel(rows: Iterable[Row]) -> list[list[str]]:
    """One line per kernel and architecture: the worst of its variants."""
    groups: dict[tuple[str, int], list[Facts]] = {}
    for r in rows:
        key = f"{r.variant.family}.{r.variant.name}", r.variant.arch
        groups.setdefault(key, []).append(r.facts)
    lines = [["kernel", "arch", "variants", "most registers", "most spilled", "most shared",
              "loads", "stores", "tensor cores", "TMA", "seconds"]]  # fmt: skip
    for (name, arch), facts in sorted(groups.items()):
        worst = (max(getattr(f, n) for f in facts) for n in ("registers", "spilled", "shared"))
        lines.append(
            [
                name, f"sm_{arch}", str(len(facts)), *map(str, worst),
                distinct(f.load for f in facts), distinct(f.store for f in facts),
                "/".join(sorted({f.tensor_core or "-" for f in facts})),
                cell(any(f.tma for f in facts)), f"{sum(f.seconds for f in facts):.1f}",
            ]
        )  # fmt: skip
    return lines


def distinct(widths: Iterable[int]) -> str:
    """Bytes at a time, from narrow to wide."""
    return "/".join(map(str, sorted(set(widths))))


def cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value) or "-"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Aligned columns, numbers to the right."""
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(n) if text[:1].isdigit() else text.ljust(n)
            for text, n in zip(line, sizes, strict=True)
        ).rstrip()
        for line in lines
    )


# ---- storing -------------------------------------------------------------------------------------


def store(place: Path, rows: Sequence[Row], filters: dict[str, Any]) -> None:
    """One line per kernel and its use: what it is, then the facts of each architecture.

    ``filters`` say what the rows were restricted to; empty for all that is shipped.
    """
    import triton

    arches = sorted({r.variant.arch for r in rows})
    lines: dict[tuple, dict[int, list[Any]]] = {}
    for v, facts, _ in rows:
        k = 0  # the same but for what is divisible by 16
        while v.arch in lines.get((*about(v), k), ()):
            k += 1
        lines.setdefault((*about(v), k), {})[v.arch] = [number(getattr(facts, n)) for n in FACTS]
    body = ",\n".join(
        json.dumps([*key[:-1], *(of.get(a) for a in arches)], separators=(",", ":"))
        for key, of in lines.items()
    )
    columns = [*COLUMNS, *(f"sm_{a}" for a in arches)]
    head = {
        "triton": triton.__version__, "restricted to": filters, "columns": columns, "facts": FACTS,
    }  # fmt: skip
    place.write_text(f'{json.dumps(head)[:-1]}, "rows": [\n{body}\n]}}\n')


def number(x: Any) -> Any:
    return int(x) if isinstance(x, bool) else round(x, 1) if isinstance(x, float) else x
