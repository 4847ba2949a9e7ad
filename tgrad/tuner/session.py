"""Going through the cases: discard, compile, race, check, store, and go on where it was stopped."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import tgrad
from tgrad.kernels.cuda import configs
from tgrad.kernels.cuda.configs import SPACES, choosing
from tgrad.kernels.samples import ALL
from tgrad.runtime import cuda, tuned
from tgrad.runtime.warmup import Worker
from tgrad.tuner import arms as competitors
from tgrad.tuner import check, discover, shapes
from tgrad.tuner.arms import Arm, Lineup
from tgrad.tuner.discover import Task
from tgrad.tuner.peaks import peak_for, peak_of
from tgrad.tuner.race import halving
from tgrad.tuner.table import Place, Table, Trial
from tgrad.tuner.timing import Timer, percentiles

SECONDS = 30.0  # of a case, unless the user gives a budget
MOST = 64  # configs that compete for a case
MOST_EMULATED = 8
COMPILING = 0.6  # of a case's time, at most
RACE = 10.0  # seconds of a race, however large the budget: what is left then differs by noise
RACE_EMULATED = 1.0
ENDED = "the process ended while it ran"
BETTER = 0.99  # of the rule's time: a choice that gains less than noise is none
SETS = 8  # of inputs that a race rotates through
SETS_OF_LISTS = 3  # where arrays come in lists, of which the kernels keep tables


class Outcome(NamedTuple):
    """What became of a case. ``state``: "tuned", "kept" (it was in the table), or why not."""

    task: Task
    state: str
    choice: tuned.Choice | None = None
    raced: int = 0
    discarded: tuple[tuple[str, int], ...] = ()  # reasons and how many configs each


def tune(
    kernels: Sequence[str], run: Callable[[], Any] | None, shape_file: str | Path | None,
    dtypes: Sequence[str], budget: float | None, jobs: int | None, most: int | None, again: bool,
    progress: bool,
) -> list[Outcome]:  # fmt: skip
    """:func:`tgrad.tune`."""
    if tgrad.are_deterministic_algorithms_enabled():
        raise RuntimeError(
            "tune: deterministic algorithms are required (tgrad.use_deterministic_algorithms), "
            "which freezes kernels' configs: another config may round otherwise"
        )
    cuda.active()  # raises where there is no GPU
    arch = competitors.current_arch()
    tasks = found_tasks(kernels, run, shape_file, dtypes, arch)
    file = tuned.path()
    if file is None:
        raise RuntimeError("tune: TGRAD_TUNED=0 says that there is no table")
    with Table(file) as table:
        session = Session(table, arch, jobs, most, again)
        seconds = budget if budget is not None else SECONDS * len(tasks)
        outcomes = list(session.go(tasks, seconds, progress))
    return outcomes


def found_tasks(
    kernels: Sequence[str], run: Callable[[], Any] | None, shape_file: str | Path | None,
    dtypes: Sequence[str], arch: int,
) -> list[Task]:  # fmt: skip
    """The tasks that are asked for. Raises: ValueError where there are none."""
    check_names(kernels, dtypes)
    if run is not None:
        tasks = discover.of_calls([t.call for t in discover.of_function(run)], arch)
    elif shape_file is not None:
        tasks = discover.of_file(Path(shape_file), arch, dtypes)
    elif arch:
        tasks = discover.of_samples(shapes.model_shapes(), arch, dtypes or shapes.DTYPES)
    else:
        tasks = discover.of_samples(shapes.tiny_shapes(kernels, dtypes), arch)
    tasks = discover.chosen(tasks, kernels)
    if not tasks:
        raise ValueError("tune: no call of these shapes and dtypes has a kernel with choices")
    return tasks


def check_names(kernels: Sequence[str], dtypes: Sequence[str]) -> None:
    """Raise ValueError for a kernel or dtype that there is not."""
    every_kernel()
    for name in kernels:
        if name not in SPACES:
            raise ValueError(
                f"tune: expected a kernel of {', '.join(sorted(SPACES))}, got {name!r}"
            )
    for name in dtypes:
        if name not in ALL:
            raise ValueError(f"tune: expected a dtype of {', '.join(ALL)}, got {name!r}")


def every_kernel() -> None:
    """Have every kernel's module declare its space."""
    with discover.collecting():
        pass


