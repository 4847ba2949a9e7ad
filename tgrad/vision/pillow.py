"""Pillow, which is optional: it is imported where an image of its kind is made or read."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def pillow(user: str, module: str = "Image") -> Any:
    """Pillow's ``module``. Raises ImportError that tells how to install it."""
    try:
        return importlib.import_module(f"PIL.{module}")
    except ModuleNotFoundError as e:
        if e.name not in ("PIL", f"PIL.{module}"):
            raise
        raise ImportError(f"{user} needs Pillow: pip install 'tgrad[vision]'") from None


def is_pillow(x: Any) -> bool:
    """Whether ``x`` is Pillow's image; false without importing Pillow where nobody else did."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(x, module.Image)
