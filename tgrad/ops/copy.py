"""Copies and conversions: the one op behind clone, contiguous, to, copy_ and type casts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, gradient, op, run_inplace
from tgrad.pointwise import broadcast
from tgrad.runtime.array import is_contiguous

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


@composite
def clone(input: Tensor, *, memory_format: object = None) -> Tensor:
    """A copy that gradients flow through."""
    return copy(input, input.dtype)


@composite(spaces=("Tensor",))
def contiguous(input: Tensor, memory_format: object = None) -> Tensor:
    """The tensor itself where its elements lie in row-major order, else a copy that does."""
    return input if is_contiguous(input.array) else copy(input, input.dtype)


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

    Raises: RuntimeError if ``src`` does not broadcast to this shape.
    """
    if not isinstance(src, Variable):
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if broadcast("copy_", (input.shape, src.shape)) != input.shape:
        raise RuntimeError(
            f"copy_: output with shape {list(input.shape)} doesn't match the broadcast shape of "
            f"{list(src.shape)}"
        )
    src = src if src.device is input.device else src.to(input.device)
    return run_inplace(OPS["_overwrite"], (input, src))