class Session:
    """One run of the tuner, on the current GPU or the emulator."""

    def __init__(
        self, table: Table, arch: int, jobs: int | None, most: int | None, again: bool
    ) -> None:
        self.table, self.arch, self.jobs, self.again = table, arch, jobs, again
        self.workers: Sequence[Worker] = ()
        self.emulated = cuda.is_emulated()
        self.most = most or (MOST_EMULATED if self.emulated else MOST)
        self.device = tuned.gpu()[0]
        self.peak = peak_of(self.device) or peak_for(arch or 90)
        self.bar: Any = None

    def place(self, task: Task) -> Place:
        return Place(self.device, tuned.triton_version(), task.case)

    def go(self, tasks: Sequence[Task], seconds: float, progress: bool) -> Iterator[Outcome]:
        """Tune one after the other, each with its share of what is left of the time."""
        end = time.monotonic() + seconds
        with (
            bar_of(seconds, progress) as self.bar,
            competitors.compilers(self.jobs) as self.workers,
        ):
            for k, task in enumerate(tasks):
                self.show(f"{k + 1}/{len(tasks)} {task.about}")
                left = max(end - time.monotonic(), 0.0)
                try:
                    yield self.one(task, left / (len(tasks) - k))
                except tgrad.OutOfMemoryError:
                    yield Outcome(task, "does not fit into the GPU's memory")
                self.tick()

    def one(self, task: Task, seconds: float) -> Outcome:
        place = self.place(task)
        if self.again:
            self.table.forget(place)
        have = self.table.choice(place)
        if have is not None:
            return Outcome(task, "kept", have)
        begin = time.monotonic()
        line = competitors.lineup(task, self.arch, self.most)
        ready, discarded = self.fit(line, place, COMPILING * seconds)
        left = max(seconds - (time.monotonic() - begin), 0.1)
        left = min(left, RACE_EMULATED if self.emulated else RACE)
        ranking = self.race(line, ready, place, left)
        choice = self.settle(line, ranking, place, left / 10)
        if choice is None:
            return Outcome(task, "no config gave right results", None, len(ready), discarded)
        self.table.choose(choice)
        configs.reread()
        return Outcome(task, "tuned", choice, len(ready), discarded)

    # ---- before running --------------------------------------------------------------------------

    def fit(
        self, line: Lineup, place: Place, seconds: float
    ) -> tuple[list[Arm], tuple[tuple[str, int], ...]]:
        """The arms whose code may run, and why others may not; earlier trials are taken over."""
        earlier = {str(t.config): t for t in self.table.trials(place)}
        reasons: Counter[str] = Counter()
        ready: list[Arm] = []
        for arm in line.arms:
            trial = earlier.get(str(fields_of(arm)))
            unfinished = arm.is_rule and trial is not None and trial.state == "running"
            if trial is not None and trial.state != "raced" and not unfinished:
                reasons[trial.note] += 1
                continue
            if trial is not None and trial.us is not None:
                arm.us, arm.rung = trial.us, trial.rung
            ready.append(arm)
        if not self.arch:  # interpreted code has no registers
            return ready, tuple(reasons.items())
        compiled = competitors.compile_arms(ready, self.arch, self.workers, seconds, self.tick)
        left = []
        for arm in compiled:
            why = arm.refused(self.arch)
            if why and not arm.is_rule:
                reasons[why] += 1
                self.write(place, arm, "discarded", why)
            else:
                left.append(arm)
        return left, tuple(reasons.items())

    # ---- running ---------------------------------------------------------------------------------

    def race(self, line: Lineup, ready: list[Arm], place: Place, seconds: float) -> list[Arm]:
        """The arms from best to worst."""
        inputs = Inputs(line, self.peak.l2, self.emulated)
        self.inputs = inputs

        def measure(arm: Arm, each: float) -> None:
            with self.running(place, arm):
                self.timed(line, arm, each)
            state = "raced" if math.isfinite(arm.us) else "failed"
            if state == "failed" and not arm.is_rule:
                self.write(place, arm, state, arm.note)
            else:
                self.write(place, arm, state)
            self.tick()

        return [arm for arm in halving(ready, measure, seconds) if math.isfinite(arm.us)]

    @contextlib.contextmanager
    def running(self, place: Place, arm: Arm) -> Iterator[None]:
        """Inside, the table has the arm as one that ended its process, should this one end.

        A fault that the GPU does not recover from makes every later call of the process fail: the
        arm is written down as failed, and the next run goes on without it.
        """
        fields = fields_of(arm)
        before = next((t for t in self.table.trials(place) if t.config == fields), None)
        self.table.add(place, Trial(fields, "running", arm.rung, note=ENDED))
        to_blame = False
        try:
            yield
        except tgrad.OutOfMemoryError:
            raise
        except RuntimeError as e:
            to_blame = True
            self.table.add(place, Trial(fields, "failed", arm.rung, note=arm.note or f"{e}"[:300]))
            raise
        finally:
            if before is not None and not to_blame:
                self.table.add(place, before)
            elif not to_blame:
                self.table.remove(place, fields)

    def timed(self, line: Lineup, arm: Arm, seconds: float) -> None:
        """Add rounds to an arm; its time is then the median of all. A failure is infinite."""
        call = line.task.call
        try:
            with call.settings(), choosing(line.task.case, arm.config):
                timer = Timer(tgrad, call.kernel("cuda"), self.inputs.sets, "cuda")
                arm.rounds += timer.rounds(seconds)
            arm.us = percentiles(arm.rounds)[0]
        except RuntimeError as e:  # of the driver or the compiler
            arm.us, arm.note = math.inf, f"{type(e).__name__}: {e}"[:300]
            cuda.active().synchronize()  # raises where the GPU answers no more

    def settle(
        self, line: Lineup, ranking: list[Arm], place: Place, seconds: float
    ) -> tuned.Choice | None:
        """The choice: the fastest whose results are right, if it beats the rule side by side."""
        want = self.inputs.wanted()
        rule = next((arm for arm in ranking if arm.is_rule), None)
        for arm in ranking:
            with self.running(place, arm):
                why = self.wrong(line, arm, want)
            if why:
                self.write(place, arm, "wrong", why)
                continue
            if rule is not None and not arm.is_rule:
                for one in (arm, rule, arm, rule):
                    self.timed(line, one, seconds / 4)
                if arm.us > BETTER * rule.us:
                    arm = rule if not self.wrong(line, rule, want) else arm
            fields = fields_of(arm)
            case = (*line.task.case[:3], line.task.case.sizes, line.task.case.layout)
            us = rule.us if rule is not None else math.inf
            return tuned.Choice(
                place.device, place.triton, case, fields, arm.us, us, line.task.call.text(),
                time.time(),
            )  # fmt: skip
        return None

    def wrong(self, line: Lineup, arm: Arm, want: Sequence[np.ndarray]) -> str:
        """How the arm's results differ from NumPy's, "" where they do not."""
        with choosing(line.task.case, arm.config):
            return self.inputs.disagreement(want)

    def write(self, place: Place, arm: Arm, state: str, note: str = "") -> None:
        us = low = high = None
        if math.isfinite(arm.us):
            us, low, high = percentiles(arm.rounds) if arm.rounds else (arm.us, arm.us, arm.us)
        registers = spilled = shared = None
        if arm.facts:
            registers, spilled, shared = arm.worst[:3]
        trial = Trial(
            fields_of(arm), state, arm.rung, us, low, high, registers, spilled, shared, note
        )
        self.table.add(place, trial)

    # ---- telling ---------------------------------------------------------------------------------

    def show(self, text: str) -> None:
        if self.bar is not None:
            self.bar.set_description(text, refresh=True)

    def tick(self) -> None:
        """Move the bar to the time that has passed."""
        if self.bar is not None:
            passed = min(time.monotonic() - self.bar.begin, self.bar.total)
            self.bar.update(max(passed - self.bar.n, 0.0))


