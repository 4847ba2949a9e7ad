"""Parameters and buffers: tensors that a module owns."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import resolve
from tgrad.dispatch import wrap
from tgrad.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module registers as a weight when it is assigned as an attribute.

    It shares memory with ``data``. Results of ops on it are plain tensors.
    Raises: TypeError if ``data`` is not a tensor, RuntimeError if an integer tensor is to require
    grad.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Parameter:
        return object.__new__(cls)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        _share(self, data)
        if requires_grad:
            self.requires_grad_(True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_parameter, (wrap(self.array, self.device), self.requires_grad, type(self))

    def __repr__(self, **options: Any) -> str:
        return "Parameter containing:\n" + super().__repr__(**options)


class Buffer(Tensor):
    """A tensor that a module registers as a buffer when it is assigned as an attribute."""

    persistent: bool

    def __new__(cls, *args: object, **kwargs: object) -> Buffer:
        return object.__new__(cls)

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        _share(self, data)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_buffer, (wrap(self.array, self.device), self.persistent)


def _share(made: Tensor, data: Tensor | None) -> None:
    """Lay ``made`` over the memory of ``data``, outside any graph."""
    name = type(made).__name__
    if data is None:
        made.array = np.empty((0,), dtypes.get_default_dtype().numpy)
        made.device = resolve("cpu")
        return
    if not isinstance(data, Variable):
        raise TypeError(f"{name}: expected a Tensor, got {type(data).__name__}")
    made.array, made.device = data.array, data.device
    made.counter = data.version_counter()


def _rebuild_parameter(
    data: Tensor, requires_grad: bool, kind: type[Parameter] = Parameter
) -> Parameter:
    return kind(data, requires_grad)


def _rebuild_buffer(data: Tensor, persistent: bool) -> Buffer:
    return Buffer(data, persistent=persistent)


def empty_state() -> OrderedDict[str, Any]:
    """A state_dict without entries; ``_metadata`` holds each module's version."""
    state: OrderedDict[str, Any] = OrderedDict()
    state._metadata = OrderedDict()  # pyright: ignore[reportAttributeAccessIssue]
    return state
