"""Measurements as tables: one for each label, rows by sub-label, columns by description."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

from tgrad.utils.benchmark.measurement import (
    Measurement,
    ordered_unique,
    select_unit,
    trim_sigfig,
    unit_to_english,
)

BETWEEN = "  |  "
END = "\033[0m"
BEST, GOOD, BAD, WORST = "\033[92m\033[1m", "\033[34m\033[1m", "\033[2m\033[91m", "\033[31m\033[1m"
ALIKE = 100e-9  # seconds by which the best times may differ


class Colorize(enum.Enum):
    """Within what times are compared by colours."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


RowKey = tuple[int, str | None, str]


class Table:
    """The measurements of one label. ``cells`` are by (threads, environment, name) and column."""

    def __init__(self, results: list[Measurement], colorize: Colorize, trim: bool, warn: bool):
        self.results, self.colorize, self.trim, self.warn = results, colorize, trim, warn
        self.unit, self.scale = select_unit(min(m.median for m in results))
        self.cells = {(self.row_of(m), m.task_spec.description): m for m in results}
        self.columns = ordered_unique(column for _, column in self.cells)
        # Of one number of threads together, and of one environment; else in the order given.
        self.rows: list[RowKey] = sorted(
            ordered_unique(row for row, _ in self.cells), key=lambda r: (r[0], r[1] or "")
        )

    @staticmethod
    def row_of(m: Measurement) -> RowKey:
        return m.task_spec.num_threads, m.task_spec.env, m.as_row_name

    def column(self, name: str | None) -> list[Measurement]:
        return [m for row in self.rows if (m := self.cells.get((row, name))) is not None]

    def format_of(self, name: str | None) -> tuple[int, int, int]:
        """(width, decimals, room for warnings) of a column's numbers."""
        there = self.column(name)
        digits = [math.ceil(math.log10(m.median / self.scale)) for m in there]
        decimals = 1
        if self.trim:
            kept = [m.significant_figures - d for m, d in zip(there, digits, strict=True)]
            decimals = min(max(k, 0) for k in kept)
        warned = self.warn and any(m.has_warnings for m in there)
        return max(digits) + decimals + (decimals > 0), decimals, 7 if warned else 0

    def text(self, m: Measurement | None, form: tuple[int, int, int]) -> str:
        width, decimals, room = form
        if m is None:
            return " " * (max(width, len(f"{1:.{decimals}f}")) + room)
        value = m.median / self.scale
        if self.trim:
            value = trim_sigfig(value, m.significant_figures)
        note = f" (! {m.iqr / m.median * 100:.0f}%)" if room and m.has_warnings else ""
        return f"{value:>{width}.{decimals}f}{note:>{room}}"

    def coloured(self, text: str, m: Measurement | None, row: RowKey, column: str | None) -> str:
        if self.colorize is Colorize.NONE or m is None:
            return text
        rivals = [
            other for (r, c), other in self.cells.items()
            if (r == row if self.colorize is Colorize.ROWWISE else c == column and r[0] == row[0])
        ]  # fmt: skip
        best = min(other.median for other in rivals)
        if m.median <= best * 1.01 or m.median <= best + ALIKE:
            return BEST + text + END * 2
        if m.median <= best * 1.1:
            return GOOD + text + END * 2
        if m.median >= best * 5:
            return WORST + text + END * 2
        return BAD + text + END * 2 if m.median >= best * 2 else text

    def names(self) -> list[str]:
        """The first column: an environment where there are several, told where it changes."""
        environments = {row[1] for row in self.rows}
        width = max(len(str(e)) for e in environments) + 4 if len(environments) > 1 else 4
        made, before = [], None
        for row in self.rows:
            told = len(environments) > 1 and row[:2] != before
            made.append("  " + (f"({row[1]})" if told else "").ljust(width) + row[2])
            before = row[:2]
        return made

    def render(self) -> str:
        forms = [self.format_of(c) for c in self.columns]
        found = [[self.cells.get((row, c)) for c in self.columns] for row in self.rows]
        texts = [[self.text(m, f) for m, f in zip(ms, forms, strict=True)] for ms in found]
        names, heads = self.names(), [c or "" for c in self.columns]
        first = max(map(len, names))
        widths = [max(map(len, (h, *ts))) for h, *ts in zip(heads, *texts, strict=True)]
        heads = [h.center(w) for h, w in zip(heads, widths, strict=True)]
        header = BETWEEN.join([" " * first, *heads])
        whole = len(header)
        label = self.results[0].task_spec.label or ""
        lines = [f"[{f' {label} '.center(whole - 2, '-')}]", header]
        threads = None
        for row, name, ms, ts in zip(self.rows, names, found, texts, strict=True):
            if row[0] != threads:
                threads = row[0]
                lines.append(f"{threads} threads: ".ljust(whole, "-"))
            cells = [self.coloured(t.center(w), m, row, c)
                     for t, w, m, c in zip(ts, widths, ms, self.columns, strict=True)]  # fmt: skip
            lines.append(BETWEEN.join([name.ljust(first), *cells]))
        lines += ["", f"Times are in {unit_to_english(self.unit)}s ({self.unit})."]
        if self.warn and any(m.has_warnings for m in self.results):
            lines.append("(! XX%) Measurement has high variance: XX is IQR / median * 100.")
        return "\n".join([*lines, ""])


class Compare:
    """Tables of measurements: ``print()`` or ``str()`` shows one for each label.

    Measurements of one task are merged. Raises ValueError for what is no :class:`Measurement`.
    """

    def __init__(self, results: list[Measurement]):
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim = self._warn = False
        self._colorize = Colorize.NONE

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements. Raises ValueError, before any is added, for anything else."""
        added = list(results)
        for m in added:
            if not isinstance(m, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(m)} instead.")
        self._results += added

    def trim_significant_figures(self) -> None:
        """Show only digits that mean something."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Colour times by how they compare with the best of their column, or row."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark medians of times that differ much."""
        self._warn = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def __str__(self) -> str:
        labels: dict[str | None, list[Measurement]] = {}
        for m in Measurement.merge(self._results):
            labels.setdefault(m.task_spec.label, []).append(m)
        tables = [Table(ms, self._colorize, self._trim, self._warn) for ms in labels.values()]
        return "\n".join(table.render() for table in tables)
