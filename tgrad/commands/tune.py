"""Race kernels' configs on this GPU and keep the winners, or show what is kept.

Results go to the user's table, which every later run reads. Interrupted, it keeps what is done, and
goes on from there when it is run again.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from tgrad.commands import Failure
from tgrad.runtime import cuda, tuned

NAME = "tune"
DRY_SECONDS = 60.0  # in which a dry run compiles, unless the user gives a budget


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to tune, how long, and the table's own commands."""
    add: Any = parser.add_argument
    add("kernels", nargs="*", metavar="KERNEL", help="tune these alone; default: all that have "
        "choices")  # fmt: skip
    add("--shapes", type=Path, metavar="FILE", help="a call a line, as JSON")
    add("--from-run", metavar="SCRIPT", help="the calls that a program makes; quote it with its "
        "arguments")  # fmt: skip
    add("--dtype", nargs="+", action="extend", default=[], metavar="bfloat16")
    add("--budget", type=duration, metavar="60s", help="for all of it; s, m or h (default: 30 s "
        "for each case)")  # fmt: skip
    add("--jobs", type=positive, metavar="N", help="processes that compile (default: one per core)")
    add("--most", type=positive, metavar="N", help="configs that compete for a case (default: 64, "
        "on the emulator 8)")  # fmt: skip
    add("--again", action="store_true", help="tune cases that the table has, too")
    add("--arch", type=architecture, metavar="sm_90", help="of --dry-run without a GPU")
    add("--dry-run", action="store_true", help="compile and rank the candidates, run none")
    add("--list", action="store_true", help="print the choices of the table")
    add("--show", metavar="KERNEL", help="print every config tried for a kernel")
    add("--export", type=Path, metavar="FILE", help="write the choices as JSON")
    add("--import", type=Path, metavar="FILE", dest="import_", help="take over newer choices")
    add(
        "--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two exported files or tables"
    )


def duration(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected a time such as 60s, 10m or 2h, got {text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return int(text)


def architecture(text: str) -> int:
    number = text.removeprefix("sm_")
    if number not in ("80", "90", "100"):
        raise argparse.ArgumentTypeError(f"expected one of sm_80, sm_90, sm_100, got {text!r}")
    return int(number)


def run(options: argparse.Namespace) -> None:
    if not cuda.is_installed("triton"):
        raise Failure("kernels are written in Triton, which is not installed")
    try:
        if options.compare:
            compare(*options.compare)
        elif options.list or options.show or options.export or options.import_:
            tables(options)
        elif options.dry_run:
            dry_run(options)
        else:
            race(options)
    except (ValueError, RuntimeError, OSError, sqlite3.Error, tuned.Damaged) as e:
        raise Failure(str(e)) from None


# ---- the table -----------------------------------------------------------------------------------


def table_file() -> Path:
    file = tuned.path()
    if file is None:
        raise Failure("TGRAD_TUNED=0 says that there is no table")
    return file


def tables(options: argparse.Namespace) -> None:
    """Print, export or import."""
    from tgrad.tuner import show
    from tgrad.tuner.table import Table, choices_of, export

    file = table_file()
    if not file.exists() and not options.import_:
        raise Failure(f"there is no table yet ({file}); tgrad tune makes it")
    with Table(file) as table:
        if options.import_:
            count = table.merge(choices_of(options.import_))
            print(f"{count} choices taken over into {file}")
        elif options.export:
            rows = table.choices()
            export(options.export, rows)
            print(f"{len(rows)} choices written to {options.export}")
        elif options.list:
            print(show.choices(table.choices()))
        else:
            places = table.cases(options.show)
            if not places:
                raise Failure(f"nothing was tried for {options.show!r}")
            print("\n\n".join(show.trials(p, table.trials(p)) for p in places))


def compare(old: Path, new: Path) -> None:
    from tgrad.tuner import show
    from tgrad.tuner.table import choices_of

    print(show.comparison(choices_of(old), choices_of(new)))


# ---- tuning --------------------------------------------------------------------------------------


def tasks_of(options: argparse.Namespace, arch: int) -> list:
    """The cases that the command line asks for."""
    from tgrad.tuner import discover, session

    if options.from_run is None:
        return session.found_tasks(options.kernels, None, options.shapes, options.dtype, arch)
    if options.shapes:
        raise Failure("give --shapes or --from-run, not both")
    session.check_names(options.kernels, options.dtype)
    tasks = discover.of_script(shlex.split(options.from_run), arch)
    tasks = discover.chosen(tasks, options.kernels)
    if options.dtype:
        tasks = [t for t in tasks if t.call.arrays[0].dtype in options.dtype]
    if not tasks:
        raise Failure(f"{options.from_run} launched none of these kernels in these dtypes")
    return tasks


def race(options: argparse.Namespace) -> None:
    """Tune on the GPU that is here, or on the emulator."""
    from tgrad.tuner import session, show
    from tgrad.tuner.arms import current_arch
    from tgrad.tuner.table import Table

    if options.arch:
        raise Failure("--arch is for --dry-run: a race runs on the GPU that is here")
    try:
        cuda.active()
    except RuntimeError as e:
        raise Failure(f"{e} --dry-run --arch sm_90 ranks candidates without a GPU.") from None
    arch = current_arch()
    if cuda.is_emulated():
        print("emulated: the race is real, its times say nothing about a GPU", file=sys.stderr)
    tasks = tasks_of(options, arch)
    seconds = options.budget if options.budget is not None else session.SECONDS * len(tasks)
    done: list[session.Outcome] = []
    file = table_file()
    try:
        with Table(file) as table:
            made = session.Session(table, arch, options.jobs, options.most, options.again)
            for outcome in made.go(tasks, seconds, progress=True):
                done.append(outcome)
    finally:
        if done:
            print(show.outcomes(done))
        print(f"{len(done)} of {len(tasks)} cases done, in {file}", file=sys.stderr)


def dry_run(options: argparse.Namespace) -> None:
    """Compile the candidates and rank them by what is known before running."""
    from tgrad.tuner import arms, show
    from tgrad.tuner.peaks import peak_for
    from tgrad.tuner.session import MOST

    if cuda.is_emulated():
        raise Failure("interpreted kernels are not compiled: run it with TRITON_INTERPRET=0")
    arch = options.arch or (arms.current_arch() if cuda.is_available() else 90)
    tasks = tasks_of(options, arch)
    end = time.monotonic() + (options.budget or DRY_SECONDS)
    with arms.compilers(options.jobs) as workers:
        for k, task in enumerate(tasks):
            line = arms.lineup(task, arch, options.most or MOST)
            share = max(end - time.monotonic(), 0) / (len(tasks) - k)
            compiled = arms.compile_arms(line.arms, arch, workers, share)
            print(show.candidates(line, compiled, peak_for(arch)), end="\n\n", flush=True)
