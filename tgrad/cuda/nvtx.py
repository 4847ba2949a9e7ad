"""Names for stretches of a program in NVIDIA's profilers, through the ``nvtx`` package."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


class _Depth(threading.local):
    pushed = 0


_depth = _Depth()


def _nvtx() -> Any:
    try:
        return importlib.import_module("nvtx")
    except ImportError as error:
        raise RuntimeError("NVTX functions not installed: pip install nvtx") from error


def range_push(msg: str) -> int:
    """Begin a range of this thread; returns how many it lies in. Raises RuntimeError without the
    package."""
    _nvtx().push_range(msg)
    _depth.pushed += 1
    return _depth.pushed - 1


def range_pop() -> int:
    """End the range of this thread that began last; returns how many it lay in."""
    _nvtx().pop_range()
    _depth.pushed = max(_depth.pushed - 1, 0)
    return _depth.pushed


def range_start(msg: str) -> Any:
    """Begin a range that any thread may end; returns what :func:`range_end` takes."""
    return _nvtx().start_range(msg)


def range_end(range_id: Any) -> None:
    """End a range of :func:`range_start`."""
    if range_id is not None:  # what the package gives where no profiler is attached
        _nvtx().end_range(range_id)


def mark(msg: str) -> None:
    """Name this moment."""
    _nvtx().mark(msg)


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range inside, called ``msg.format(*args, **kwargs)``."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
