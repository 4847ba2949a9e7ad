"""Settings that are attributes of a module: ``tgrad.backends.cudnn.benchmark = True``.

A module's class may be exchanged for one with descriptors, which then see assignments. As in
PyTorch, other names may be given to a module; only the objects of :class:`Fixed` refuse them.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any


def is_bool(value: object, setter: str) -> bool:
    """``value``. Raises RuntimeError, as PyTorch's setters do, unless it is a bool."""
    if not isinstance(value, bool):
        raise RuntimeError(f"{setter} expects a bool, but got {type(value).__name__}")
    return value


class Setting:
    """An attribute that is read and written by functions."""

    def __init__(self, getter: Callable[[], Any], setter: Callable[[Any], None]):
        self.getter, self.setter = getter, setter

    def __get__(self, module: object, kind: type) -> Any:
        return self.getter()

    def __set__(self, module: object, value: Any) -> None:
        self.setter(value)


def kept(value: bool, setter: str) -> Setting:
    """A bool that is kept and read back, and that nothing else depends on."""
    box = [value]

    def store(new: Any) -> None:
        box[0] = is_bool(new, setter)

    return Setting(lambda: box[0], store)


@contextlib.contextmanager
def given(settings: dict[str, Setting], **values: Any) -> Iterator[None]:
    """Inside, ``settings`` have these values; None changes nothing."""
    before = {name: settings[name].getter() for name in values}
    try:
        for name, value in values.items():
            if value is not None:
                settings[name].setter(value)
        yield
    finally:
        for name, value in before.items():
            settings[name].setter(value)


def install(module: str, **settings: Setting) -> None:
    """Make ``settings`` attributes of a module."""
    sys.modules[module].__class__ = type("Backend", (types.ModuleType,), settings)


class Fixed:
    """An object of settings: a subclass's. AttributeError for every other name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in dir(type(self)):
            raise AttributeError(f"Unknown attribute {name}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"Unknown attribute {name}")
