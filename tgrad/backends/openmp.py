"""``tgrad.backends.openmp``."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """False: large arrays are shared among Python threads (``tgrad.set_num_threads``)."""
    return False
