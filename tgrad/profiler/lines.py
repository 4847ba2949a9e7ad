"""``TGRAD_TRACE=1``: one line for each launch as it happens, with the rate that it reached."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from tgrad import cuda, interception
from tgrad.profiler.recorder import KERNELS, Event, Options, Recorder, describe, on_gpu, watched
from tgrad.profiler.summary import duration, size
from tgrad.registry import Op


class trace:
    """Print a line for each op that has a kernel, until :meth:`stop`; also a ``with`` block.

    Each op on a GPU is waited for: rates are those of its launches, the program is slower.
    """

    def __init__(self, file: TextIO | None = None):
        self.file = file
        self.recorder = Recorder(Options())
        interception.put(self.layer, watched())

    def layer(self, entry: Op, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if entry.kind not in KERNELS:
            return call(*args, **kwargs)
        marks = [self.recorder.mark()] if on_gpu(args) else []
        event = self.recorder.enter(entry.name, entry.kind)
        try:
            result = call(*args, **kwargs)
        finally:
            self.recorder.leave(event)
            self.recorder.events.clear()
        if marks:
            marks.append(self.recorder.mark())
            cuda.synchronize()
            event.device_us = marks[0].elapsed_time(marks[1]) * 1e3
        describe(event, entry, args, kwargs, result, shapes=True)
        print(line(event), file=self.file or sys.stderr)
        return result

    def stop(self) -> None:
        interception.remove(self.layer)

    def __enter__(self) -> trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def shown(shape: list[Any]) -> str:
    """A tensor's sizes as 2x3, a list of tensors as their number."""
    several = isinstance(shape[0], list)
    return f"[{len(shape)} tensors]" if several else "x".join(map(str, shape))


def line(e: Event) -> str:
    """Name, dtype, inputs' shapes, time where the work was done, and rates."""
    us = e.self_us if e.device_us is None else e.device_us
    shapes = " ".join(map(shown, filter(None, e.shapes)))
    text = f"{e.name:24} {e.dtype:9} {shapes:32} {duration(us):>11}  {size(e.bytes):>9}"
    if us:
        text += f"  {e.bytes / us / 1e3:8.1f} GB/s"
        if e.flops:
            text += f"  {e.flops / us / 1e6:7.3f} TFLOP/s"
    return text
