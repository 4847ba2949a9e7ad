"""Whole slices along one dim by an index vector, single elements by flat or several indices, and
views written to in a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, check_inplace, composite, run_inplace
from tgrad.ops.creation import checked_number
from tgrad.ops.index import (
    _index,
    _index_fill,
    _index_put,
    check_bounds,
    expanded_values,
    gathered,
    parse,
    write,
)
from tgrad.ops.view import _expand, _view, normalize_dim, reshape

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- reading -------------------------------------------------------------------------------------


@composite
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of ``dim`` that the index vector names, in its order.

    Raises: IndexError for an index with more than one dim or out of range (negative too),
    RuntimeError unless it is int32 or int64.
    """
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    d = normalize_dim("index_select", dim, input.ndim)
    index = index if index.ndim else _view(index, (1,))
    if not input.ndim and index.numel() != 1:
        raise RuntimeError(
            f"index_select(): Index to scalar can have only 1 value, got {index.numel()} value(s)"
        )
    x = input if input.ndim else _view(input, (1,))
    check_bounds(index, d, x.shape[d], IndexError)
    y = _index(x, [index], d)
    return y if input.ndim else _view(y, ())


@composite
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at ``index`` of the flattened input, negative ones counted from its end.

    Shape: the index's. Raises: IndexError out of range, RuntimeError unless int64.
    """
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype.name}")
    check_bounds(index, 0, input.numel(), IndexError, negative=True)
    return _index(reshape(input, -1), [index], 0)


# ---- writing at an index vector along one dim ----------------------------------------------------


def _vector(name: str, input: Tensor, dim: int, index: Tensor, error: type[Exception]):
    """(input with at least one dim, dim non-negative, index as a vector), checked."""
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index but got: {index.dtype.name}"
        )
    if index.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
            f"{index.dtype.name} and size: {list(index.shape)}"
        )
    d = normalize_dim(name, dim, input.ndim)
    x = input if input.ndim else _view(input, (1,))
    check_bounds(index, d, x.shape[d], error, negative=name.startswith("index_fill"))
    return x, d, index if index.ndim else _view(index, (1,))


def _added(name: str, input: Tensor, dim, index, source, alpha, inplace: bool) -> Tensor:
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}(): self ({input.dtype.name}) and source ({source.dtype.name}) must have the "
            "same scalar type"
        )
    x, d, index = _vector(name, input, dim, index, RuntimeError)
    source = _source(name, x, d, index, source, RuntimeError)
    if alpha != 1:
        source = source * alpha
    return _put(input, x, index, source, d, True, inplace)


def _source(name: str, x: Tensor, d: int, index: Tensor, source: Tensor, error) -> Tensor:
    source = source if source.ndim else _view(source, (1,))
    length = source.shape[d] if d < source.ndim else 1
    if index.shape[0] != length:
        raise error(
            f"{name}(): Number of indices ({index.shape[0]}) should be equal to source.size(dim): "
            f"({length}), for dim: {d}"
        )
    if (*x.shape[:d], length, *x.shape[d + 1 :]) != source.shape:
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified "
            f"dimension. Got self.shape = {list(x.shape)} source.shape = {list(source.shape)}"
        )
    return source


def _put(input, x, index, source, d: int, accumulate: bool, inplace: bool) -> Tensor:
    if inplace:
        write(x, [index], source, d, accumulate)
        return input
    y = _index_put(x, [index], source, d, accumulate)
    return y if input.ndim else _view(y, ())


@composite
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """The input with ``alpha * source`` added to the slices of ``dim`` that ``index`` names.

    Raises: RuntimeError for unequal dtypes or sizes, or an index out of range.
    """
    return _added("index_add", input, dim, index, source, alpha, False)


@composite(spaces=("Tensor",))
def index_add_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """In-place form of :func:`index_add`."""
    return _added("index_add_", input, dim, index, source, alpha, True)


def _copied(name: str, input: Tensor, dim, index, source, inplace: bool) -> Tensor:
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) "
            f"{input.dtype.name} and (source) {source.dtype.name}"
        )
    if index.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}(): Expected a long tensor for index, but got {index.dtype.name}"
        )
    x, d, index = _vector(name, input, dim, index, IndexError)
    source = _source(name, x, d, index, source, IndexError)
    return _put(input, x, index, source, d, False, inplace)


@composite
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The input with the slices of ``dim`` that ``index`` names replaced by those of ``source``.

    Raises: RuntimeError for unequal dtypes or sizes, IndexError for an index out of range.
    """
    return _copied("index_copy", input, dim, index, source, False)


