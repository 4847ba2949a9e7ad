"""Nested values cut into one part a device, and put together again; gradients go the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad.device import CPU, resolve
from tgrad.device import device as Device
from tgrad.dispatch import OPS
from tgrad.tensor import Tensor

Where = int | str | Device


def place(where: Where) -> Device:
    """The device that is meant: a number is a GPU's index, -1 the CPU."""
    return CPU if isinstance(where, int) and where < 0 else resolve(where)


def is_namedtuple(obj: Any) -> bool:
    return isinstance(obj, tuple) and hasattr(obj, "_fields")


def like(obj: Any, parts: Any) -> Any:
    """A container of the kind of ``obj`` with ``parts``."""
    return type(obj)(*parts) if is_namedtuple(obj) else type(obj)(parts)


def scatter(inputs: Any, target_gpus: Sequence[Where], dim: int = 0) -> Any:
    """``inputs`` for each device: tensors in equal parts along ``dim``, all else as it is.

    Containers are taken apart; the number of parts is at most that of the devices. A device is a
    GPU's index or any device of tgrad. The copies are differentiable.
    """
    if isinstance(inputs, Tensor):
        parts = inputs.chunk(len(target_gpus), dim)
        return tuple(x.to(place(d)) for x, d in zip(parts, target_gpus, strict=False))
    if isinstance(inputs, dict) and inputs:
        items = scatter(list(inputs.items()), target_gpus, dim)
        return [type(inputs)(part) for part in items]
    if isinstance(inputs, (list, tuple)) and inputs:
        columns = zip(*[scatter(x, target_gpus, dim) for x in inputs], strict=False)
        return [like(inputs, column) for column in columns]
    return [inputs for _ in target_gpus]


def scatter_kwargs(
    inputs: tuple, kwargs: dict[str, Any] | None, target_gpus: Sequence[Where], dim: int = 0
) -> tuple[tuple, tuple]:
    """:func:`scatter` of both; the shorter is filled up with () or {}."""
    args = list(scatter(inputs, target_gpus, dim)) if inputs else []
    named = list(scatter(kwargs, target_gpus, dim)) if kwargs else []
    args += [()] * (len(named) - len(args))
    named += [{}] * (len(args) - len(named))
    return tuple(args), tuple(named)


def gather(outputs: Sequence[Any], target_device: Where, dim: int = 0) -> Any:
    """What each device computed as one value on ``target_device``: tensors joined along ``dim``.

    0-d tensors become a vector. Raises: ValueError for dicts of other sizes or tuples of other
    lengths.
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        moved = [x.to(place(target_device)) for x in outputs]
        moved = [x.reshape(1) if x.ndim == 0 else x for x in moved]
        return OPS["cat"].function(moved, dim)
    if first is None:
        return None
    join: Callable[[Sequence[Any]], Any] = lambda parts: gather(parts, target_device, dim)  # noqa: E731
    if isinstance(first, dict):
        if any(len(d) != len(first) for d in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((k, join([d[k] for d in outputs])) for k in first)
    return like(first, map(join, zip(*outputs, strict=True)))
