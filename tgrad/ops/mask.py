"""Filling and selecting by masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite, gradient
from tgrad.ops.creation import checked_number
from tgrad.ops.index import _index, nonzero, write
from tgrad.ops.view import _expand
from tgrad.pointwise import broadcast, pointwise, run_inplace, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@pointwise(spaces=())
def _masked_fill(x, mask, value):
    """value where mask, else x."""
    return xp.where(mask, value, x)


@gradient(_masked_fill, "x")
def _(g, mask):
    return _masked_fill(g, mask, 0)


@gradient(_masked_fill, "value")
def _(g, mask):
    return _masked_only(g, mask)


@pointwise(spaces=())
def _masked_only(x, mask):
    """x where mask, else 0."""
    return xp.where(mask, x, 0)


@gradient(_masked_only, "x")
def _(g, mask):
    return _masked_only(g, mask)


def _check_mask(name: str, mask: Tensor) -> None:
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"{name} only supports boolean masks, but got mask with dtype {mask.dtype.name}"
        )


def _value(name: str, x: Tensor, value: object) -> object:
    """``value`` as a number or 0-d tensor of x's dtype."""
    if not isinstance(value, Variable):
        number = checked_number(name, value, x.dtype)
        return int(number) if x.dtype.category == dtypes.INT else number  # pyright: ignore[reportArgumentType]
    if value.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} "
            "dimension(s)."
        )
    return value.to(device=x.device, dtype=x.dtype)


@composite
def masked_fill(input: Tensor, mask: Tensor, value: float | Tensor) -> Tensor:
    """``value``, a number or 0-d tensor, where the mask is True, else the input; both broadcast.

    dtype: the input's. Raises: RuntimeError unless the mask is bool, or for a value with dims.
    """
    _check_mask("masked_fill", mask)
    return _masked_fill(input, mask, _value("masked_fill", input, value))


@composite(spaces=("Tensor",))
def masked_fill_(input: Tensor, mask: Tensor, value: float | Tensor) -> Tensor:
    """Write ``value`` where the mask, which broadcasts to the input, is True."""
    _check_mask("masked_fill_", mask)
    return run_inplace(
        OPS["_masked_fill"],  # pyright: ignore[reportArgumentType]
        (input, mask, _value("masked_fill_", input, value)),
    )


@composite
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is True, in row-major order; both broadcast.

    Shape: (count,). Raises: RuntimeError unless the mask is bool and the shapes broadcast.
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast("masked_select", (input.shape, mask.shape))
    where = nonzero(_expand(mask, shape).reshape(-1), as_tuple=True)
    return _index(_expand(input, shape).reshape(-1), list(where), 0)


@composite
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The input with the elements where the mask is True replaced by the first ones of ``source``.

    Raises: RuntimeError unless the mask is bool, dtypes agree and source has enough elements.
    """
    shape = broadcast("masked_scatter", (input.shape, mask.shape))
    return masked_scatter_(_expand(input, shape).clone(), mask, source)


@composite(spaces=("Tensor",))
def masked_scatter_(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Write the elements of ``source``, in order, where the mask is True."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got dtype {mask.dtype.name}"
        )
    if input.dtype is not source.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes")
    if broadcast("masked_scatter_", (input.shape, mask.shape)) != input.shape:
        raise RuntimeError(
            f"masked_scatter_: mask of shape {list(mask.shape)} does not broadcast to "
            f"{list(input.shape)}"
        )
    where = nonzero(_expand(mask, input.shape), as_tuple=True)
    count = where[0].shape[0]
    if source.numel() < count:
        raise RuntimeError(
            f"masked_scatter: expected source to have at least {count} elements, got "
            f"{source.numel()}"
        )
    if not input.ndim:
        return input.copy_(source.reshape(-1).select(0, 0)) if count else input
    return write(input, list(where), source.reshape(-1).narrow(0, 0, count), 0, False)
