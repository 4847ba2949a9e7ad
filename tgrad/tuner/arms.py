"""The configs that compete for a case: what each launches, what that compiles to, what it may take.

Everything here is known before anything runs, without a GPU.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tgrad.kernels.cuda.configs import SPACES, choosing
from tgrad.kernels.cuda.limits import family
from tgrad.kernels.gate.facts import Facts, facts_of_job
from tgrad.kernels.gate.rules import SHARED
from tgrad.kernels.samples.costs import Cost, cost
from tgrad.runtime import cuda, threads, tuned
from tgrad.runtime.array import CudaArray
from tgrad.runtime.compiler import CompileError, Job
from tgrad.runtime.launcher import specialise
from tgrad.runtime.recorder import Launch, recording
from tgrad.runtime.warmup import Worker, warm_up
from tgrad.tuner.discover import Task
from tgrad.tuner.peaks import Peak, occupancy, resident

LATENCY = 0.7  # us from a load to its data while memory is busy (an estimate)
LAUNCH = 2.0  # us from the end of one launch to the start of the next (an estimate)


class Arm:
    """One config; None for the kernel's own rule, which ``same`` then names if it is a candidate's.

    ``facts`` are those of its launches, in their order; empty before it was compiled.
    """

    def __init__(self, config: Any, launches: list[Launch]):
        self.config, self.launches = config, launches
        self.same: Any = None
        self.facts: list[Facts] = []
        self.rounds: list[float] = []  # microseconds
        self.us = math.inf
        self.note = ""  # why it failed
        self.rung = 0  # rounds of the race that it has run

    @property
    def is_rule(self) -> bool:
        return self.config is None

    @property
    def known(self) -> Any:
        """The config that it stands for, if there is one."""
        return self.same if self.is_rule else self.config

    @property
    def text(self) -> str:
        """The blocks and warps of its largest launch."""
        launch = max(self.launches, key=lambda n: math.prod(n.grid))
        blocks = [f"{k}={v}" for k, v in launch.constants.items() if k.startswith("BLOCK")]
        return " ".join([*blocks, f"warps={launch.num_warps}"])

    @property
    def worst(self) -> Facts:
        """The largest of each fact over the launches."""
        return Facts(
            *(max(getattr(f, n) for f in self.facts) for n in ("registers", "spilled", "shared")),
            tensor_core=max(f.tensor_core for f in self.facts),
            error=next((f.error for f in self.facts if f.error), ""),
        )

    def refused(self, arch: int) -> str:
        """Why its code must not run, "" where it may."""
        worst = self.worst
        if worst.error:
            return f"does not compile: {worst.error.splitlines()[-1]}"
        if worst.spilled:
            return f"spills {worst.spilled} bytes"
        if worst.shared > SHARED[family(arch)]:
            return f"needs {worst.shared} bytes of shared memory"
        if any(resident(f.registers, f.shared, n.num_warps, arch) == 0
               for f, n in zip(self.facts, self.launches, strict=True)):  # fmt: skip
            return "has more registers than a multiprocessor"
        return ""

    def occupancy(self, arch: int) -> float:
        """The least of its launches'."""
        return min(
            occupancy(f.registers, f.shared, n.num_warps, arch)
            for f, n in zip(self.facts, self.launches, strict=True)
        )


class Lineup(NamedTuple):
    """The arms of a task, the kernel's rule first, and what the call must move and compute."""

    task: Task
    arch: int
    arms: list[Arm]
    cost: Cost


def lineup(task: Task, arch: int, most: int) -> Lineup:
    """Up to ``most`` candidates that launch different things."""
    call, case = task.call, task.case
    fill = call.kernel("cuda")
    candidates = SPACES[case.kernel].candidates(case)
    seen: dict[tuple, Arm] = {}
    with recording(arch) as recorder, call.settings():
        arrays = call.mapped(lambda a: a.device())
        moved = cost(call.op, call.written(arrays), arrays[call.outputs :])
        for config in (None, *candidates):
            recorder.launches = []
            with choosing(case, config):
                fill(*arrays)
            key = tuple(map(fingerprint, recorder.launches))
            have = seen.get(key)
            if have is None:
                seen[key] = Arm(config, recorder.launches)
            elif have.is_rule and have.same is None:
                have.same = config
            if len(seen) > most:
                break
    return Lineup(task, arch, list(seen.values()), moved)


