"""Copies with conversion."""

from __future__ import annotations

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.moves import move


@kernel("copy", "cpu")
def copy(y, x, dtype=None):
    move(y, x)


@kernel("_overwrite", "cpu")
def _overwrite(y, x, source):
    move(y, source)
