"""Timing on a GPU without torch: by CUDA events around replays of a graph, and host time beside it.

Works for any library with the face of ``torch.cuda`` (streams, events, graphs): tgrad and torch are
timed by the same lines. On the emulator and the CPU there is the wall clock alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

ROUNDS = 15
ROUND_SECONDS = 0.004  # device time that a round should take: events resolve 0.5 us
MOST_REPEATS = 200  # replays of a round
CLOCK_ROUNDS = 5


class Timing(NamedTuple):
    """Microseconds a call: device time as median, 20th and 80th percentile, and host time.

    ``way`` is "graph" (replays of a captured graph: no gaps between launches), "events" (a loop of
    calls; bound by the host where ``host`` exceeds ``device``) or "clock" (no GPU).
    """

    device: float
    low: float
    high: float
    host: float
    way: str


class Timer:
    """Times ``run(*inputs)``, rotating through ``sets`` of inputs so that no cache holds them."""

    def __init__(self, lib: Any, run: Callable[..., Any], sets: Sequence[tuple], device: str):
        self.lib, self.run, self.sets = lib, run, sets
        self.calls = 0  # by the clock, which rotates call by call
        for inputs in sets[:3]:
            run(*inputs)
        if device != "cuda" or emulated(lib):
            self.replay, self.way = None, "clock"
            return
        lib.cuda.synchronize()
        self.replay, self.way = captured(lib, run, sets)
        self.once(1)
        each = max(self.once(2) * len(sets), 0.1)
        self.repeats = min(max(1, int(ROUND_SECONDS * 1e6 / each)), MOST_REPEATS)

    def once(self, repeats: int) -> float:
        """Microseconds a call of ``repeats`` replays, by events."""
        assert self.replay is not None
        start, end = (self.lib.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            self.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3 / (repeats * len(self.sets))

    def round(self) -> float:
        """Microseconds a call, of one round."""
        if self.replay is not None:
            return self.once(self.repeats)
        inputs = self.sets[self.calls % len(self.sets)]
        self.calls += 1
        start = time.perf_counter()
        self.run(*inputs)
        return (time.perf_counter() - start) * 1e6

    def rounds(self, seconds: float) -> list[float]:
        """Rounds for about so long, one at least."""
        end = time.perf_counter() + seconds
        found = [self.round()]
        while time.perf_counter() < end:
            found.append(self.round())
        return found


def measure(lib: Any, run: Callable[..., Any], sets: Sequence[tuple], device: str) -> Timing:
    """Time ``run(*inputs)`` over a fixed number of rounds."""
    timer = Timer(lib, run, sets, device)
    if timer.way == "clock":
        median, low, high = percentiles([timer.round() for _ in range(CLOCK_ROUNDS)])
        return Timing(median, low, high, median, "clock")
    host = host_time(lib, run, sets)
    return Timing(*percentiles([timer.round() for _ in range(ROUNDS)]), host, timer.way)


def emulated(lib: Any) -> bool:
    return "emulated" in lib.cuda.get_device_name()


def percentiles(rounds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile."""
    if len(rounds) == 1:
        return rounds[0], rounds[0], rounds[0]
    fifths = statistics.quantiles(rounds, n=5)
    return statistics.median(rounds), fifths[0], fifths[3]


def host_time(lib: Any, run: Callable[..., Any], sets: Sequence[tuple]) -> float:
    """Least microseconds from a call to its return, with a device that is not behind."""
    best = float("inf")
    for inputs in [*sets] * 3:
        lib.cuda.synchronize()
        start = time.perf_counter()
        run(*inputs)
        best = min(best, time.perf_counter() - start)
    lib.cuda.synchronize()
    return best * 1e6


def captured(
    lib: Any, run: Callable[..., Any], sets: Sequence[tuple]
) -> tuple[Callable[[], Any], str]:
    """A function that runs all sets once: a graph's replay, or a loop where it cannot be one."""

    def loop() -> None:
        for inputs in sets:
            run(*inputs)

    graph = lib.cuda.CUDAGraph()
    try:
        with lib.cuda.graph(graph):
            loop()
        graph.replay()
        lib.cuda.synchronize()
    except (RuntimeError, NotImplementedError):  # it synchronises, or counts on the host
        lib.cuda.synchronize()
        return loop, "events"
    return graph.replay, "graph"
