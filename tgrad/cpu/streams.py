"""Streams of the CPU: for programs that are written for any device, since nothing waits here.

Work on the CPU is done when the call returns, so that every wait is over before it begins.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Event", "Stream", "StreamContext", "current_stream", "stream"]


class Stream:
    """A name for the order in which calls are made anyway."""

    def __init__(self, priority: int = -1):
        del priority

    def wait_stream(self, stream: Any) -> None:
        """That stream's work is done."""

    def record_event(self) -> None:
        """All work is done."""

    def wait_event(self, event: Any) -> None:
        """What the event stands for is done."""

    def synchronize(self) -> None:
        """All work is done."""


class Event:
    """A point in the order of calls, which is past."""

    def query(self) -> bool:
        """True: the work before it is done."""
        return True

    def record(self, stream: Any = None) -> None:
        """The work before it is done."""

    def synchronize(self) -> None:
        """The work before it is done."""

    def wait(self, stream: Any = None) -> None:
        """The work before it is done."""


class _Current:
    stream = Stream()


def current_stream(device: object = None) -> Stream:
    """The stream that :class:`StreamContext` chose, or the first one."""
    return _Current.stream


class StreamContext:
    """Inside, :func:`current_stream` is ``stream``; None changes nothing."""

    def __init__(self, stream: Stream | None):
        self.stream = stream

    def __enter__(self) -> None:
        self.before = _Current.stream
        if self.stream is not None:
            _Current.stream = self.stream

    def __exit__(self, *exc: object) -> None:
        _Current.stream = self.before


def stream(stream: Stream | None) -> StreamContext:
    """A :class:`StreamContext` of ``stream``."""
    return StreamContext(stream)
