"""Waits for the GPU that a program may not know of: told of, or refused, where it asks for that."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

MODES = {"default": 0, "warn": 1, "error": 2}
LIBRARY = str(Path(__file__).parents[1])


class _Mode:
    level = 0


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """ "warn" or 1: warn of each call that waits for the GPU; "error" or 2: raise RuntimeError in
    its place; "default" or 0: do neither.

    Such calls read a CUDA tensor on the host (``.item()``, ``.cpu()``, ``.tolist()``, printing, a
    mask as an index, ``nonzero``, an op without a CUDA kernel), copy from page-locked memory
    without ``non_blocking``, or are ``Stream.synchronize``. ``tgrad.cuda.synchronize`` and events
    wait unhindered, as in PyTorch.
    Raises: RuntimeError for another mode.
    """
    level = MODES.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if isinstance(level, bool) or level not in MODES.values():
        raise RuntimeError(
            "set_sync_debug_mode: invalid value of debug_mode, expected one of `default`, `warn`, "
            f"`error`, 0, 1 or 2, got {debug_mode!r}"
        )
    _Mode.level = level


def get_sync_debug_mode() -> int:
    """What :func:`set_sync_debug_mode` was last given, as a number; 0 at first."""
    return _Mode.level


def told(what: str) -> None:
    """Warn or raise, if the program asks for it, because ``what`` is about to wait for the GPU."""
    if not _Mode.level:
        return
    text = f"called a synchronizing CUDA operation: {what}"
    if _Mode.level == 2:
        raise RuntimeError(text)
    warnings.warn(text, UserWarning, stacklevel=_calls_inside() + 1)


def _calls_inside() -> int:
    """How many calls up from :func:`told` are the library's own."""
    depth, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARY):
        depth, frame = depth + 1, frame.f_back
    return depth - 1
