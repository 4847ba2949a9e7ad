"""What a timer found: times, their spread, and how many of their digits mean something."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tgrad.runtime.threads import get_num_threads, set_num_threads

MOST_FIGURES = 4
SHORTEST_INTERVAL = 25e-9  # seconds: no clock tells a median more exactly
SPREAD, WIDE_SPREAD = 0.1, 0.25  # of the median, from which on an interquartile range is told of
Z = 1.645  # of a 90% interval of a normal distribution
UNITS = {"s": (1.0, "second"), "ms": (1e-3, "millisecond"), "us": (1e-6, "microsecond"),
         "ns": (1e-9, "nanosecond")}  # fmt: skip


@dataclasses.dataclass(repr=False, frozen=True)
class TaskSpec:
    """What was measured: all that a Timer was given but its globals."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label, or else the statement, with the sub-label."""
        if self.label is None and "\n" in self.stmt:
            sub = f" ({self.sub_label})" if self.sub_label else ""
            return f"stmt:{sub}\n{textwrap.indent(self.stmt, '  ')}"
        return (self.stmt if self.label is None else self.label) + (
            f": {self.sub_label}" if self.sub_label else ""
        )

    def setup_str(self) -> str:
        """The setup in words, if it does anything."""
        if self.setup in ("", "pass"):
            return ""
        if "\n" in self.setup:
            return f"setup:\n{textwrap.indent(self.setup, '  ')}"
        return f"setup: {self.setup}"

    def summarize(self) -> str:
        """Title, description and setup, each on lines of its own."""
        parts = [p for p in (self.title, self.description, self.setup_str()) if p]
        return "\n".join(p + "\n" if "\n" in p else p for p in parts)


FIELDS = tuple(field.name for field in dataclasses.fields(TaskSpec))


@dataclasses.dataclass(repr=False)
class Measurement:
    """``raw_times`` in seconds, each of ``number_per_run`` runs of a statement.

    It answers to the fields of its ``task_spec`` too. ``metadata`` is the user's.
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in FIELDS:
            return getattr(self.task_spec, name)
        raise AttributeError(f"'Measurement' object has no attribute '{name}'")

    @property
    def times(self) -> list[float]:
        """Seconds of one run."""
        return [t / self.number_per_run for t in self.raw_times]

    def _quantile(self, q: float) -> float:
        return float(np.quantile(self.times, q))

    @property
    def median(self) -> float:
        return self._quantile(0.5)

    @property
    def mean(self) -> float:
        return float(np.mean(self.times))

    @property
    def iqr(self) -> float:
        """The interquartile range: between which lies the middle half of the times."""
        return self._quantile(0.75) - self._quantile(0.25)

    @property
    def significant_figures(self) -> int:
        """About how many digits of the median mean something: from 1 to 4.

        The median over the 90% confidence interval of the middle half's mean, in digits.
        """
        times = sorted(self.times)
        middle = times[len(times) // 4 : math.ceil(3 * len(times) / 4)]
        interval = max(Z * float(np.std(middle)) / math.sqrt(len(middle)), SHORTEST_INTERVAL)
        return min(max(math.floor(math.log10(self.median / interval)), 1), MOST_FIGURES)

    def meets_confidence(self, threshold: float = SPREAD) -> bool:
        """Whether the interquartile range is below ``threshold`` of the median."""
        return self.iqr / self.median < threshold

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ by so much that the median is in doubt."""
        return not self.meets_confidence()

    def _warning(self) -> str:
        if not self.has_warnings:
            return ""
        why = (
            "This could indicate system fluctuation."
            if self.meets_confidence(WIDE_SPREAD)
            else "This suggests significant environmental influence."
        )
        share = self.iqr / self.median * 100
        return (
            f"  WARNING: Interquartile range is {share:.1f}% of the median measurement.\n"
            f"           {why}"
        )

    @property
    def title(self) -> str:
        return self.task_spec.title

    @property
    def as_row_name(self) -> str:
        """What its row of a table is called."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    def __repr__(self) -> str:
        n, threads = len(self.raw_times), self.task_spec.num_threads
        unit, scale = select_unit(self.median)
        low, middle, high = (self._quantile(q) / scale for q in (0.25, 0.5, 0.75))
        lines = [object.__repr__(self), self.task_spec.summarize(),
                 f"  {'Median: ' if n > 1 else ''}{middle:.2f} {unit}"]  # fmt: skip
        if n >= 4:
            lines.append(f"  IQR:    {high - low:.2f} {unit} ({low:.2f} to {high:.2f})")
        lines.append(
            f"  {n} measurement{'s' * (n > 1)}, {self.number_per_run} runs "
            f"{'per measurement,' if n > 1 else ','} {threads} thread{'s' * (threads > 1)}"
        )
        return "\n".join([*lines, *filter(None, [self._warning()])])

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for each task, with the times of one run; metadata is left behind."""
        groups: dict[TaskSpec, list[float]] = {}
        for m in measurements:
            groups.setdefault(m.task_spec, []).extend(m.times)
        return [Measurement(1, times, task) for task, times in groups.items()]


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which ``t`` seconds have one to three digits before the point, and its size."""
    power = math.floor(math.log10(t) / 3)
    unit = {-3: "ns", -2: "us", -1: "ms"}.get(power, "s")
    return unit, UNITS[unit][0]


def unit_to_english(u: str) -> str:
    """The word for "s", "ms", "us" or "ns"."""
    return UNITS[u][1]


def trim_sigfig(x: float, n: int) -> float:
    """``x`` rounded to ``n`` significant digits. Raises AssertionError unless n is whole."""
    if n != int(n):
        raise AssertionError("Number of significant figures must be an integer")
    scale = 10.0 ** (math.ceil(math.log10(abs(x))) - n)
    return round(x / scale) * scale


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """The elements, each once, in the order of their first appearance."""
    return list(dict.fromkeys(elements))


@contextlib.contextmanager
def set_threads(n: int) -> Iterator[None]:
    """Inside, large arrays on the CPU use ``n`` threads."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
