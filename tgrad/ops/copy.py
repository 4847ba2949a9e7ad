"""Copies and conversions: the one op behind clone, contiguous, to, copy_ and type casts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.graph import Node, rebase_history, set_history
from tgrad.autograd.variable import Variable
from tgrad.device import device as Device
from tgrad.device import resolve
from tgrad.dispatch import (
    OPS,
    Spec,
    check_inplace,
    composite,
    gradient,
    op,
    run_inplace,
    wrap,
)
from tgrad.dtypes import python_dtype
from tgrad.layout import axis_order
from tgrad.pointwise import broadcast
from tgrad.runtime import cuda as runtime
from tgrad.runtime.array import is_contiguous
from tgrad.runtime.current import at

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


@op(spaces=())
def copy(x: Tensor, dtype: dtype) -> Spec:
    """A contiguous copy of x converted to ``dtype``: truncating, non-zero is True."""
    return Spec(x.shape, dtype)


@gradient(copy)
def _(g, x_spec):
    return copy(g, x_spec.dtype)


@op(spaces=(), inplace="direct")
def _overwrite(x: Tensor, source: Tensor) -> Spec:
    """x with every element replaced by ``source``, broadcast and converted."""
    return Spec(x.shape, x.dtype)


@gradient(_overwrite)
def _(g):
    return None, g


class MoveBackward(Node):
    """The node of a copy to another device; the engine brings the gradient back."""

    __slots__ = ()

    def apply(self, gs: list[Tensor | None]) -> list[Tensor | None]:
        return gs


@composite(spaces=())
def to_device(input: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """The tensor itself where it lives on ``device``, else a contiguous copy there.

    ``non_blocking``: a copy from page-locked memory reads it after this returns, and one to the CPU
    is in page-locked memory and there after a synchronisation.
    """
    where = resolve(device)
    if where is input.device:
        return input
    gpu = runtime.active()
    if where.index is not None and where.index >= gpu.device_count():
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: {where} of {gpu.device_count()} device(s)"
        )
    a = input.array
    if isinstance(a, np.ndarray):
        with at(where):
            moved = gpu.from_host(a, non_blocking)
    else:
        moved = (
            gpu.to_host(a, non_blocking)
            if where.type == "cpu"
            else gpu.to_device(a, where.index or 0)
        )
    result = wrap(moved, where)
    if mode.enabled and input.tracked:
        meta = (moved.shape, moved.dtype, where)
        set_history([result], MoveBackward([input.edge()], [meta]))
    return result


@composite(spaces=("Tensor",))
def to(input: Tensor, *args: object, **kwargs: object) -> Tensor:
    """Another dtype and/or device: ``to(dtype)``, ``to(device, dtype)`` or ``to(other)``, each
    followed by ``non_blocking, copy``; or all by keyword.

    The tensor itself where nothing changes and ``copy`` is not set. ``memory_format`` orders the
    axes of the result.
    Raises: TypeError for arguments of other types or unknown names.
    """
    dtype, device, non_blocking, copied, format = conversion(args, kwargs)
    result = input
    if dtype is not None and dtype is not input.dtype:
        result = copy(result, dtype)
    if device is not None:
        result = to_device(result, device, non_blocking)
    if format is not None:
        result = contiguous(result, format)
    return copy(result, result.dtype) if copied and result is input else result


def conversion(args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any, bool, bool, object]:
    """(dtype, device, non_blocking, copy, memory_format) of a call of ``to``; None: it stays."""
    names = set(kwargs) - {"dtype", "device", "other", "non_blocking", "copy", "memory_format"}
    if names:
        raise TypeError(f"to() got an unexpected keyword argument '{names.pop()}'")
    dtype, device, other = (kwargs.get(name) for name in ("dtype", "device", "other"))
    rest = list(args)
    if rest and isinstance(rest[0], Variable):
        other = rest.pop(0)
    elif rest and is_place(rest[0]):
        device = rest.pop(0)
        if rest and not isinstance(rest[0], bool):
            dtype = rest.pop(0)
    elif rest and not isinstance(rest[0], bool):
        dtype = rest.pop(0)
    if len(rest) > 2 or not all(isinstance(flag, bool) for flag in rest):
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(
            f"to(): expected (dtype), (device, dtype) or (other), then two bools, got ({kinds})"
        )
    if other is not None:
        dtype, device = other.dtype, other.device
    if dtype is not None:
        dtype = python_dtype("to", dtype)
    non_blocking = rest[0] if rest else kwargs.get("non_blocking", False)
    copied = kwargs.get("copy", False) if len(rest) < 2 else rest[1]
    return dtype, device, bool(non_blocking), bool(copied), kwargs.get("memory_format")


def is_place(a: object) -> bool:
    """Whether ``a`` may name a device."""
    return a is None or (isinstance(a, (str, int, Device)) and not isinstance(a, bool))


@composite
def clone(input: Tensor, *, memory_format: object = None) -> Tensor:
    """A copy that gradients flow through, row-major unless ``memory_format`` says otherwise."""
    order = axis_order(memory_format, input.ndim)
    if order is None:
        return copy(input, input.dtype)
    return copy(input.permute(order), input.dtype).permute(inverse(order))


@composite(spaces=("Tensor",))
def contiguous(input: Tensor, memory_format: object = None) -> Tensor:
    """The tensor itself where its elements lie in the order of ``memory_format`` (row-major unless
    given), else a copy that does.

    Raises: RuntimeError for a format of another rank.
    """
    if memory_format is None:
        return input if is_contiguous(input.array) else copy(input, input.dtype)
    return (
        input if input.is_contiguous(memory_format) else clone(input, memory_format=memory_format)
    )


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes ``order``."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


@composite(spaces=("Tensor",))
def to_dtype(input: Tensor, dtype: dtype) -> Tensor:
    """The tensor itself where it has that dtype, else a converted copy."""
    return input if input.dtype is dtype else copy(input, dtype)


@composite(spaces=("Tensor",))
def sum_to_size(input: Tensor, *size: int) -> Tensor:
    """Undo a broadcast from ``size``: sum over new and repeated dims.

    Raises: RuntimeError if ``size`` does not broadcast to the input's shape.
    """
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    if shape == input.shape:
        return input
    extra = input.ndim - len(shape)
    pairs = list(zip(input.shape[max(extra, 0) :], shape, strict=extra >= 0))
    if extra < 0 or any(n not in (m, 1) for m, n in pairs):
        raise RuntimeError(
            f"size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}."
        )
    repeated = tuple(extra + i for i, (m, n) in enumerate(pairs) if m != n)
    axes = (*range(extra), *repeated)
    return OPS["_sum"].function(input, axes, True, input.dtype).reshape(shape)


@composite(spaces=("Tensor",))
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write ``src``, broadcast and converted, over this tensor's elements, across devices too.

    ``non_blocking``: a copy between a GPU and page-locked memory, of the same shape and dtype, goes
    on after this returns.
    Raises: RuntimeError if ``src`` does not broadcast to this shape.
    """
    if not isinstance(src, Variable):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if broadcast("copy_", (input.shape, src.shape)) != input.shape:
        raise RuntimeError(
            f"copy_: output with shape {list(input.shape)} doesn't match the broadcast shape of "
            f"{list(src.shape)}"
        )
    if src.device is not input.device:
        if non_blocking and is_streamed(input, src):
            check_inplace("copy_", input)
            runtime.active().copy_to_host(input.array, src.array)  # pyright: ignore[reportArgumentType]
            rebase_history(input, None)
            return input
        src = src.to(input.device, non_blocking=non_blocking and input.is_cuda)
    return run_inplace(OPS["_overwrite"], (input, src))