def fingerprint(launch: Launch) -> tuple:
    """What tells a launch from others of the same call."""
    constants = tuple((k, str(v)) for k, v in sorted(launch.constants.items()))
    return launch.kernel, launch.grid, constants, launch.num_warps, launch.num_stages


# ---- compiling -----------------------------------------------------------------------------------


def jobs_of(arm: Arm, arch: int) -> list[Job]:
    jobs = []
    for launch in arm.launches:
        variant = specialise(launch.kernel, launch.args, launch.constants)
        options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
        jobs.append(Job(launch.kernel, *variant, arch, options))
    return jobs


def job_key(job: Job) -> tuple:
    constants = tuple((k, type(v), str(v)) for k, v in sorted(job.constants.items()))
    return job.kernel, *job.signature.items(), constants, *job.divisible, *job.options.items()


@contextlib.contextmanager
def compilers(processes: int | None) -> Iterator[list[Worker]]:
    """Worker processes that compile, one per core unless said, until the block ends."""
    workers = [Worker() for _ in range(processes or threads.available())]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()


def compile_arms(
    arms: Sequence[Arm], arch: int, workers: Sequence[Worker], seconds: float,
    done: Callable[[], None] = lambda: None,
) -> list[Arm]:  # fmt: skip
    """Compile what the arms launch, the first arm's in any case, and more for so long; those of
    which all is compiled.
    """
    end = time.monotonic() + seconds
    ready = compile_some(arms[:1], arch, workers, math.inf, done)
    return ready + compile_some(arms[1:], arch, workers, end, done)


def compile_some(
    arms: Sequence[Arm], arch: int, workers: Sequence[Worker], until: float,
    done: Callable[[], None],
) -> list[Arm]:  # fmt: skip
    wanted: dict[tuple, Job] = {}
    keys: list[list[tuple]] = []
    for arm in arms:
        jobs = jobs_of(arm, arch)
        keys.append([job_key(job) for job in jobs])
        wanted.update(zip(keys[-1], jobs, strict=True))
    every = list(wanted.values())
    made = warm_up(every, None, facts_of_job, lambda i: done(), until, workers)
    facts = dict(zip(wanted, made, strict=True))
    ready = []
    for arm, own in zip(arms, keys, strict=True):
        found = [facts[key] for key in own]
        if all(f is not None for f in found):
            arm.facts = [Facts(error=str(f)) if isinstance(f, CompileError) else f for f in found]
            ready.append(arm)
    return ready


# ---- predicting ----------------------------------------------------------------------------------


def roofline(moved: Cost, kind: str, peak: Peak) -> float:
    """Microseconds that the call takes at least: its bytes at full bandwidth, or its flops."""
    return max(moved.bytes / peak.bandwidth * 1e-3, moved.flops / peak.flops(kind) * 1e-6)


def predicted(line: Lineup, arm: Arm, peak: Peak) -> float:
    """Microseconds by a roofline with the losses that are known before running: multiprocessors
    without a program, too few bytes on their way to keep memory busy (Little's law, from the tiles
    of the programs that run at once), further launches; and for products what their own model of
    tiles says.
    """
    least = roofline(line.cost, line.task.case.kind, peak)
    launch, facts = max(
        zip(arm.launches, arm.facts, strict=True), key=lambda pair: math.prod(pair[0].grid)
    )
    held = resident(facts.registers, facts.shared, launch.num_warps, line.arch)
    programs = math.prod(launch.grid)
    waves = programs / (peak.multiprocessors * held)
    used = waves / math.ceil(waves) if waves > 1 else min(1.0, programs / peak.multiprocessors)
    time = least / used
    if not line.cost.flops:
        needed = peak.bandwidth * 1e3 * LATENCY / peak.multiprocessors
        time /= min(1.0, held * tile_bytes(launch) / needed)
    space = SPACES[line.task.case.kernel]
    if space.cost is not None and arm.known is not None:
        time = max(time, space.cost(arm.known, line.task.case))
    return time + LAUNCH * (len(arm.launches) - 1)


def tile_bytes(launch: Launch) -> int:
    """Bytes of an array that a program of a kernel of rows or blocks loads at once."""
    sizes = [v for k, v in launch.constants.items() if k.startswith("BLOCK") and v]
    arrays = [a.itemsize for a in launch.args if isinstance(a, CudaArray)]
    return math.prod(sizes) * min(arrays)


def current_arch() -> int:
    """The architecture that kernels are compiled for here: 0 on the emulator."""
    if cuda.is_emulated():
        return 0
    cuda.active()
    return tuned.gpu()[1]
