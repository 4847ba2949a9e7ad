"""Recording events: a layer around every op that notes when it ran, on what, and what it costs."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import tgrad
from tgrad import cpu, cuda, interception
from tgrad.autograd.variable import Variable
from tgrad.kernels.samples.costs import cost
from tgrad.registry import OPS, Op

KERNELS = ("pointwise", "kernel", "update")  # kinds of ops that have kernels of their own


class Options(NamedTuple):
    """What is noted of each event beside its times."""

    device: bool = True  # time on the GPU's stream
    shapes: bool = False
    memory: bool = False
    stack: bool = False


class Event:
    """One call of an op, or one block that :class:`record_function` names.

    ``start`` and ``end`` in ns of ``time.perf_counter_ns``; ``device_us`` is the time between its
    first and its last launch on the stream, None on the CPU; ``bytes`` are those that must move at
    least, ``flops`` those of matrix products. ``memory`` is what was allocated and not freed.
    """

    __slots__ = ("bytes", "children_ns", "device_start_us", "device_us", "dtype", "end", "flops",
                 "kind", "marks", "memory", "memory_children", "name", "parent", "shapes", "stack",
                 "start", "thread")  # fmt: skip

    def __init__(self, name: str, kind: str, parent: Event | None):
        self.name, self.kind, self.parent = name, kind, parent
        self.thread = threading.get_ident()
        self.start = self.end = self.children_ns = 0
        self.bytes = self.flops = self.memory = self.memory_children = 0
        self.device_us: float | None = None
        self.device_start_us = 0.0
        self.marks: tuple[Any, Any] | None = None
        self.shapes: list[Any] = []
        self.dtype = ""
        self.stack = ""

    @property
    def total_us(self) -> float:
        return (self.end - self.start) / 1e3

    @property
    def self_us(self) -> float:
        """Without the time in events inside of it."""
        return (self.end - self.start - self.children_ns) / 1e3

    @property
    def self_memory(self) -> int:
        return self.memory - self.memory_children

    def __repr__(self) -> str:
        return f"<Event {self.name} {self.total_us:.1f} us>"


class _Open(threading.local):
    """This thread's events that have not ended, the innermost last."""

    def __init__(self) -> None:
        self.events: list[Event] = []


class Recorder:
    """Notes events between :meth:`begin` and :meth:`finish`; one at a time in a process."""

    active: Recorder | None = None

    def __init__(self, options: Options):
        self.options = options
        self.events: list[Event] = []
        self.open = _Open()
        self.base: tuple[int, Any] | None = None  # host time and mark of the same moment
        self.layer = functools.partial(around, self)

    def begin(self) -> None:
        if Recorder.active is not None:
            raise RuntimeError("a profiler is running already: stop it before another starts")
        Recorder.active = self
        interception.put(self.layer, watched())

    def finish(self) -> None:
        """Stop; device times are read now, which waits for the GPU."""
        interception.remove(self.layer)
        Recorder.active = None
        marked = [e for e in self.events if e.marks is not None]
        if marked:
            cuda.synchronize()
        for e in marked:
            assert e.marks is not None and self.base is not None
            e.device_us = e.marks[0].elapsed_time(e.marks[1]) * 1e3
            e.device_start_us = self.base[0] / 1e3 + self.base[1].elapsed_time(e.marks[0]) * 1e3
            e.marks = None

    def enter(self, name: str, kind: str) -> Event:
        open_ = self.open.events
        event = Event(name, kind, open_[-1] if open_ else None)
        if self.options.stack:
            event.stack = caller()
        if self.options.memory:
            event.memory = -allocated()
        open_.append(event)
        event.start = time.perf_counter_ns()
        return event

    def leave(self, event: Event) -> None:
        event.end = time.perf_counter_ns()
        self.open.events.pop()
        if self.options.memory:
            event.memory += allocated()
        if event.parent is not None:
            event.parent.children_ns += event.end - event.start
            event.parent.memory_children += event.memory
        self.events.append(event)

    def mark(self) -> Any:
        """The present moment of the current stream."""
        if self.base is None:
            cuda.synchronize()
            first = cuda.Event(enable_timing=True)
            first.record()
            self.base = time.perf_counter_ns(), first
        made = cuda.Event(enable_timing=True)
        made.record()
        return made


