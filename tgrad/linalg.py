"""Functions of ``torch.linalg``: every op whose ``spaces`` name "linalg" is published here.

One whose short name means something else at the top is declared as ``linalg_norm``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import OPS
from tgrad.ops.linalg import LinAlgError as LinAlgError

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...


globals().update(
    {e.name.removeprefix("linalg_"): e.function for e in OPS.values() if "linalg" in e.spaces}
)
