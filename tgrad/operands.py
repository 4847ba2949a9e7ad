"""What a pointwise call works out before anything is allocated: shape, dtypes, device, operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import device

if TYPE_CHECKING:
    from tgrad.pointwise import Pointwise

NUMBER = (int, float, complex, bool, np.number, np.bool_)


def broadcast(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape. Raises RuntimeError naming the first pair that does not broadcast."""
    shape = shapes[0]
    for other in shapes[1:]:
        if other == shape:
            continue
        extra = len(shape) - len(other)
        a, b = ((1,) * -extra + shape, other) if extra < 0 else (shape, (1,) * extra + other)
        for i, (m, n) in enumerate(zip(a, b, strict=True)):
            if m != n and m != 1 and n != 1:
                raise RuntimeError(
                    f"{name}: The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                    f"non-singleton dimension {i}"
                )
        shape = tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))
    return shape


class Plan:
    """What a call works out before anything is allocated."""

    __slots__ = ("compute", "operands", "shape", "results", "where")  # noqa: RUF023 - order of use


def plan(entry: Pointwise, args: tuple) -> Plan:
    """Check devices, dtypes and shapes; choose the dtype to compute in and the results'."""
    dims, zeros, scalars, shapes = [], [], [], []
    where: device | None = None
    for i in entry.tensors:
        a = args[i]
        if isinstance(a, Variable):
            shape = a.array.shape
            (dims if shape else zeros).append(a.dtype)
            shapes.append(shape)
            if where is None or (where is not a.device and where.type == "cpu" and _movable(args)):
                where = a.device
            elif a.device is not where and not (a.device.type == "cpu" and not shape):
                raise RuntimeError(
                    f"{entry.name}: Expected all tensors to be on the same device, but found at "
                    f"least two devices, {where} and {a.device}!"
                )
        elif isinstance(a, NUMBER):
            scalars.append(dtypes.scalar_dtype(a))
        elif a is not None or entry.signature.parameters[entry.names[i]].default is not None:
            raise TypeError(
                f"{entry.name}(): argument '{entry.names[i]}' must be Tensor or Number, "
                f"not {type(a).__name__}"
            )
    if where is None:
        raise TypeError(f"{entry.name}(): expected at least one Tensor")
    if entry.refuses_bool and dtypes.bool_ in (*dims, *zeros, *scalars):
        raise RuntimeError(
            f"{entry.name}: a bool tensor is not supported; to invert a mask use ~ or logical_not()"
        )
    p = Plan()
    common = dtypes.combine(tuple(dims), tuple(zeros), tuple(scalars))
    if common.category not in entry.accepts:
        raise NotImplementedError(f"\"{entry.name}\" not implemented for '{common.name}'")
    if common.category < dtypes.FLOAT and "float" in entry.results:
        common = dtypes.get_default_dtype()
    kinds = {"bool": dtypes.bool_, "int32": dtypes.int32, "real": common.to_real()}
    p.results = [kinds.get(rule, common) for rule in entry.results]
    half = common is dtypes.float16 or common is dtypes.bfloat16
    p.compute = dtypes.float32 if half else common
    p.shape = broadcast(entry.name, shapes)
    p.where = where
    p.operands = [operand(entry, i, a, p.compute, where) for i, a in enumerate(args)]
    return p


def _movable(args: tuple) -> bool:
    """Whether every CPU tensor among ``args`` is 0-d, so that the call may run on a GPU."""
    return all(
        not a.array.shape for a in args if isinstance(a, Variable) and a.device.type == "cpu"
    )


def operand(entry: Pointwise, i: int, a: Any, compute: dtypes.dtype, where: device) -> Any:
    """An array, or a :class:`dtypes.Scalar` in the dtype that the expression computes in."""
    if isinstance(a, Variable):
        if a.device is where:
            return a.array
        a = a.array.item()  # pyright: ignore[reportAttributeAccessIssue]
    if compute.category == dtypes.INT:  # wraps, as a tensor's elements do
        return dtypes.Scalar(int(np.asarray(int(a)).astype(compute.numpy)), compute)
    if i in entry.params and compute.category < dtypes.FLOAT and a != a // 1:
        return dtypes.Scalar(a, dtypes.scalar_dtype(a))
    kind = (bool, int, float, complex)[compute.category]
    return dtypes.Scalar(kind(a), compute)
