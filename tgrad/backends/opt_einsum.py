"""``tgrad.backends.opt_einsum``: the package, which tgrad does not use.

``tgrad.einsum`` always contracts the cheapest pair first, by itself. ``enabled`` is False and
``strategy`` None; to set them otherwise raises ValueError, as in PyTorch without the package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tgrad.backends.settings import Setting, install

__all__ = ["flags", "get_opt_einsum", "is_available"]

enabled: bool
strategy: str | None


def is_available() -> bool:
    """False: the package is not asked for the order of contractions."""
    return False


def get_opt_einsum() -> None:
    """None, in the place of the package."""


def _set_enabled(value: Any) -> None:
    if value:
        raise ValueError(
            "opt_einsum.enabled: expected False, since the package is not used; tgrad.einsum "
            f"orders contractions by itself, got {value!r}"
        )


def _set_strategy(value: Any) -> None:
    if value is not None:
        raise ValueError(
            "opt_einsum.strategy: expected None, since the package is not used; tgrad.einsum "
            f"orders contractions by itself, got {value!r}"
        )


@contextlib.contextmanager
def flags(enabled: bool | None = None, strategy: str | None = None) -> Iterator[None]:
    """Inside, the settings have these values. Raises ValueError for what cannot be set."""
    _set_enabled(enabled)
    _set_strategy(strategy)
    yield


install(
    __name__,
    enabled=Setting(lambda: False, _set_enabled),
    strategy=Setting(lambda: None, _set_strategy),
)
