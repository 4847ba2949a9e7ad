"""Throughput of tgrad's kernels beside other libraries', checked, against measured ceilings.

    python benchmarks/compare.py [KERNEL ...] [--against torch,numpy] [--backward] [--json FILE]

Each library runs in a process of its own on the same inputs. Before a time counts, the result is
held against float64. KERNEL is a family ("softmax") or a part of a case's name.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comparison import cases, page, rows, text, worker
from comparison.case import Job, ceilings, jobs
from comparison.libraries import LIBRARIES

RESULTS = Path(__file__).parent / "results"
INSTALLED = {"torch.compile": "torch"}  # by another name


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("kernels", nargs="*", metavar="KERNEL", help="families or parts of names")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--against", default=None, metavar="torch,numpy",
                      help=f"of {', '.join(n for n in LIBRARIES if n != 'tgrad')}; "
                      "those that are installed, without torch.compile, unless given")  # fmt: skip
    made.add_argument("--dtype", default="", metavar="float32,bfloat16")
    made.add_argument("--shapes", default="", metavar="WORD,WORD", help="parts of sizes' names")
    made.add_argument("--backward", action="store_true", help="gradients too")
    made.add_argument("--small", action="store_true", help="tiny sizes, for the emulator too")
    made.add_argument("--seconds", type=float, default=0.3, help="for each measurement")
    made.add_argument("--limit", type=float, default=1800, help="seconds for each library")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--json", type=Path, metavar="FILE", help="where the rows go")
    made.add_argument("--plot", type=Path, metavar="FOLDER", help="a PNG for each kernel family")
    made.add_argument("--html", type=Path, metavar="FILE", help="one page with everything")
    made.add_argument("--baseline", type=Path, metavar="FILE", help="an earlier --json file")
    made.add_argument("--band", type=float, default=0.1,
                      help="of noise beyond both spreads, for --baseline")  # fmt: skip
    made.add_argument("--show", type=Path, metavar="FILE",
                      help="print an earlier --json file as Markdown, and end")  # fmt: skip
    made.add_argument("--list", action="store_true", help="name the cases and end")
    made.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a result is wrong or slower than the baseline, 2 for bad words."""
    args = parser().parse_args(arguments)
    try:
        chosen = cases.named(args.kernels)
        libraries = peers_of(args)
        before = json.loads(args.baseline.read_text())["rows"] if args.baseline else None
        earlier = json.loads(args.show.read_text())["rows"] if args.show else None
    except (ValueError, OSError, KeyError) as e:
        print(f"compare.py: {e}", file=sys.stderr)
        return 2
    if earlier is not None:
        names = list(earlier[0]["libraries"])
        print(f"{text.digest(earlier, names)}\n\n{text.summary(earlier, names)}")
        return 0
    if args.list:
        for c in chosen:
            sizes = ", ".join(c.sizes.get("small" if args.small else args.device, {}))
            print(f"{c.family:12} {c.name:24} {sizes}")
        return 0
    scale = "small" if args.small else args.device
    work = jobs(chosen, scale, split(args.dtype), args.backward, split(args.shapes))
    work += ceilings(cases.CASES, work, scale)
    if not work:
        print("compare.py: nothing has such a size and dtype", file=sys.stderr)
        return 2
    if args.worker:
        name, out = args.worker
        found = (
            worker.references(work, args.device, args.limit) if name == "reference"
            else worker.run(name, args.device, work, args.seconds, args.threads, args.limit)
        )  # fmt: skip
        Path(out).write_text(json.dumps(found))
        return 0
    return compared(args, work, libraries, before)


def split(words: str) -> list[str]:
    return [w for w in words.split(",") if w]