@composite(spaces=("Tensor",))
def index_copy_(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place form of :func:`index_copy`."""
    return _copied("index_copy_", input, dim, index, source, True)


def _filled(name: str, input: Tensor, dim, index, value, inplace: bool) -> Tensor:
    if isinstance(value, Variable) and value.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} "
            "dimension(s)."
        )
    if index.dtype is not dtypes.int64:
        raise IndexError(f"{name}(): Expected dtype int64 for index.")
    if index.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    x, d, index = _vector(name, input, dim, index, IndexError)
    if isinstance(value, Variable):
        value = value.to(device=x.device, dtype=x.dtype)
        shape = (*x.shape[:d], index.shape[0], *x.shape[d + 1 :])
        return _put(input, x, index, _expand(value, shape), d, False, inplace)
    number = checked_number(name, value, x.dtype)
    if inplace:
        run_inplace(OPS["_index_fill"], (x, [index], d, number))
        return input
    y = _index_fill(x, [index], d, number)
    return y if input.ndim else _view(y, ())


@composite
def index_fill(input: Tensor, dim: int, index: Tensor, value: float | Tensor) -> Tensor:
    """The input with the slices of ``dim`` that ``index`` names set to ``value``.

    Raises: IndexError for an index out of range or not int64, RuntimeError for a value with dims.
    """
    return _filled("index_fill", input, dim, index, value, False)


@composite(spaces=("Tensor",))
def index_fill_(input: Tensor, dim: int, index: Tensor, value: float | Tensor) -> Tensor:
    """In-place form of :func:`index_fill`."""
    return _filled("index_fill_", input, dim, index, value, True)


# ---- writing at several indices ------------------------------------------------------------------


def _placed(name: str, input: Tensor, indices, values) -> tuple:
    """What :func:`gathered` gives for a tuple of index tensors; None in it takes a whole dim."""
    if not isinstance(indices, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'indices' (position 1) must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    for k, index in enumerate(indices):
        if index is not None and not isinstance(index, Variable):
            raise TypeError(
                f"{name}(): expected Tensor as element {k} in argument 0, but got "
                f"{type(index).__name__}"
            )
    if values.dtype is not input.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{input.dtype.name} for the destination and {values.dtype.name} for the source."
        )
    whole = tuple(
        slice(None) if i is None else i if i.ndim or i.dtype is dtypes.bool_ else i.reshape(1)
        for i in indices
    )
    _, found = parse(input, whole)
    if not found:
        raise IndexError(f"{name}(): at least one index tensor is needed")
    return gathered(input, found)


@composite
def index_put(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """The input with ``values`` (broadcast) written at ``input[indices]``, or added there.

    Raises: RuntimeError for unequal dtypes or shapes, IndexError for an index out of range.
    """
    x, places, start = _placed("index_put", input, indices, values)
    if x is not input:
        return index_put_(input.clone(), indices, values, accumulate)
    values = expanded_values(x, places, values.to(input.device), start)
    return _index_put(x, places, values, start, accumulate)


@composite(spaces=("Tensor",))
def index_put_(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """In-place form of :func:`index_put`."""
    check_inplace("index_put_", input)
    x, places, start = _placed("index_put_", input, indices, values)
    write(x, places, values.to(input.device), start, accumulate)
    return input


# ---- writing at flat indices ---------------------------------------------------------------------


def _put_arguments(name: str, input: Tensor, index: Tensor, source: Tensor) -> None:
    if index.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}(): Expected a long tensor for index, but got {index.dtype.name}"
        )
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got self.dtype = "
            f"{input.dtype.name} and source.dtype = {source.dtype.name}"
        )
    if index.numel() != source.numel():
        raise IndexError(
            f"{name}(): Expected source and index to have the same number of elements, but got "
            f"{source.numel()} and {index.numel()}"
        )
    check_bounds(index, 0, input.numel(), IndexError, negative=True)


@composite(spaces=("tgrad", "Tensor"))
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """The input with ``source`` at the flat ``index``, or added there.

    Raises: RuntimeError for unequal dtypes, IndexError for unequal counts or out of range.
    """
    _put_arguments("put", input, index, source)
    y = _index_put(reshape(input, -1), [index.reshape(-1)], source.reshape(-1), 0, accumulate)
    return _view(y, input.shape)


@composite(spaces=("Tensor",))
def put_(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """In-place form of :func:`put`."""
    check_inplace("put_", input)
    return input.copy_(put(input.clone(), index, source, accumulate))


# ---- views written to in a copy ------------------------------------------------------------------


def _written(name: str, y: Tensor, part: Tensor, src: Tensor) -> Tensor:
    """``y`` after ``part``, a view of it, was overwritten by ``src``."""
    if part.shape != src.shape:
        raise RuntimeError(
            f"{name}(): expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(part.shape)}"
        )
    part.copy_(src)
    return y


@composite
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """The input with ``src`` in the place of ``input.select(dim, index)``.

    Raises: RuntimeError unless ``src`` has that view's shape, IndexError out of range.
    """
    y = input.clone()
    return _written("select_scatter", y, y.select(dim, index), src)


@composite
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """The input with ``src`` in the place of the slice ``start:end:step`` of ``dim``.

    Raises: RuntimeError unless ``src`` has the slice's shape, IndexError for ``dim``.
    """
    d = normalize_dim("slice_scatter", dim, input.ndim)
    y = input.clone()
    return _written("slice_scatter", y, y[(slice(None),) * d + (slice(start, end, step),)], src)


@composite
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """The input with ``src`` in the place of ``input.diagonal(offset, dim1, dim2)``.

    Raises: RuntimeError unless ``src`` has that view's shape.
    """
    y = input.clone()
    return _written("diagonal_scatter", y, y.diagonal(offset, dim1, dim2), src)
