"""The warning of ``tgrad.cuda.amp`` and ``tgrad.cpu.amp``."""

from __future__ import annotations

import warnings


def warn_of(old: str, new: str) -> None:
    """Warn the caller's caller that ``tgrad.old`` is an older name of ``tgrad.new``."""
    warnings.warn(
        f"tgrad.{old} is deprecated and may go; tgrad.{new} takes its place.",
        FutureWarning,
        stacklevel=3,
    )
