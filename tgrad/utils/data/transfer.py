"""Moving whole batches: to page-locked memory, to a device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

from tgrad.device import device
from tgrad.runtime import stream
from tgrad.tensor import Tensor


def mapped(data: Any, function: Callable[[Tensor], Tensor], method: str | None = None) -> Any:
    """``data`` with ``function`` of every tensor, in the same containers.

    Objects of other classes answer to ``method`` if they have it, else they stay.
    """
    if isinstance(data, Tensor):
        return function(data)
    if method is not None and hasattr(data, method):
        return getattr(data, method)()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        parts = {k: mapped(v, function, method) for k, v in data.items()}
        try:
            if isinstance(data, MutableMapping):
                made = copy.copy(data)  # with whatever else the class holds
                made.update(parts)
                return made
            return type(data)(parts)  # pyright: ignore[reportCallIssue]
        except TypeError:
            return parts
    if isinstance(data, tuple):
        items = [mapped(v, function, method) for v in data]
        return type(data)(*items) if hasattr(data, "_fields") else type(data)(items)
    if isinstance(data, Sequence):
        items = [mapped(v, function, method) for v in data]
        try:
            if isinstance(data, MutableSequence):
                made = copy.copy(data)
                made[:] = items
                return made
            return type(data)(items)  # pyright: ignore[reportCallIssue]
        except TypeError:  # a class with another constructor, such as range
            return items
    return data


def pin_memory(data: Any) -> Any:
    """A batch in page-locked memory, from which a GPU copies without waiting."""
    return mapped(data, lambda t: t.pin_memory(), "pin_memory")


class Mover:
    """Copies batches to a device: to a GPU on a stream of its own, beside what the GPU computes.

    What the program computes next waits, on the GPU, for the copy of the batch that it was given.
    """

    def __init__(self, where: device):
        self.where = where
        self.stream: stream.Stream | None = None  # made with the first batch: it starts the driver

    def start(self, data: Any) -> tuple[Any, stream.Event | None]:
        """A batch on its way, and what its copies are done by."""
        if self.where.type != "cuda":
            return mapped(data, lambda t: t.to(self.where)), None
        if self.stream is None:
            self.stream = stream.Stream(self.where)
        with self.stream:
            moved = mapped(data, lambda t: t.to(self.where, non_blocking=True))
        return moved, self.stream.record_event()

    def finish(self, data: Any, copied: stream.Event | None) -> Any:
        """The batch for the current stream to use."""
        if copied is not None:
            using = stream.current_stream(self.where)
            copied.wait(using)
            mapped(data, lambda t: self._keep(t, using))
        return data

    def _keep(self, t: Tensor, using: stream.Stream) -> Tensor:
        if t.device is self.where:  # its memory is the copy stream's, and used by another
            t.record_stream(using)
        return t
