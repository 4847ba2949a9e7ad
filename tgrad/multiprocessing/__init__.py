"""``tgrad.multiprocessing``: Python's ``multiprocessing``, whose messages share tensors' memory.

A CPU tensor that goes through a queue or a pipe, or to a process that is started otherwise than by
fork, is the same memory on both sides, if nothing else lay over it or ``share_memory_()`` was
called before; else the receiver has a copy of its own. The memory has no name, so that nothing can
be left behind. A process that sent a tensor must live until it was received.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403

from tgrad.multiprocessing.processes import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    spawn,
    start_processes,
)
from tgrad.multiprocessing.reductions import init_reductions

__all__ = [
    "ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException",
    "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn",
    "start_processes", *multiprocessing.__all__,
]  # fmt: skip

STRATEGIES = {"file_descriptor", "file_system"}


class _Strategy:
    name = "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Kept and read back: memory is shared by descriptors under either name, and has no place in
    the file system. Raises AssertionError for another name."""
    if new_strategy not in STRATEGIES:
        raise AssertionError(
            f"invalid sharing strategy {new_strategy!r}, expected one of {sorted(STRATEGIES)}"
        )
    _Strategy.name = new_strategy


def get_sharing_strategy() -> str:
    """What :func:`set_sharing_strategy` was last given; "file_descriptor" at first."""
    return _Strategy.name


def get_all_sharing_strategies() -> set[str]:
    """The names that :func:`set_sharing_strategy` takes."""
    return set(STRATEGIES)


init_reductions()
