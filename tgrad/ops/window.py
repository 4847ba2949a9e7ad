"""Windows: views of a part of a tensor, or of parts that overlap; and several views at once."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad.autograd.grad_mode import mode
from tgrad.autograd.graph import Node, set_history
from tgrad.dispatch import OPS, composite, gradient, run_inplace, wrap
from tgrad.dispatch import view as view_op
from tgrad.ops.view import normalize_dim, sizes
from tgrad.runtime import cuda, current, memory
from tgrad.runtime.array import CudaArray, contiguous_strides
from tgrad.runtime.array import as_strided as restride

if TYPE_CHECKING:
    from tgrad.autograd.graph import Edge
    from tgrad.runtime.array import Array
    from tgrad.tensor import Tensor

# What a basic index holds after checking: ints in range, slices, None, and an Ellipsis at the end.
Basic = tuple


# ---- slices --------------------------------------------------------------------------------------


@view_op(spaces=())
def _slice(x: Tensor, index: Basic) -> Array:
    """x[index] for ints in range, slices with positive steps, None, and a last Ellipsis."""
    return x.array[index]


@gradient(_slice)
def _(g, x_spec, index):
    return OPS["slice_backward"].function(g, x_spec.shape, index)


ALL = slice(None)


def filled(like: Tensor, value: float, shape: tuple[int, ...]) -> Tensor:
    """A tensor of ``shape`` full of ``value``, with the dtype and device of ``like``."""
    empty = memory.empty if like.device.type == "cpu" else cuda.empty
    with current.at(like.device):
        fresh = wrap(empty(shape, like.array.dtype), like.device)
    return run_inplace(OPS["_fill"], (fresh, value))


def at(dim: int, what: int | slice) -> Basic:
    """The index that has ``what`` at ``dim`` and everything else whole."""
    return (*(ALL,) * dim, what, ...)


@composite
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at ``index`` of ``dim``, without it; a view. Raises IndexError out of range."""
    if not input.array.shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = normalize_dim("select", dim, input.ndim)
    i, n = operator.index(index), input.array.shape[d]
    if not -n <= i < n:
        raise IndexError(
            f"select(): index {i} out of range for tensor of size {list(input.shape)} at "
            f"dimension {d}"
        )
    return _slice(input, at(d, i))


@composite
def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """``length`` elements from ``start`` on along ``dim``; a view.

    Raises: IndexError for a start out of range, RuntimeError where the length goes past the end.
    """
    if not input.array.shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = normalize_dim("narrow", dim, input.ndim)
    n, first, length = input.shape[d], operator.index(start), operator.index(length)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= first <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {first})"
        )
    first += n if first < 0 else 0
    if first + length > n:
        raise RuntimeError(f"start ({first}) + length ({length}) exceeds dimension size ({n}).")
    return _slice(input, at(d, slice(first, first + length)))


# ---- several views at once -----------------------------------------------------------------------


class SplitBackward(Node):
    """The node of all parts of a tensor along one dim: their gradients are joined once.

    As many nodes of single slices would each fill a whole tensor with zeros.
    """

    __slots__ = ("dim", "unbound")

    def name(self) -> str:
        return "UnbindBackward0" if self.unbound else "SplitBackward0"

    def __init__(self, edge: Edge, parts: Sequence[Tensor], dim: int, unbound: bool):
        super().__init__([edge], [(p.array.shape, p.array.dtype, p.device) for p in parts])
        self.dim, self.unbound = dim, unbound

    def apply(self, gs: list[Tensor | None]) -> list[Tensor | None]:
        like = next(g for g in gs if g is not None)
        full = [
            filled(like, 0, ()).expand(shape) if g is None else g
            for g, (shape, _, _) in zip(gs, self.meta, strict=True)
        ]
        return [OPS["_stack" if self.unbound else "_cat"].function(full, self.dim, like.dtype)]


def parts(x: Tensor, dim: int, indices: list[Basic], unbound: bool) -> tuple[Tensor, ...]:
    """The views x[index] that together cover x once along ``dim``, in order, with one node."""
    recorded = mode.enabled and x.tracked and len(indices) > 0
    if not recorded:
        return tuple([_slice(x, index) for index in indices])
    edge, counter = x.edge(), x.version_counter()
    views = []
    for index in indices:
        v = wrap(x.array[index], x.device)
        v.counter, v.view_version = counter, counter[0]
        v.base = x if x.base is None else x.base
        if x.base is None or x.view_chain is not None:
            v.view_chain = (_slice, (index,), x.view_chain)
        views.append(v)
    set_history(views, SplitBackward(edge, views, dim, unbound))
    return tuple(views)


