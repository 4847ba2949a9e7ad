"""Running a statement often enough, and no oftener, to know how long it takes."""

from __future__ import annotations

import enum
import importlib
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad.runtime import cuda
from tgrad.utils.benchmark.measurement import Measurement, TaskSpec, set_threads

OVERHEAD = 1e-4  # of a block's time, that reading the clock may take
LARGEST_BLOCK = 2**31 - 1
SHORTEST = 1e-9  # seconds: below it nothing is measured, and a time of 0 could not be divided by


def timer() -> float:
    """The time in seconds, read when all work of the GPU has ended, if a GPU is in use."""
    if cuda._active is not None:
        cuda.active().synchronize()
    return timeit.default_timer()


class Language(enum.Enum):
    """What a statement is written in: Python alone."""

    PYTHON = 0


def dedented(text: str) -> str:
    """The lines of a block string without its indentation and the empty first one."""
    return textwrap.dedent(text).removeprefix("\n").rstrip()


class Timer:
    """Measures ``stmt``, run after ``setup``, with the names in ``globals``.

    ``tgrad`` is known to the statement, as ``torch`` too, unless ``globals`` has other things under
    these names. ``num_threads``: of large arrays on the CPU, one unless given. ``label``,
    ``sub_label``, ``description`` and ``env`` name the measurement in tables (:class:`Compare`):
    its table, row, column and environment. ``timer`` reads the clock.
    Raises: ValueError for a statement that is not a string, ``global_setup`` or another language.
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Language | str = Language.PYTHON,
    ):
        if not isinstance(stmt, str):
            raise ValueError(f"Timer: stmt must be a str, got {type(stmt).__name__}")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"Timer: expected language 'python', got {language!r}")
        if global_setup:
            raise ValueError("Timer: global_setup is of C++ statements; use setup")
        library = importlib.import_module("tgrad")
        names = {"tgrad": library, "torch": library, **(globals or {})}
        stmt, setup = dedented(stmt), dedented(setup)
        self._timer = timeit.Timer(stmt, setup, timer, names)
        self._task_spec = TaskSpec(
            stmt, setup, global_setup, label, sub_label, description, env, num_threads
        )

    def _timeit(self, number: int) -> float:
        return max(self._timer.timeit(number), SHORTEST)

    def timeit(self, number: int = 1000000) -> Measurement:
        """One measurement of ``number`` runs, after a hundredth of them to warm up."""
        with set_threads(self._task_spec.num_threads):
            self._timeit(max(int(number // 100), 2))
            return Measurement(number, [self._timeit(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Raises NotImplementedError: :meth:`blocked_autorange` is for that."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Callable[[int, float], Any] | None = None) -> None:
        """Raises NotImplementedError: :meth:`blocked_autorange` is for that."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block(self, min_run_time: float) -> int:
        """How many runs a reading of the clock is small beside. Warms up as well."""
        reading = float(np.median([self._timeit(0) for _ in range(5)]))
        number = 1
        while True:
            spent = self._timeit(number)
            fine = reading <= OVERHEAD * spent and spent >= min_run_time / 1000
            if fine or spent > min_run_time or number * 10 > LARGEST_BLOCK:
                return number
            number *= 10

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Measurements of blocks of runs, for ``min_run_time`` seconds in all.

        Blocks are so large that reading the clock, and waiting for a GPU, is 0.01% of their time.
        ``callback(runs, seconds)`` is called after each.
        """
        return self._measure(min_run_time, min_run_time, None, callback, lambda m: True)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """:meth:`blocked_autorange` until the interquartile range is below ``threshold`` of the
        median, or for ``max_run_time`` seconds."""

        def is_enough(m: Measurement) -> bool:
            return len(m.raw_times) > 3 and m.meets_confidence(threshold)

        return self._measure(0.05, min_run_time, max_run_time, callback, is_enough)

    def _measure(
        self,
        block_time: float,
        min_run_time: float,
        max_run_time: float | None,
        callback: Callable[[int, float], Any] | None,
        is_enough: Callable[[Measurement], bool],
    ) -> Measurement:
        with set_threads(self._task_spec.num_threads):
            number = self._block(block_time)
            made = Measurement(number, [], self._task_spec)
            total = 0.0
            while total < min_run_time or not is_enough(made):
                spent = self._timeit(number)
                made.raw_times.append(spent)
                total += spent
                if callback is not None:
                    callback(number, spent)
                if max_run_time and total > max_run_time:
                    break
        return made
