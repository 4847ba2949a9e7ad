"""Events added up by name, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tgrad.profiler.ceilings import ceiling
from tgrad.profiler.recorder import Event


class Average:
    """All events of one key. Times in us, memory in bytes; names are PyTorch's."""

    def __init__(self, key: str, shapes: list[Any], stack: str):
        self.key, self.input_shapes, self.stack = key, shapes, stack
        self.count = self.flops = self.bytes = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.device_time_total = self.self_device_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.costs: dict[tuple[str, str], list[float]] = {}  # (device, dtype): bytes, flops, us

    def add(self, e: Event, device_us: float) -> None:
        """``device_us``: of the event and of those inside of it."""
        self.count += 1
        self.flops, self.bytes = self.flops + e.flops, self.bytes + e.bytes
        self.cpu_time_total += e.total_us
        self.self_cpu_time_total += e.self_us
        self.device_time_total += device_us
        self.self_device_time_total += e.device_us or 0.0
        self.cpu_memory_usage += e.memory
        self.self_cpu_memory_usage += e.self_memory
        if e.bytes:
            kind = "cpu" if e.device_us is None else "cuda"
            parts = self.costs.setdefault((kind, e.dtype), [0, 0, 0.0])
            spent = e.self_us if e.device_us is None else e.device_us
            for k, value in enumerate((e.bytes, e.flops, spent)):
                parts[k] += value

    @property
    def cpu_time(self) -> float:
        """us a call on the host."""
        return self.cpu_time_total / self.count

    @property
    def device_time(self) -> float:
        """us a call on the GPU."""
        return self.device_time_total / self.count

    @property
    def kernel_us(self) -> float:
        """Where the work was done: on the GPU, or in the op itself on the CPU."""
        return sum(spent for _, _, spent in self.costs.values())

    def roofline_share(self) -> float | None:
        """The least time for its bytes and flops, by ceilings measured now, over the time taken."""
        least = 0.0
        for (kind, dtype), (moved, flops, _) in self.costs.items():
            products = dtype if dtype in ("float16", "bfloat16", "float64") else "float32"
            found = ceiling(kind, products if flops else "float32")
            if found is None:
                return None
            least += found.least_us(int(moved), int(flops))
        return least / self.kernel_us if self.kernel_us else None

    def __repr__(self) -> str:
        return f"<{self.key}: {self.count} calls, {self.cpu_time_total:.1f} us>"


SORTS: dict[str, Callable[[Average], float]] = {
    name: (lambda a, name=name: getattr(a, name))
    for name in ("count", "cpu_time", "cpu_time_total", "self_cpu_time_total", "device_time",
                 "device_time_total", "self_device_time_total", "cpu_memory_usage",
                 "self_cpu_memory_usage", "flops", "bytes")
}  # fmt: skip
SORTS |= {name.replace("device", "cuda"): by for name, by in SORTS.items() if "device" in name}


class Averages(list[Average]):
    """The rows of :meth:`profile.key_averages`, in the order in which keys were first met."""

    @classmethod
    def of(cls, events: Sequence[Event], by_shape: bool, by_stack: bool) -> Averages:
        device = device_totals(events)
        rows: dict[tuple[str, str, str], Average] = {}
        for e in events:
            key = (e.name, str(e.shapes) if by_shape else "", e.stack if by_stack else "")
            if key not in rows:
                rows[key] = Average(e.name, e.shapes if by_shape else [], key[2])
            rows[key].add(e, device[id(e)])
        return cls(rows.values())

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 40,
        roofline: bool = True,
    ) -> str:
        """The rows as aligned text, by the time in the op itself unless ``sort_by`` names another.

        Columns of a GPU, of memory and of shapes appear where something was recorded.
        ``roofline`` measures ceilings, which takes some tenths of a second the first time.
        Raises: ValueError for an unknown ``sort_by``.
        """
        if sort_by is not None and sort_by not in SORTS:
            raise ValueError(
                f"sort_by: expected one of {', '.join(sorted(SORTS))}, got {sort_by!r}"
            )
        with_gpu = any(a.device_time_total for a in self)
        order = sort_by or ("self_device_time_total" if with_gpu else "self_cpu_time_total")
        rows = sorted(self, key=SORTS[order], reverse=True)[: None if row_limit < 0 else row_limit]
        columns = self.columns(with_gpu, roofline, max_name_column_width)
        lines = [[name for name, _ in columns]]
        lines += [[show(a) for _, show in columns] for a in rows]
        return f"{aligned(lines)}\n{self.footer(with_gpu)}"

    def columns(
        self, with_gpu: bool, roofline: bool, width: int
    ) -> list[tuple[str, Callable[[Average], str]]]:
        host = sum(a.self_cpu_time_total for a in self) or 1.0
        gpu = sum(a.self_device_time_total for a in self) or 1.0
        found: list[tuple[str, Callable[[Average], str]]] = [
            ("name", lambda a: a.key if len(a.key) <= width else a.key[: width - 3] + "..."),
            ("calls", lambda a: str(a.count)),
            ("self host", lambda a: duration(a.self_cpu_time_total)),
            ("%", lambda a: f"{a.self_cpu_time_total / host:.1%}"),
            ("host total", lambda a: duration(a.cpu_time_total)),
            ("a call", lambda a: duration(a.cpu_time)),
        ]
        if with_gpu:
            found += [
                ("self GPU", lambda a: duration(a.self_device_time_total)),
                ("%", lambda a: f"{a.self_device_time_total / gpu:.1%}"),
                ("GPU total", lambda a: duration(a.device_time_total)),
            ]
        if any(a.self_cpu_memory_usage for a in self):
            found.append(("memory", lambda a: size(a.self_cpu_memory_usage)))
        found += [
            ("moved", lambda a: size(a.bytes) if a.bytes else "-"),
            ("GB/s", lambda a: rate(a.bytes, a.kernel_us, 1e3)),
            ("GFLOP/s", lambda a: rate(a.flops, a.kernel_us, 1e3)),
        ]
        if roofline:
            found.append(("roofline", lambda a: share(a.roofline_share())))
        if any(a.input_shapes for a in self):
            found.append(("shapes", lambda a: str(a.input_shapes)))
        if any(a.stack for a in self):
            found.append(("called from", lambda a: a.stack))
        return found

    def footer(self, with_gpu: bool) -> str:
        text = f"host: {duration(sum(a.self_cpu_time_total for a in self))}"
        if with_gpu:
            text += f", GPU: {duration(sum(a.self_device_time_total for a in self))}"
        return text


def device_totals(events: Iterable[Event]) -> dict[int, float]:
    """GPU time of each event: its own, or that of the outermost timed events inside of it."""
    totals: dict[int, float] = {}
    for e in events:  # an event comes after those inside of it
        inside = totals.get(id(e), 0.0)
        totals[id(e)] = inside if e.device_us is None else e.device_us
        if e.parent is not None:
            totals[id(e.parent)] = totals.get(id(e.parent), 0.0) + totals[id(e)]
    return totals


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right, a rule below the head."""
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join(t.ljust(n) if k == 0 else t.rjust(n) for k, (t, n) in enumerate(cells)).rstrip()
        for cells in (list(zip(line, sizes, strict=True)) for line in lines)
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def duration(us: float) -> str:
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if us >= factor:
            return f"{us / factor:.3f} {unit}"
    return f"{us:.1f} us"


def size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count:.0f} B"


def rate(count: float, us: float, scale: float) -> str:
    return f"{count / us / scale:.1f}" if count and us else "-"


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
