"""Choosing kernels' configs by racing them: ``tgrad tune`` and :func:`tgrad.tune`.

``discover`` finds the cases, ``arms`` the configs that compete and what they compile to, ``race``
runs them, ``check`` holds winners against NumPy, ``table`` keeps everything, ``session`` goes
through it all. ``peaks`` and ``timing`` serve whoever measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgrad.tuner.session import Outcome

__all__ = ["tune"]


def tune(
    *kernels: str,
    run: Callable[[], Any] | None = None,
    shapes: str | Path | None = None,
    dtype: str | Sequence[str] = (),
    budget: float | None = None,
    jobs: int | None = None,
    most: int | None = None,
    again: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Race the configs of kernels for their shapes on the current GPU, and use the winners.

    The shapes are those that ``run()`` launches, those of the file ``shapes``, or of built-in
    samples; of the named ``kernels`` alone where any are. ``budget`` is in seconds for all of it,
    30 for each case unless said; ``jobs`` processes compile; up to ``most`` configs compete for a
    case. Cases that the table has are kept unless ``again``. The results are kept in the user's
    table (``TGRAD_TUNED``) and hold from the next launch on, in this process and in later ones.

    Raises: ValueError for an unknown kernel, dtype or shape; RuntimeError without a GPU, or while
    deterministic algorithms are required, which freezes choices.
    """
    from tgrad.tuner import session

    return session.tune(
        kernels, run, shapes, [dtype] if isinstance(dtype, str) else dtype, budget, jobs, most,
        again, progress,
    )  # fmt: skip
