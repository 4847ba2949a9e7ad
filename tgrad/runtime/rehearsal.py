"""Numbers that the host works out anew for each replay of a CUDA graph.

An optimiser's step is host code (count the step, ask the schedule for the learning rate) that ends
in launches with a few numbers. Recorded as they are, a replay would repeat the first step's. So the
recorded launches read their numbers from device memory; before each replay the host code runs
again without its launches, and the numbers that it would have launched with are written there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


class _Local(threading.local):
    recording: Rehearsal | None = None
    rehearsing: Rehearsal | None = None


_local = _Local()


class Rehearsal:
    """A piece of host code with the launches that it made while it was recorded.

    ``name`` is what errors call it. ``keep()`` notes what the code counts and returns a function
    that sets it back.
    """

    def __init__(self, name: str, run: Callable[[], None], keep: Callable[[], Callable[[], None]]):
        self.name, self.run, self.keep = name, run, keep
        self.launches: list[tuple[Any, CudaArray]] = []
        self.given: list[Sequence[float]] = []

    def record(self) -> None:
        """Run the code with its launches, inside a capture: nothing happens, so nothing counts."""
        restore = self.keep()
        _local.recording = self
        try:
            self.run()
        finally:
            _local.recording = None
            restore()

    def write(self) -> None:
        """Run it without them, and write what they would have been given.

        Raises: RuntimeError where the launches would not be those that were recorded; nothing has
        changed then.
        """
        restore = self.keep()
        self.given.clear()
        _local.rehearsing = self
        try:
            self.run()
            if len(self.given) != len(self.launches):
                self.differ()
        except BaseException:
            restore()
            raise
        finally:
            _local.rehearsing = None
        for (_, array), numbers in zip(self.launches, self.given, strict=True):
            cuda.active().copy_from_host(array, np.array(numbers, array.dtype))

    def differ(self) -> None:
        raise RuntimeError(
            f"{self.name}: the captured step updates other tensors, or by another rule, than a "
            "step would now (state loaded, parameters or settings changed). Capture it again."
        )


def numbers(key: Any, given: Sequence[float], dtype: np.dtype) -> Sequence[Any] | None:
    """What to launch with in place of the numbers ``given``: themselves, arrays of one element
    where a capture is recorded, or None where nothing is to be launched.

    ``key`` says which launch it is: the kernel and the tensors.
    """
    if _local.rehearsing is not None:
        rehearsal = _local.rehearsing
        i = len(rehearsal.given)
        if i >= len(rehearsal.launches) or rehearsal.launches[i][0] != key:
            rehearsal.differ()
        rehearsal.given.append(given)
        return None
    if _local.recording is None:
        return given
    array = cuda.active().empty((len(given),), dtype)
    _local.recording.launches.append((key, array))
    return [array[i] for i in range(len(given))]
