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


def measure(lib: Any, run: Callable[..., Any], sets: Sequence[tuple], device: str) -> Timing:
    """Time ``run(*inputs)``, rotating through ``sets`` of inputs so that no cache holds them."""
    for inputs in sets[:3]:
        run(*inputs)
    if device != "cuda" or emulated(lib):
        return by_clock(run, sets)
    lib.cuda.synchronize()
    host = host_time(lib, run, sets)
    replay, way = captured(lib, run, sets)
    return Timing(*by_events(lib, replay, len(sets)), host, way)


def emulated(lib: Any) -> bool:
    return "emulated" in lib.cuda.get_device_name()


def percentiles(rounds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile."""
    fifths = statistics.quantiles(rounds, n=5)
    return statistics.median(rounds), fifths[0], fifths[3]


def by_clock(run: Callable[..., Any], sets: Sequence[tuple]) -> Timing:
    rounds = []
    for k in range(5):
        start = time.perf_counter()
        run(*sets[k % len(sets)])
        rounds.append((time.perf_counter() - start) * 1e6)
    median, low, high = percentiles(rounds)
    return Timing(median, low, high, median, "clock")


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


def by_events(lib: Any, replay: Callable[[], Any], calls: int) -> tuple[float, float, float]:
    def once(repeats: int) -> float:
        start, end = (lib.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3 / (repeats * calls)

    once(1)
    repeats = max(1, int(ROUND_SECONDS * 1e6 / max(once(2) * calls, 0.1)))
    return percentiles([once(min(repeats, 200)) for _ in range(ROUNDS)])
