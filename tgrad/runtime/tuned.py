"""The files in which tuned choices are kept: where they are, and how they are read.

The user's file is an SQLite database, which ``tgrad tune`` writes (``tgrad/tuner/table.py``), safe
under several processes. A file that is damaged is renamed, with a warning, and never used. What is
shipped is a JSON file beside the kernels, as ``tgrad tune --export`` writes it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad.runtime import cuda
from tgrad.runtime.current import here

if TYPE_CHECKING:
    import sqlite3

VERSION = 1  # of the schema
WAIT = 30.0  # seconds for another process to finish its write
SHIPPED = Path(__file__).resolve().parents[1] / "kernels" / "cuda" / "tuned.json"
NO_TABLE = ("", "0")


class Choice(NamedTuple):
    """The config that a tuner chose for a bucket: None where the kernel's own rule won.

    ``case`` holds kernel, kind, arch, sizes, layout. ``rule_us`` is what the rule's config took in
    the same race, ``call`` the call that was timed.
    """

    device: str
    triton: str
    case: tuple[str, str, int, tuple[int, ...], str]
    config: dict[str, Any] | None
    us: float
    rule_us: float
    call: str
    chosen: float  # seconds since 1970

    def key(self) -> tuple[str, ...]:
        kernel, kind, arch, sizes, layout = self.case
        return self.device, self.triton, kernel, kind, str(arch), json.dumps(sizes), layout

    def seal(self) -> str:
        """A checksum of the row, so that a damaged or edited one is found out."""
        text = json.dumps([*self.key(), self.config, self.us, self.rule_us, self.call, self.chosen])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Damaged(Exception):
    """A file of choices that is not one."""


def path() -> Path | None:
    """``TGRAD_TUNED``, or ``tgrad/tuned.sqlite`` in the user's data directory; None for "0"."""
    chosen = os.environ.get("TGRAD_TUNED")
    if chosen is not None:
        return None if chosen in NO_TABLE else Path(chosen)
    data = os.environ.get("XDG_DATA_HOME")
    base = Path(data) if data and os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "tgrad" / "tuned.sqlite"


def gpu() -> tuple[str, int]:
    """(name, arch) of the current GPU; the recorder's name is "", which no table has."""
    return gpu_of(cuda._active if cuda._active is not None else cuda.start(), here.place.index)


@functools.lru_cache(8)  # recorders come and go
def gpu_of(runtime: Any, index: int) -> tuple[str, int]:
    if cuda.is_emulated():
        return ("emulated", 0) if runtime.is_emulated else ("", 0)
    if hasattr(runtime, "launches"):
        return "", runtime.arch
    return runtime.device_name(index), runtime.unit(index).arch


@functools.cache
def triton_version() -> str:
    import importlib.metadata

    return importlib.metadata.version("triton")


def choices(device: str) -> tuple[list[Choice], list[Choice]]:
    """The user's and the shipped choices for a GPU, made with the Triton that is installed.

    Another Triton compiles other code: what won there may spill here.
    """
    if not device:
        return [], []
    version = triton_version()
    file = path()
    mine = read(file) if file is not None and file.exists() else []
    shipped = read_shipped() if SHIPPED.exists() else []
    found = [[c for c in rows if (c.device, c.triton) == (device, version)] for rows in
             (mine, shipped)]  # fmt: skip
    return found[0], found[1]


def read_shipped() -> list[Choice]:
    try:
        return read_json(SHIPPED)
    except (OSError, Damaged) as e:
        warnings.warn(f"shipped choices are not used: {e}", RuntimeWarning, stacklevel=2)
        return []


# ---- the user's file -----------------------------------------------------------------------------

COLUMNS = "device, triton, kernel, kind, arch, sizes, layout, config, us, rule_us, call, chosen"


def read(file: Path) -> list[Choice]:
    """Every choice of a database. One that is damaged is renamed, with a warning: no choices."""
    import sqlite3

    try:
        with contextlib.closing(connect(file, "ro")) as database:
            rows = database.execute(f"SELECT {COLUMNS}, seal FROM choices").fetchall()
        return [unsealed(row) for row in rows]
    except sqlite3.OperationalError as e:  # locked for long, or not to be read: not damaged
        warnings.warn(f"tuned choices in {file} are not used: {e}", RuntimeWarning, stacklevel=2)
    except (sqlite3.DatabaseError, Damaged) as e:
        set_aside(file, str(e))
    return []


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Open a database of this version. Raises: Damaged, sqlite3.Error."""
    import sqlite3

    uri = f"{file.resolve().as_uri()}?mode={mode}"
    database = sqlite3.connect(uri, timeout=WAIT, uri=True, isolation_level=None)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (VERSION, *([0] if mode == "rwc" else [])):
            raise Damaged(f"it is no table of version {VERSION}, but of {version}")
    except BaseException:
        database.close()
        raise
    return database


def unsealed(row: tuple) -> Choice:
    """The choice of a row. Raises: Damaged."""
    try:
        device, triton, kernel, kind, arch, sizes, layout, config, us, rule, call, chosen, seal = (
            row
        )
        case = (kernel, kind, int(arch), tuple(map(int, json.loads(sizes))), layout)
        made = Choice(device, triton, case, json.loads(config), us, rule, call, chosen)
    except (TypeError, ValueError) as e:
        raise Damaged(f"a row is not one of its own ({e})") from None
    if made.seal() != seal:
        raise Damaged(f"the row of {kernel} {sizes} does not match its checksum")
    return made


def set_aside(file: Path, reason: str) -> Path:
    """Rename a damaged file, with a warning; where it is then."""
    reason = " ".join(reason.split())
    place = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        os.replace(file, place)
    warnings.warn(
        f"the table of tuned choices {file} is damaged ({reason}); it is now {place.name} and is "
        "not used",
        RuntimeWarning,
        stacklevel=3,
    )
    return place


# ---- exported files ------------------------------------------------------------------------------


def read_json(file: Path) -> list[Choice]:
    """The choices of an exported file. Raises: Damaged."""
    try:
        rows = json.loads(file.read_text())["choices"]
        return [unsealed((*row[:5], json.dumps(row[5]), row[6], json.dumps(row[7]), *row[8:]))
                for row in rows]  # fmt: skip
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, IndexError) as e:
        raise Damaged(f"{file} is no exported table: {e}") from None
