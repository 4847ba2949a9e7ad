"""Whether ops are recorded: thread-local switches and the context managers that set them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable)


class _Mode(threading.local):
    enabled = True
    inference = False
    anomaly = False
    anomaly_check_nan = True
    saved_hooks: tuple[Callable, Callable] | None = None


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether ops on tensors that require grad are recorded in this thread."""
    return mode.enabled


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on in this thread."""
    return mode.inference


class _Context:
    """Sets ``mode.enabled`` inside ``with`` or, used as a decorator, inside each call."""

    value: bool

    def __init__(self) -> None:
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.enabled)
        mode.enabled = self.value

    def __exit__(self, *exc: object) -> None:
        mode.enabled = self.previous.pop()

    def clone(self) -> _Context:
        return type(self)()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)

        return wrapped  # pyright: ignore[reportReturnType]


class no_grad(_Context):
    """Record nothing inside: results do not require grad. Context manager and decorator."""

    value = False

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        self = object.__new__(cls)
        if orig_func is None:
            return self
        self.__init__()
        return self(orig_func)


class enable_grad(no_grad):
    """Record inside, also within ``no_grad``. Context manager and decorator."""

    value = True


class set_grad_enabled(_Context):
    """``set_grad_enabled(mode)`` takes effect at once; as a context manager it is undone."""

    def __init__(self, mode: bool):
        super().__init__()
        self.value = bool(mode)
        self.outer = _current()
        _set(self.value)

    def __enter__(self) -> None:
        self.previous.append(self.outer)
        mode.enabled = self.value

    def clone(self) -> set_grad_enabled:
        return type(self)(self.value)

    def __call__(self, function: F) -> F:
        mode.enabled = self.outer  # a decorator acts inside the call only
        return super().__call__(function)


def _current() -> bool:
    return mode.enabled


def _set(value: bool) -> None:
    mode.enabled = value


class inference_mode(_Context):
    """``no_grad`` whose results may never enter a graph later."""

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.__init__()
            return self(mode)
        return self

    def __init__(self, mode: bool = True):
        super().__init__()
        self.inference = bool(mode)
        self.outer: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.enabled)
        self.outer.append(mode.inference)
        mode.inference = self.inference
        mode.enabled = mode.enabled and not self.inference

    def __exit__(self, *exc: object) -> None:
        mode.enabled = self.previous.pop()
        mode.inference = self.outer.pop()

    def clone(self) -> inference_mode:
        return type(self)(self.inference)
