"""Which cases there are to tune: asked about by samples, by the user's list, or by a program.

Kernels are run on the recorder, or a program on whatever it runs on, while the tables are watched:
a case is what a kernel asked a table about, with the call during which it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tgrad.kernels.cuda import configs
from tgrad.kernels.cuda.configs import Case
from tgrad.kernels.gate.variants import watched_ops
from tgrad.kernels.samples import Sample, T
from tgrad.runtime.recorder import recording
from tgrad.tuner.calls import Call, described, parsed

LARGEST = 2 << 30  # bytes of a call's arrays: more are not made for a race


class Task(NamedTuple):
    """A bucket of cases, and the call that stands for it."""

    case: Case
    call: Call

    @property
    def about(self) -> str:
        sizes = "x".join(map(str, self.case.sizes))
        return " ".join(filter(None, (self.case.kernel, self.case.kind, self.case.layout, sizes)))


class Found:
    """What a watched program asked about: the first call of each bucket."""

    def __init__(self) -> None:
        self.tasks: dict[Case, Task] = {}
        self.current: tuple[Any, Sequence[Any], Sequence[Any]] | None = None

    def op(self, entry: Any, outputs: Sequence[Any], inputs: Sequence[Any]) -> None:
        self.current = entry, outputs, inputs

    def asked(self, case: Case) -> None:
        key = configs.bucket(case)
        if self.current is None or key in self.tasks:
            return
        entry, outputs, inputs = self.current
        if entry.kind == "update":  # what it writes is among what it gets
            outputs = ()
        with contextlib.suppress(TypeError):  # an argument that cannot be written down
            self.tasks[key] = Task(key, described(entry.name, outputs, inputs))


@contextlib.contextmanager
def collecting() -> Iterator[Found]:
    """Inside, what kernels ask the tables about is written down, with the calls."""
    found = Found()
    with watched_ops(found.op), configs.watching(found.asked):
        yield found


# ---- from samples and lists ----------------------------------------------------------------------


def of_samples(samples: Sequence[Sample], arch: int, dtypes: Collection[str] = ()) -> list[Task]:
    """The tasks of calls that are described, not made; in some ``dtypes`` alone where given."""
    with recording(arch), collecting() as found:
        for sample in samples:
            for dtype in sample.dtypes:
                if not dtypes or dtype in dtypes:
                    sample.call(dtype)
    return [t for t in found.tasks.values() if t.call.nbytes <= LARGEST]


def of_calls(calls: Sequence[Call], arch: int) -> list[Task]:
    """The tasks of calls that were written down."""
    with recording(arch), collecting() as found:
        for call in calls:
            if call.kernel("cuda") is not None and call.nbytes <= LARGEST:
                with call.settings():
                    call.kernel("cuda")(*call.mapped(lambda a: a.device()))
    return list(found.tasks.values())


def of_file(path: Path, arch: int, dtypes: Collection[str] = ()) -> list[Task]:
    """The tasks of a file with a call a line: as ``--from-run`` writes them, or for people,

    {"call": "nn.functional.linear", "args": [{"shape": [64, 32]}, {"shape": [16, 32]}],
     "dtype": ["bfloat16"], "backward": true}

    Raises: ValueError for a line that is neither.
    """
    samples, calls = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise ValueError("expected an object")
            if "call" in fields:
                samples.append(sample_of(fields))
            else:
                calls.append(parsed(line))
        except ValueError as e:
            raise ValueError(f"{path}, line {number}: {e}") from None
    return merged([*of_samples(samples, arch, dtypes), *of_calls(calls, arch)])


def sample_of(fields: dict[str, Any]) -> Sample:
    """The sample that a line for people describes. Raises: ValueError."""
    known = {"call", "args", "kwargs", "dtype", "backward", "precision"}
    unknown = fields.keys() - known
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}, expected {sorted(known)}")

    def argument(a: Any) -> Any:
        if isinstance(a, dict):
            return T(tuple(a["shape"]), a.get("dtype"), a.get("layout", "contiguous"))
        if isinstance(a, list):
            made = list(map(argument, a))
            return made if any(isinstance(x, T) for x in made) else tuple(made)
        return tuple(map(argument, a)) if isinstance(a, tuple) else a

    dtype = fields.get("dtype", "float32")
    sample = Sample(
        "shapes", fields["call"], tuple(map(argument, fields.get("args", []))),
        {k: argument(v) for k, v in fields.get("kwargs", {}).items()},
        [dtype] if isinstance(dtype, str) else dtype, fields.get("backward", False),
        precision=fields.get("precision", "highest"),
    )  # fmt: skip
    try:
        sample.function()
    except AttributeError:
        raise ValueError(f"tgrad has no function {sample.name!r}") from None
    return sample


def merged(tasks: Sequence[Task]) -> list[Task]:
    """The first task of each bucket."""
    first: dict[Case, Task] = {}
    for t in tasks:
        first.setdefault(t.case, t)
    return list(first.values())


def chosen(tasks: Sequence[Task], kernels: Collection[str]) -> list[Task]:
    """The tasks of these kernels, all without any named."""
    return [t for t in tasks if not kernels or t.case.kernel in kernels]


# ---- from a program ------------------------------------------------------------------------------


def of_function(run: Callable[[], Any]) -> list[Task]:
    """The tasks of a function that is run here, on the GPU or the emulator."""
    with collecting() as found:
        run()
    return list(found.tasks.values())


def of_script(command: Sequence[str], arch: int) -> list[Task]:
    """The tasks of a program, which runs in a process of its own: on the GPU, on the emulator, or
    where there is neither on a GPU of sm_``arch`` that computes nothing.

    Raises: ValueError where it ends with an error, or launches no kernel that has choices.
    """
    with tempfile.TemporaryDirectory(prefix="tgrad-") as folder:
        place = Path(folder) / "calls"
        made = subprocess.run(
            [sys.executable, "-m", "tgrad.tuner.record", str(place), str(arch), *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        )
        lines = place.read_text().splitlines() if place.exists() else []
    if made.returncode:
        raise ValueError(f"{command[0]} ended with code {made.returncode}")
    tasks = of_calls([parsed(line) for line in lines], arch)
    if not tasks:
        raise ValueError(f"{command[0]} launched no kernel that has choices")
    return tasks