def peers_of(args: argparse.Namespace) -> list[str]:
    """tgrad, and the libraries asked for. Raises ValueError for one that is unknown or missing."""
    if args.against is None:
        usual = ("torch", "jax", "numpy" if args.device == "cpu" else "cupy")
        return ["tgrad", *(n for n in usual if importlib.util.find_spec(n))]
    found = split(args.against)
    for name in found:
        if name not in LIBRARIES:
            raise ValueError(f"--against: expected some of {', '.join(LIBRARIES)}, got {name!r}")
        if importlib.util.find_spec(INSTALLED.get(name, name)) is None:
            raise ValueError(f"--against: {name} is not installed")
    return ["tgrad", *(n for n in found if n != "tgrad")]


def compared(
    args: argparse.Namespace, work: Sequence[Job], libraries: Sequence[str], before: Any
) -> int:
    answers = {}
    references = in_process("reference", args)
    for name in libraries:
        print(f"{name}: {len(work)} measurements ...", file=sys.stderr, flush=True)
        answers[name] = in_process(name, args)
    found = rows.rows_of(work, answers, references)
    about = {
        "device": next((a["hardware"] for a in answers.values() if a["hardware"]), args.device),
        "date": datetime.date.today().isoformat(), "commit": commit(),
        "threads": args.threads, "machine": platform.machine(),
        "python": platform.python_version(), "numpy": np.__version__,
        **{n: f"{a['version']}: {a['setting']}" for n, a in answers.items()},
        "ceilings": said(rows.measured_ceilings(found)),
    }  # fmt: skip
    closing = text.summary(found, libraries)
    print(text.table(found, libraries))
    print(f"\nceilings of this run: {about['ceilings']}\n{closing}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(stored(about, found))
    if args.plot:
        page.save_pictures(found, args.plot)
    if args.html:
        args.html.write_text(page.page(found, libraries, about, closing))
    status = report_baseline(found, before, args.band) if before is not None else 0
    wrong = [r for row in found for n, r in row["libraries"].items()
             if n == "tgrad" and ("error" in r or r.get("error_units", 0) > 1)]  # fmt: skip
    return 1 if wrong else status


def in_process(name: str, args: argparse.Namespace) -> Any:
    """A worker's answer."""
    # A peer that has no emulator computes on the CPU, so that its lines are run at all.
    emulated = args.device == "cuda" and os.environ.get("TRITON_INTERPRET") == "1"
    device = "cpu" if emulated and name != "tgrad" else args.device
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        command = [sys.executable, __file__, *args.kernels, "--worker", name, str(out),
                   "--device", device, "--dtype", args.dtype, "--shapes", args.shapes,
                   "--seconds", str(args.seconds), "--threads", str(args.threads),
                   "--limit", str(args.limit)]  # fmt: skip
        command += ["--backward"] * args.backward + ["--small"] * args.small
        threads = {k: str(args.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
        if not out.exists():
            raise RuntimeError(f"{name}: {run.stderr[-3000:]}")
        return json.loads(out.read_text())


def commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(asked, cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip()


def said(ceilings: dict[str, Any]) -> str:
    parts = [f"copy {ceilings['bytes'] / 1e3:.1f} GB/s"] if ceilings["bytes"] else []
    parts += [f"{dtype} product {v / 1e3:.0f} GFLOP/s" for dtype, v in ceilings["flops"].items()]
    return ", ".join(parts) or "none: neither copy nor matmul was among the cases"


def stored(about: dict[str, Any], found: Sequence[dict[str, Any]]) -> str:
    """JSON with a line a row, so that versions can be compared line by line."""
    lines = ",\n".join(json.dumps(shortened(row), separators=(",", ":")) for row in found)
    return f'{{"about": {json.dumps(about)}, "rows": [\n{lines}\n]}}\n'


def shortened(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: shortened(v) for k, v in x.items() if k != "traceback"}
    return float(f"{x:.4g}") if isinstance(x, float) else x


def report_baseline(found: Sequence[dict[str, Any]], before: Any, band: float) -> int:
    slower, faster = rows.against_baseline(found, before, band)
    for title, lines in (("slower", slower), ("faster", faster)):
        if lines:
            print(f"\n{title} than the baseline:")
            print("\n".join(f"    {line}" for line in lines))
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
