"""``profile``: which steps are recorded, and what is done with the events."""

from __future__ import annotations

import enum
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tgrad import cuda
from tgrad.profiler import chrome
from tgrad.profiler.recorder import Event, Options, Recorder
from tgrad.profiler.summary import Averages


class ProfilerActivity(enum.Enum):
    """Whose time is taken: the host's always, the GPU's by events on its stream."""

    CPU = 0
    CUDA = 1


class ProfilerAction(enum.Enum):
    """What a schedule asks for a step. A warm-up records nothing: there is nothing to warm."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


RECORDS = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities() -> set[ProfilerActivity]:
    """The activities that this machine has."""
    found = {ProfilerActivity.CPU}
    return found | {ProfilerActivity.CUDA} if cuda.is_available() else found


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Cycles of ``wait`` steps idle, ``warmup`` steps, ``active`` steps recorded.

    After ``skip_first`` steps; ``repeat`` cycles, 0 for ever. ``skip_first_wait`` other than 0
    leaves the first cycle's wait out. Raises: AssertionError for a negative count or active of 0.
    """
    counts = (wait, warmup, active, repeat, skip_first, skip_first_wait)
    if min(counts) < 0 or active < 1:
        raise AssertionError(f"Invalid profiler schedule arguments: {counts}")

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle, at = divmod(step, wait + warmup + active)
        if (repeat and cycle >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        last = at == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For ``on_trace_ready``: write each trace to a file of its own in ``dir_name``."""

    def handler(p: profile) -> None:
        Path(dir_name).mkdir(parents=True, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        p.export_chrome_trace(str(Path(dir_name) / name))

    return handler


class profile:
    """Record the ops that run in a ``with`` block, or in the steps that ``schedule`` names.

    ``record_shapes`` keeps inputs' shapes, ``profile_memory`` what each op allocates,
    ``with_stack`` the line that called it; costs in bytes and flops are always known. GPU time is
    between marks on the stream, so that gaps before a launch count for the op that makes it.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        acc_events: bool = False,
    ):
        self.activities = set(supported_activities() if activities is None else activities)
        if not self.activities or not all(isinstance(a, ProfilerActivity) for a in self.activities):
            raise AssertionError("No valid profiler activities found")
        self.options = Options(
            ProfilerActivity.CUDA in self.activities, record_shapes, profile_memory, with_stack
        )
        self.schedule, self.on_trace_ready, self.acc_events = schedule, on_trace_ready, acc_events
        self.step_num = 0
        self.recorder: Recorder | None = None
        self.recorded: list[Event] | None = None
        self.current_action = self._action()

    def _action(self) -> ProfilerAction:
        return self.schedule(self.step_num) if self.schedule else ProfilerAction.RECORD_AND_SAVE

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()

    def start(self) -> None:
        """Begin. Raises: RuntimeError while another profiler records."""
        if self.current_action in RECORDS:
            self._begin()

    def stop(self) -> None:
        """End; what was recorded goes to ``on_trace_ready``."""
        self._finish()

    def step(self) -> None:
        """The end of one step, the beginning of the next."""
        before = self.current_action
        self.step_num += 1
        self.current_action = self._action()
        if self.schedule is None:
            return
        if before is ProfilerAction.RECORD_AND_SAVE or self.current_action not in RECORDS:
            self._finish()
        if self.current_action in RECORDS and self.recorder is None:
            self._begin()

    def _begin(self) -> None:
        self.recorder = Recorder(self.options)
        self.recorder.begin()

    def _finish(self) -> None:
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        recorder.finish()
        kept = self.recorded if self.acc_events and self.recorded else []
        self.recorded = [*kept, *recorder.events]
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def events(self) -> list[Event]:
        """Every event of the last recording, in the order in which they ended."""
        if self.recorded is None:
            raise AssertionError("profiler has recorded nothing yet")
        return self.recorded

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0
    ) -> Averages:
        """Events added up by name; also by inputs' shapes, or by the line that called."""
        return Averages.of(self.events(), group_by_input_shape, group_by_stack_n > 0)

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for Perfetto or ``chrome://tracing``; gzipped where it ends in .gz."""
        chrome.export(self.events(), path)