def around(recorder: Recorder, entry: Op, call: Callable[..., Any], *args: Any, **kwargs: Any):
    """The layer: ``call`` with its event."""
    timed = recorder.options.device and entry.kind in KERNELS and on_gpu(args)
    start = recorder.mark() if timed else None
    event = recorder.enter(entry.name, entry.kind)
    try:
        result = call(*args, **kwargs)
    finally:
        recorder.leave(event)
    if start is not None:
        event.marks = start, recorder.mark()
    describe(event, entry, args, kwargs, result, recorder.options.shapes)
    return result


def on_gpu(values: Sequence[Any]) -> bool:
    """Whether the first tensor is on a GPU whose stream is not being captured."""
    for x in values:
        if isinstance(x, (list, tuple)):
            x = x[0] if x else None
        if isinstance(x, Variable):
            return x.device.type == "cuda" and not cuda.is_current_stream_capturing()
    return False


def describe(
    event: Event, entry: Op, args: tuple, kwargs: dict[str, Any], result: Any, shapes: bool
) -> None:
    """Note the call's cost, dtype and shapes. Views and composites cost nothing of their own."""
    inputs = arrays([*args, *kwargs.values()])
    if entry.kind in KERNELS:
        outputs = arrays([result])
        if entry.kind == "update":  # writes its inputs, but for the gradients
            outputs = arrays([args[i] for k, i in enumerate(entry.tensors) if k != 1])
        found = cost(entry.name, outputs, inputs)
        event.bytes, event.flops = found.bytes, found.flops
        floating = [a for a in inputs if a.dtype.kind in "fcV"] or inputs or outputs
        event.dtype = str(floating[0].dtype) if floating else ""
    if shapes:
        event.shapes = [shape_of(x) for x in args]


def arrays(values: Sequence[Any]) -> list[Any]:
    """The arrays of the tensors among values, lists flattened."""
    found: list[Any] = []
    for v in values:
        if isinstance(v, Variable):
            found.append(v.array)
        elif isinstance(v, (list, tuple)):
            found += arrays(v)
    return found


def shape_of(x: Any) -> Any:
    if isinstance(x, Variable):
        return list(x.array.shape)
    return [shape_of(v) for v in x] if isinstance(x, (list, tuple)) else []


def allocated() -> int:
    """Bytes held on the host and, once it was used, on the GPU."""
    return cpu.memory_allocated() + (cuda.memory_allocated() if cuda.is_initialized() else 0)


def caller() -> str:
    """File and line of the nearest frame outside of the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tgrad"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}({frame.f_lineno}): {frame.f_code.co_name}"


class _InPlace:
    """What the layer needs to know of a ``name_`` method, which is no entry of the registry."""

    def __init__(self, name: str, entry: Op, function: Callable[..., Any]):
        self.name, self.kind, self.tensors, self.function = (
            name,
            entry.kind,
            entry.tensors,
            function,
        )


def watched() -> list[Any]:
    """Every op, and the in-place form of each that has one."""
    found: list[Any] = list(OPS.values())
    for entry in OPS.values():
        method = vars(tgrad.Tensor).get(entry.name + "_")
        if method is not None and entry.name + "_" not in OPS:
            found.append(_InPlace(entry.name + "_", entry, method))
    return found


class record_function:
    """``with record_function("name"):`` or a decorator: a block with an event of its own.

    Costs nothing worth naming while no profiler runs.
    """

    def __init__(self, name: str, args: str | None = None):
        self.name = name
        self.opened: tuple[Recorder, Event] | None = None

    def __enter__(self) -> record_function:
        recorder = Recorder.active
        if recorder is not None:
            self.opened = recorder, recorder.enter(self.name, "user")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        if self.opened is not None:
            recorder, event = self.opened
            self.opened = None
            recorder.leave(event)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return call