def is_streamed(x: Tensor, source: Tensor) -> bool:
    """Whether ``source``'s elements can be copied from a GPU into ``x`` as they are, later."""
    a, b = x.array, source.array
    return (
        (x.is_cpu and x.is_pinned() and is_contiguous(a) and a.shape == b.shape)
        and x.dtype is source.dtype
        and not (x.tracked or (source.tracked and mode.enabled))
    )


def _conversion(name: str, dtype: dtype) -> None:
    def convert(input: Tensor, memory_format: object = None) -> Tensor:
        return to_dtype(input, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor in {dtype.name}; itself where it is that already."
    composite(spaces=("Tensor",))(convert)


for _name, _dtype in {**dtypes.ALIASES, "bfloat16": dtypes.bfloat16, "byte": dtypes.uint8,
                      "char": dtypes.int8}.items():  # fmt: skip
    _conversion(_name, _dtype)


@composite(spaces=("Tensor",))
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of ``other``."""
    return to_dtype(input, other.dtype)


@composite(spaces=("Tensor",))
def cpu(input: Tensor, memory_format: object = None) -> Tensor:
    """The tensor on the CPU; itself where it is there."""
    return to_device(input, "cpu")


@composite(spaces=("Tensor",))
def cuda(input: Tensor, device: object = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a GPU; itself where it is there."""
    return to_device(input, "cuda" if device is None else device, non_blocking)
