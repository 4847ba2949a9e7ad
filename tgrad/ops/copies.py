"""Views as copies (``view_copy``), parts that are not watched (``unsafe_split``) and the like."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tgrad.dispatch import alias, composite
from tgrad.dtypes import dtype
from tgrad.layout import contiguous_format
from tgrad.ops.complex import view_as_complex, view_as_real
from tgrad.ops.index import nonzero
from tgrad.ops.put import _written
from tgrad.ops.reduction import with_out
from tgrad.ops.view import expand, permute, reshape, squeeze, t, transpose, unsqueeze, view
from tgrad.ops.window import (
    as_strided,
    chunk,
    diagonal,
    narrow,
    select,
    split,
    split_with_sizes,
    unbind,
    unfold,
)  # fmt: skip

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

VIEWS = (
    as_strided, diagonal, expand, narrow, permute, select, split, split_with_sizes, squeeze, t,
    transpose, unbind, unfold, unsqueeze, view_as_complex, view_as_real,
)  # fmt: skip


def copying(of: Callable[..., Any]) -> None:
    """Register ``name_copy``: what ``of`` gives, in memory of its own."""
    name = of.__name__

    def function(*args: Any, **kwargs: Any) -> Any:
        found = of(*args, **kwargs)
        if isinstance(found, tuple):
            return tuple([y.clone(memory_format=contiguous_format) for y in found])
        return found.clone(memory_format=contiguous_format)

    function.__name__ = function.__qualname__ = f"{name}_copy"
    function.__module__ = __name__
    function.__doc__ = f":func:`{name}` with the result copied: it shares no memory."
    function.__signature__ = inspect.signature(of)  # pyright: ignore[reportFunctionMemberAccess]
    spaces = ("tgrad", "Tensor") if name == "narrow" else ("tgrad",)
    made = function if name in ("split", "split_with_sizes", "unbind") else with_out(function)
    composite(spaces=spaces)(made)


for _view in VIEWS:
    copying(_view)


@composite(spaces=("tgrad",))
@with_out
def slice_copy(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of the slice ``start:end:step`` of ``dim``. Raises: IndexError for ``dim``."""
    at: list[Any] = [slice(None)] * input.ndim
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-input.ndim}, {input.ndim - 1}],"
            f" but got {dim})"
        )
    if step <= 0:
        raise RuntimeError(f"slice step must be positive, got {step}")
    at[dim] = slice(start, end, step)
    return input[tuple(at)].clone(memory_format=contiguous_format)


@composite(spaces=("tgrad",))
@with_out
def view_copy(input: Tensor, *shape: Any) -> Tensor:
    """A copy of another shape, or of the bits as another dtype. Raises: as ``view`` and reshape."""
    bits = len(shape) == 1 and isinstance(shape[0], dtype)
    y = view(input, *shape) if bits else reshape(input, *shape)
    return y.clone(memory_format=contiguous_format)


@composite(spaces=("tgrad",))
@with_out
def alias_copy(input: Tensor) -> Tensor:
    """A copy."""
    return input.clone()


@composite(spaces=("tgrad",))
@with_out
def detach_copy(input: Tensor) -> Tensor:
    """A copy outside the graph."""
    return input.detach().clone()


# Results that PyTorch does not watch for writes; watching costs nothing here.
alias("unsafe_chunk", chunk)
alias("unsafe_split_with_sizes", split_with_sizes)
alias("unsafe_split", split)


@composite
def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """The input with ``src`` in the place of ``input.as_strided(size, stride, storage_offset)``.

    Raises: RuntimeError unless ``src`` has that view's shape.
    """
    y = input.clone()
    return _written("as_strided_scatter", y, as_strided(y, size, stride, storage_offset), src)


@composite
@with_out
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """:func:`nonzero` cut, or filled up with ``fill_value``, to ``size`` rows.

    dtype: int64. Raises: RuntimeError for a negative size.
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found: Any = nonzero(input)[:size]
    y = found.new_full((size, input.ndim), fill_value)
    y[: found.shape[0]] = found
    return y
