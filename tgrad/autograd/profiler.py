"""``tgrad.profiler`` by the path of older programs, imported when it is first used."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("profile", "record_function"):
        raise AttributeError(f"module 'tgrad.autograd.profiler' has no attribute '{name}'")
    from tgrad import profiler

    return getattr(profiler, name)
