"""Moving whole batches: to page-locked memory, to a device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

from tgrad.device import device
from tgrad.tensor import Tensor


def mapped(data: Any, function: Callable[[Tensor], Tensor], method: str | None = None) -> Any:
    """``data`` with ``function`` of every tensor, in the same containers.

    Objects of other classes answer to ``method`` if they have it, else they stay.
    """
    if isinstance(data, Tensor):
        return function(data)
    if method is not None and hasattr(data, method):
        return getattr(data, method)()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        parts = {k: mapped(v, function, method) for k, v in data.items()}
        try:
            if isinstance(data, MutableMapping):
                made = copy.copy(data)  # with whatever else the class holds
                made.update(parts)
                return made
            return type(data)(parts)  # pyright: ignore[reportCallIssue]
        except TypeError:
            return parts
    if isinstance(data, tuple):
        items = [mapped(v, function, method) for v in data]
        return type(data)(*items) if hasattr(data, "_fields") else type(data)(items)
    if isinstance(data, Sequence):
        items = [mapped(v, function, method) for v in data]
        try:
            if isinstance(data, MutableSequence):
                made = copy.copy(data)
                made[:] = items
                return made
            return type(data)(items)  # pyright: ignore[reportCallIssue]
        except TypeError:  # a class with another constructor, such as range
            return items
    return data


def pin_memory(data: Any) -> Any:
    """A batch in page-locked memory, from which a GPU copies without waiting."""
    return mapped(data, lambda t: t.pin_memory(), "pin_memory")


def to_device(data: Any, where: device) -> Any:
    """A batch on a device; the copy runs beside what the GPU computes."""
    return mapped(data, lambda t: t.to(where, non_blocking=True))
