"""What is current in a thread: its GPU, and on each GPU its stream and where memory comes from.

Apart from the runtimes, so that the lowest layers can ask which GPU "cuda" means.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgrad.device import device

DEFAULT_STREAM = 1  # CUDA's legacy default stream, PyTorch's default too: libraries meet there


class Place:
    """A GPU as one thread uses it.

    ``stream`` is the handle of the current stream. ``heap`` (of runtime.pool) is where
    allocations come from; None until the first, and again whenever the stream changes. ``sink`` is
    the runtime.plan.Recording of the op that is being recorded, if one is.
    """

    __slots__ = ("heap", "index", "sink", "stream")

    def __init__(self, index: int):
        self.index, self.stream = index, DEFAULT_STREAM
        self.heap: Any = None
        self.sink: Any = None


class _Here(threading.local):
    """``place`` is the current one of ``places``. ``bound`` is the index of the GPU whose context
    the runtime last made current in this thread, or -1."""

    def __init__(self) -> None:
        self.places = {0: Place(0)}
        self.place = self.places[0]
        self.bound = -1


here = _Here()


def place_of(index: int) -> Place:
    """This thread's place on a GPU."""
    found = here.places.get(index)
    if found is None:
        found = here.places[index] = Place(index)
    return found


class on:
    """``with on(index):`` that GPU is the current one of this thread."""

    __slots__ = ("before", "index")

    def __init__(self, index: int):
        self.index = index

    def __enter__(self) -> Place:
        self.before = here.place
        here.place = place = place_of(self.index)
        return place

    def __exit__(self, *exc: object) -> None:
        here.place = self.before


def at(where: device) -> contextlib.AbstractContextManager[Any]:
    """``with at(x.device):`` memory and launches are that device's, whichever is current."""
    return contextlib.nullcontext() if where.type == "cpu" else on(where.index or 0)


def is_elsewhere(where: device) -> bool:
    """Whether ``where`` is a GPU, and not the thread's current one."""
    return where.type == "cuda" and where.index != here.place.index
