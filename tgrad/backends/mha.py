"""``tgrad.backends.mha``: PyTorch's fast path of attention layers in evaluation."""

from __future__ import annotations

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]


class _Fastpath:
    enabled = True


def get_fastpath_enabled() -> bool:
    """What :func:`set_fastpath_enabled` was last given; True at first."""
    return _Fastpath.enabled


def set_fastpath_enabled(value: bool) -> None:
    """Kept and read back: layers compute by the same way in training and evaluation here."""
    _Fastpath.enabled = value
