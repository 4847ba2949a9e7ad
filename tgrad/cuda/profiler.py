"""Which part of a program a profiler of the driver records, such as
``nsys profile --capture-range=cudaProfilerApi``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.runtime import cuda
from tgrad.runtime.current import here

__all__ = ["profile", "start", "stop"]


def start() -> None:
    """Let the attached profiler record from now on. The emulator has none.

    Raises: RuntimeError where there is no GPU, CudaError if the driver refuses.
    """
    _call("cuProfilerStart")


def stop() -> None:
    """Let the attached profiler record no more."""
    _call("cuProfilerStop")


def _call(name: str) -> None:
    runtime = cuda.active()
    if not runtime.is_emulated:
        with runtime.enter(here.place.index):
            runtime.driver.call(name)


@contextlib.contextmanager
def profile() -> Iterator[None]:
    """What is inside is recorded."""
    start()
    try:
        yield
    finally:
        stop()