@composite
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along ``dim``, each without it; views."""
    if not input.array.shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = normalize_dim("unbind", dim, input.ndim)
    return parts(input, d, [at(d, i) for i in range(input.shape[d])], True)


@composite
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of ``split_sizes`` elements along ``dim``, one after the other.

    Raises: RuntimeError unless the sizes are non-negative and sum to the dim's.
    """
    if not input.array.shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = normalize_dim("split_with_sizes", dim, input.ndim)
    lengths = sizes((split_sizes,))
    n = input.shape[d]
    if any(m < 0 for m in lengths) or sum(lengths) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {d}), but got split_sizes={list(lengths)}"
        )
    indices, first = [], 0
    for m in lengths:
        indices.append(at(d, slice(first, first + m)))
        first += m
    return parts(input, d, indices, False)


@composite
def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views of so many elements along ``dim`` (the last may have fewer), or of the listed sizes.

    Raises: RuntimeError for a size of 0, or sizes that do not sum to the dim's.
    """
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    if not tensor.array.shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    n = tensor.shape[normalize_dim("split", dim, tensor.ndim)]
    m = operator.index(split_size_or_sections)
    if m < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={m}")
    if m == 0:
        if n:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
            )
        return split_with_sizes(tensor, (0,), dim)
    lengths = [min(m, n - first) for first in range(0, n, m)]
    return split_with_sizes(tensor, lengths or [0], dim)


@composite
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size along ``dim`` (the last may be smaller)."""
    if not input.array.shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[normalize_dim("chunk", dim, input.ndim)]
    if n == 0:
        return split_with_sizes(input, (0,) * chunks, dim)
    return split(input, -(-n // chunks), dim)


@composite
def tensor_split(
    input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0
) -> tuple[Tensor, ...]:
    """Views between the given indices along ``dim``, or that many of nearly equal size."""
    if not input.array.shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got 0 dims")
    d = normalize_dim("tensor_split", dim, input.ndim)
    n = input.shape[d]
    where = indices_or_sections
    if hasattr(where, "array"):
        where = where.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {where}")
        small, larger = divmod(n, where)
        lengths = [small + (i < larger) for i in range(where)]
        return split_with_sizes(input, lengths, d)
    edges = [slice(None, i).indices(n)[1] for i in sizes((where,))]  # pyright: ignore[reportArgumentType]
    bounds = list(zip([0, *edges], [*edges, n], strict=True))
    if all(a <= b for a, b in bounds):
        return split_with_sizes(input, [b - a for a, b in bounds], d)
    return tuple(_slice(input, at(d, slice(a, max(a, b)))) for a, b in bounds)


def _stacked_split(name: str, input: Tensor, where: int | Sequence[int], least: int, dim: int):
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
            f"with {input.ndim} dimensions!"
        )
    if isinstance(where, int) and (where <= 0 or input.shape[dim] % where):
        raise RuntimeError(
            f"{name} attempted to split along dimension {dim}, but the size of the dimension "
            f"{input.shape[dim]} is not divisible by the split_size {where}!"
        )
    return tensor_split(input, where, dim)


@composite
def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """``tensor_split`` of the columns (of the elements of a 1-d input)."""
    dim = 0 if input.ndim == 1 else 1
    return _stacked_split("hsplit", input, indices_or_sections, 1, dim)


@composite
def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """``tensor_split`` of the rows."""
    return _stacked_split("vsplit", input, indices_or_sections, 2, 0)


@composite
def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """``tensor_split`` along dim 2."""
    return _stacked_split("dsplit", input, indices_or_sections, 3, 2)


# ---- diagonals and sliding windows ---------------------------------------------------------------


def steps_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    return contiguous_strides(shape, 1)


@view_op(spaces=())
def _diagonal(x: Tensor, offset: int, dim1: int, dim2: int) -> Array:
    """x[..., i, i + offset] over its axes ``dim1`` and ``dim2``, as the last axis."""
    a = x.array
    shape, strides, start = diagonal_window(a.shape, a.strides, offset, dim1, dim2)
    return restride(a, shape, strides, start)


def diagonal_window(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, dim1: int, dim2: int
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(shape, strides, offset) of a diagonal, in the unit of ``strides``."""
    m, n = shape[dim1], shape[dim2]
    length = max(min(m + min(offset, 0), n - max(offset, 0)), 0)
    start = (-offset * strides[dim1] if offset < 0 else offset * strides[dim2]) if length else 0
    kept = [i for i in range(len(shape)) if i not in (dim1, dim2)]
    size = (*[shape[i] for i in kept], length)
    return size, (*[strides[i] for i in kept], strides[dim1] + strides[dim2]), start


@gradient(_diagonal)
def _(g, x_spec, offset, dim1, dim2):
    shape = x_spec.shape
    size, stride, start = diagonal_window(shape, steps_of(shape), offset, dim1, dim2)
    return OPS["_place_window"].function(g, shape, size, stride, start)


@composite
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements input[..., i, i + offset] of dims ``dim1``, ``dim2``, as the last dim; a view.

    Raises: IndexError out of range, RuntimeError if the dims are the same.
    """
    d1 = normalize_dim("diagonal", dim1, input.ndim)
    d2 = normalize_dim("diagonal", dim2, input.ndim)
    if d1 == d2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(input, operator.index(offset), d1, d2)


@view_op(spaces=())
def _unfold(x: Tensor, dim: int, size: int, step: int) -> Array:
    """Windows of ``size`` elements every ``step`` along ``dim``, as a new last axis."""
    a = x.array
    if not a.shape:
        return a.reshape((size,))
    count = (a.shape[dim] - size) // step + 1
    shape = (*a.shape[:dim], count, *a.shape[dim + 1 :], size)
    strides = (*a.strides[:dim], a.strides[dim] * step, *a.strides[dim + 1 :], a.strides[dim])
    return restride(a, shape, strides)


@gradient(_unfold)
def _(g, x_spec, dim, size, step):
    return OPS["unfold_backward"].function(g, x_spec.shape, dim, size, step)


@composite(spaces=("Tensor",))
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of ``size`` along ``dimension``, ``step`` apart, as a new last dim; a view.

    Raises: RuntimeError if the window is longer than the dim or step is not positive.
    """
    d = normalize_dim("unfold", dimension, input.ndim)
    n = input.shape[d] if input.shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return _unfold(input, d, size, step)


@view_op(spaces=())
def _as_strided(
    x: Tensor, size: tuple[int, ...], stride: tuple[int, ...], offset: int, origin: tuple
) -> Array:
    """The memory of x from element ``offset`` of its storage on. ``origin``: x's own strides and
    offset, from which the gradient finds x's elements again."""
    a = x.array
    item = a.itemsize
    start, nbytes = storage(a)
    reach = offset + sum([(n - 1) * s for n, s in zip(size, stride, strict=True)]) + 1
    if 0 not in size and reach * item > nbytes:
        raise RuntimeError(
            f"as_strided: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and "
            f"itemsize {item} requiring a storage size of {reach * item} are out of bounds for "
            f"storage of size {nbytes}"
        )
    shift = start + offset * item - address(a)
    return restride(a, size, tuple([s * item for s in stride]), shift)


@gradient(_as_strided)
def _(g, x_spec, size, stride, offset, origin):
    # Onto a flat stretch of storage that holds both windows, then x's window of that.
    steps, first = origin
    shape = x_spec.shape
    low = min(first, offset)
    reach = [
        o + sum([(n - 1) * s for n, s in zip(sizes, st, strict=True) if n])
        for sizes, st, o in ((shape, steps, first), (size, stride, offset))
    ]
    flat = OPS["_place_window"].function(g, (max(reach) + 1 - low,), size, stride, offset - low)
    dx = _as_strided(flat, shape, steps, first - low, ((1,), 0))
    shared = math.prod([n for n, s in zip(shape, steps, strict=True) if s == 0])
    return dx / shared if shared > 1 else dx


@composite
def as_strided(
    input: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """The input's memory seen with any shape and strides (in elements); a view.

    ``storage_offset`` counts from the start of the memory that the input is a part of; the
    input's own first element where not given.
    Raises: RuntimeError for unequal lengths, negative strides or elements outside the memory.
    """
    if len(size) != len(stride):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(stride)} and {len(size)}"
        )
    if any(n < 0 for n in size):
        raise RuntimeError(f"as_strided: sizes must be non-negative, got {list(size)}")
    if any(s < 0 for s in stride):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    own = storage_offset_of(input.array)
    offset = own if storage_offset is None else operator.index(storage_offset)
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    return _as_strided(input, sizes((size,)), sizes((stride,)), offset, (input.stride(), own))


def address(a: Array) -> int:
    """Where the first element lies."""
    return a.ptr if isinstance(a, CudaArray) else a.__array_interface__["data"][0]


def storage(a: Array) -> tuple[int, int]:
    """Address and bytes of the memory that ``a`` is a part of."""
    owner = a.owner if isinstance(a, CudaArray) else a
    while isinstance(owner, np.ndarray) and isinstance(owner.base, np.ndarray):
        above = owner.base
        if is_block(above):
            skipped = -address(above) % memory.ALIGN
            return address(above) + skipped, above.nbytes - memory.ALIGN
        owner = above
    if isinstance(owner, np.ndarray):
        return address(owner), owner.nbytes
    return owner.ptr, owner.size  # pyright: ignore[reportAttributeAccessIssue]


def is_block(a: np.ndarray) -> bool:
    """Whether ``a`` is the allocator's: bytes whose first aligned one is where arrays begin."""
    size = a.nbytes - memory.ALIGN
    plain = a.dtype == np.uint8 and a.ndim == 1 and a.base is None
    return plain and size >= memory.SMALL and memory.size_class(size) == size


def storage_offset_of(a: Array) -> int:
    return (address(a) - storage(a)[0]) // a.itemsize


@composite(spaces=("Tensor",))
def storage_offset(input: Tensor) -> int:
    """How many elements the first one is from the start of the memory."""
    return storage_offset_of(input.array)