def fields_of(arm: Arm) -> dict[str, Any] | None:
    return None if arm.config is None else arm.config._asdict()


class Inputs:
    """Arrays with random values for a call, as often as keeps caches from holding them."""

    def __init__(self, line: Lineup, l2: int, emulated: bool):
        self.call = call = line.task.call
        self.space = space = SPACES[line.task.case.kernel]
        rng = np.random.default_rng(0)
        reach = 2 if space.below is None else max(space.below(call), 2)
        scale = 1.0 if space.scale is None else space.scale(call)
        made = [a.host(rng, reach, scale) for a in call.arrays]
        self.bases, self.views = zip(*made, strict=True)  # on the host, in the arrays' order
        if call.is_update:  # second moments are none otherwise
            for base in self.bases:
                np.abs(base, out=base)
        most = SETS_OF_LISTS if call.is_update else SETS
        count = 1 if emulated else min(most, max(1, 2 * l2 // max(call.nbytes, 1)))
        self.sets = [self.fresh() for _ in range(count)]

    def disagreement(self, want: Sequence[np.ndarray]) -> str:
        """How what a run leaves differs, "" where it does not."""
        call = self.call
        args = self.fresh() if call.is_update else self.sets[0]  # earlier runs changed an update's
        with call.settings():
            call.kernel("cuda")(*args)
        got = [cuda.active().to_host(y) for y in check.flat(call.written(args))]
        return check.disagreement(call, got, want, self.space.private)

    def fresh(self) -> tuple:
        """The arguments on the device, with the values that they begin with."""
        bases = iter(self.bases)
        args = tuple(self.call.mapped(lambda a: a.device(next(bases))))
        if self.space.ready is not None:
            self.space.ready("cuda", args)
        return args

    def wanted(self) -> list[np.ndarray]:
        """What a run must leave, from NumPy's kernel."""
        return check.reference(self.call, self.views, self.space.ready)


@contextlib.contextmanager
def bar_of(seconds: float, progress: bool) -> Iterator[Any]:
    """A bar over the time that there is: what is left of it is the longest that it can take."""
    if not progress:
        yield None
        return
    form = "{desc} {bar} {percentage:3.0f}% [{elapsed}, at most {remaining} left]"
    with tqdm(total=max(seconds, 0.1), bar_format=form, disable=None, leave=False) as bar:
        bar.begin = time.monotonic()  # pyright: ignore[reportAttributeAccessIssue]
        yield bar
