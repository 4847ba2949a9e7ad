"""Functions of ``torch.special``: every op whose ``spaces`` name "special" is published here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import OPS

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...


globals().update({e.name: e.function for e in OPS.values() if "special" in e.spaces})
