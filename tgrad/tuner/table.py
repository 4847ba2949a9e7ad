"""The user's table: one row per config tried, one per choice, in an SQLite file.

Processes may share it: every row is a transaction of its own, and SQLite makes writers wait for
each other. ``runtime/tuned.py`` reads the choices; what is damaged is renamed there.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tgrad.kernels.cuda.configs import Case
from tgrad.runtime import tuned
from tgrad.runtime.tuned import COLUMNS, VERSION, Choice, Damaged

KEY = "device, triton, kernel, kind, arch, sizes, layout"
SCHEMA = f"""
CREATE TABLE choices (
    device TEXT, triton TEXT, kernel TEXT, kind TEXT, arch INTEGER, sizes TEXT, layout TEXT,
    config TEXT, us REAL, rule_us REAL, call TEXT, chosen REAL, seal TEXT, PRIMARY KEY ({KEY})
);
CREATE TABLE trials (
    device TEXT, triton TEXT, kernel TEXT, kind TEXT, arch INTEGER, sizes TEXT, layout TEXT,
    config TEXT, state TEXT, rung INTEGER, us REAL, low REAL, high REAL, registers INTEGER,
    spilled INTEGER, shared INTEGER, note TEXT, tried REAL, PRIMARY KEY ({KEY}, config)
);
PRAGMA user_version = {VERSION};
"""
TRIAL = "config, state, rung, us, low, high, registers, spilled, shared, note, tried"
WHERE = " AND ".join(f"{name} = ?" for name in KEY.split(", "))


class Trial(NamedTuple):
    """One config tried. ``state``: "raced", or why not: "discarded" before, "wrong", "failed".

    "running" is written before it runs: whoever finds it later knows that it ended its process.
    """

    config: dict[str, Any] | None
    state: str
    rung: int = 0
    us: float | None = None
    low: float | None = None
    high: float | None = None
    registers: int | None = None
    spilled: int | None = None
    shared: int | None = None
    note: str = ""
    tried: float = 0.0


class Place(NamedTuple):
    """Where rows of a case stand: on which GPU, with which Triton."""

    device: str
    triton: str
    case: Case

    def key(self) -> tuple:
        c = self.case
        sizes = json.dumps(list(c.sizes))
        return self.device, self.triton, c.kernel, c.kind, c.arch, sizes, c.layout


def text_of(config: dict[str, Any] | None) -> str:
    return json.dumps(config)


class Table:
    """An open table, made where there is none."""

    def __init__(self, file: Path):
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.database = opened(file)
        except (Damaged, sqlite3.DatabaseError) as e:
            if isinstance(e, sqlite3.OperationalError):  # locked, or not to be written
                raise
            tuned.set_aside(file, str(e))
            self.database = opened(file)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- trials ----------------------------------------------------------------------------------

    def add(self, place: Place, trial: Trial) -> None:
        """Write a trial, in the place of an earlier one of the same config."""
        row = (*place.key(), text_of(trial.config), *trial[1:-1], trial.tried or time.time())
        marks = ", ".join("?" * len(row))
        self.database.execute(
            f"INSERT OR REPLACE INTO trials ({KEY}, {TRIAL}) VALUES ({marks})", row
        )

    def remove(self, place: Place, config: dict[str, Any] | None) -> None:
        """Remove the trial of one config."""
        self.database.execute(
            f"DELETE FROM trials WHERE {WHERE} AND config = ?", (*place.key(), text_of(config))
        )

    def trials(self, place: Place) -> list[Trial]:
        """Every config tried for a case, fastest first."""
        rows = self.database.execute(
            f"SELECT {TRIAL} FROM trials WHERE {WHERE} ORDER BY us IS NULL, rung DESC, us",
            place.key(),
        )
        return [Trial(json.loads(row[0]), *row[1:]) for row in rows]

    def cases(self, kernel: str = "") -> list[Place]:
        """The cases that have trials."""
        rows = self.database.execute(f"SELECT DISTINCT {KEY} FROM trials ORDER BY {KEY}")
        places = [Place(d, t, Case(k, kind, arch, tuple(json.loads(sizes)), layout))
                  for d, t, k, kind, arch, sizes, layout in rows]  # fmt: skip
        return [p for p in places if not kernel or p.case.kernel == kernel]

    def forget(self, place: Place) -> None:
        """Remove the trials and the choice of a case."""
        with self.transaction():
            for table in ("trials", "choices"):
                self.database.execute(f"DELETE FROM {table} WHERE {WHERE}", place.key())

    # ---- choices ---------------------------------------------------------------------------------

    def choose(self, choice: Choice) -> None:
        """Write a choice, in the place of an earlier one of the same case."""
        device, triton, case, config, *rest = choice
        kernel, kind, arch, sizes, layout = case
        row = (device, triton, kernel, kind, arch, json.dumps(list(sizes)), layout,
               text_of(config), *rest, choice.seal())  # fmt: skip
        marks = ", ".join("?" * len(row))
        self.database.execute(
            f"INSERT OR REPLACE INTO choices ({COLUMNS}, seal) VALUES ({marks})", row
        )

    def choice(self, place: Place) -> Choice | None:
        row = self.database.execute(
            f"SELECT {COLUMNS}, seal FROM choices WHERE {WHERE}", place.key()
        ).fetchone()
        return None if row is None else tuned.unsealed(row)

    def choices(self) -> list[Choice]:
        """Every choice, in the order of the key."""
        rows = self.database.execute(f"SELECT {COLUMNS}, seal FROM choices ORDER BY {KEY}")
        return [tuned.unsealed(row) for row in rows]

    def merge(self, choices: Sequence[Choice]) -> int:
        """Take over choices that are newer than what is here; how many were."""
        taken = 0
        with self.transaction():
            have = {c.key(): c.chosen for c in self.choices()}
            for c in choices:
                if c.chosen > have.get(c.key(), 0.0):
                    self.choose(c)
                    taken += 1
        return taken

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")


def opened(file: Path) -> sqlite3.Connection:
    """The database, with its tables. Raises: Damaged, sqlite3.Error."""
    database = tuned.connect(file, "rwc")
    try:
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise Damaged(verdict)
        if database.execute("PRAGMA user_version").fetchone() == (0,):
            database.execute("BEGIN IMMEDIATE")  # two processes may begin at once
            if database.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in filter(str.strip, SCHEMA.split(";")):
                    database.execute(statement)
            database.execute("COMMIT")
        for row in database.execute(f"SELECT {COLUMNS}, seal FROM choices"):
            tuned.unsealed(row)
    except BaseException:
        database.close()
        raise
    return database


def export(file: Path, choices: Sequence[Choice]) -> None:
    """Write choices as JSON, one a line, in an order that does not change by itself."""
    lines = []
    for c in sorted(choices, key=Choice.key):
        kernel, kind, arch, sizes, layout = c.case
        row = [c.device, c.triton, kernel, kind, arch, list(sizes), layout, c.config, c.us,
               c.rule_us, c.call, c.chosen, c.seal()]  # fmt: skip
        lines.append(json.dumps(row))
    columns = json.dumps([*COLUMNS.split(", "), "seal"])
    body = ",\n".join(lines)
    file.write_text(f'{{"columns": {columns}, "choices": [\n{body}\n]}}\n')


def choices_of(file: Path) -> list[Choice]:
    """The choices of an exported file or of a table. Raises: Damaged, OSError, sqlite3.Error."""
    with file.open("rb") as f:
        is_database = f.read(6) == b"SQLite"
    if not is_database:
        return tuned.read_json(file)
    with contextlib.closing(tuned.connect(file, "ro")) as database:
        rows = database.execute(f"SELECT {COLUMNS}, seal FROM choices").fetchall()
    return [tuned.unsealed(row) for row in rows]
