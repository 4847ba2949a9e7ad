"""Reading and writing ``x[index]``: basic indices are one view, index tensors a gather.

Placement follows PyTorch: ints select first, then the dims that index tensors give stand where
the tensors stood if these were neighbours, else in front.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import CPU
from tgrad.dispatch import OPS, Spec, composite, gradient, op, run_inplace, wrap
from tgrad.ops.creation import checked_number
from tgrad.ops.view import _expand, _permute, _view
from tgrad.ops.window import ALL, Basic, _slice, address
from tgrad.pointwise import broadcast
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, reshape_strides

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- kernels' cards ------------------------------------------------------------------------------


def indexed_shape(shape: tuple[int, ...], indices: Sequence[Tensor], start: int) -> tuple[int, ...]:
    common = broadcast("index", [i.array.shape for i in indices])
    return (*shape[:start], *common, *shape[start + len(indices) :])


@op(spaces=())
def _index(x: Tensor, indices: list[Tensor], start: int) -> Spec:
    """x[..., i0, i1, ..., :] with the index tensors at axes ``start`` and following, broadcast."""
    return Spec(indexed_shape(x.shape, indices, start), x.dtype)


@gradient(_index)
def _(g, x_spec, indices, start):
    return index_backward(g, indices, x_spec.shape, start), [None] * len(indices)


@op(spaces=())
def index_backward(g: Tensor, indices: list[Tensor], shape: tuple[int, ...], start: int) -> Spec:
    """Zeros of ``shape`` with ``g`` added at the indices, as often as each occurs."""
    return Spec(shape, g.dtype)


@gradient(index_backward)
def _(gg, indices, start):
    return _index(gg, indices, start), [None] * len(indices)


@op(spaces=(), inplace="direct")
def _index_put(
    x: Tensor, indices: list[Tensor], values: Tensor, start: int, accumulate: bool
) -> Spec:
    """x with ``values``, of the indexed shape, written at the indices or added there.

    Where an index occurs twice, one of its values is written, and all are added.
    """
    return Spec(x.shape, x.dtype)


@gradient(_index_put)
def _(g, indices, start, accumulate):
    dx = g if accumulate else _index_fill(g, indices, start, 0)
    return dx, [None] * len(indices), _index(g, indices, start)


@op(spaces=(), inplace="direct")
def _index_fill(x: Tensor, indices: list[Tensor], start: int, value: float) -> Spec:
    """x with the number ``value`` written at the indices."""
    return Spec(x.shape, x.dtype)


@gradient(_index_fill)
def _(g, indices, start):
    return _index_fill(g, indices, start, 0), [None] * len(indices)


# ---- finding the elements that are not 0 ---------------------------------------------------------

CHUNK = 16384  # elements that one program of the CUDA kernels counts


@op(spaces=())
def _nonzero_offsets(x: Tensor, chunk: int) -> Spec:
    """How many elements that are not 0 come before each ``chunk`` of x, and the total."""
    blocks = -(-x.numel() // chunk) if x.is_cuda else 1
    return Spec((blocks + 1,), dtypes.int64)


@op(spaces=())
def _nonzero(x: Tensor, offsets: Tensor, chunk: int, count: int) -> Spec:
    """The coordinates of the ``count`` elements that are not 0, in row-major order."""
    return Spec((count, x.ndim), dtypes.int64)


@composite
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Coordinates of the elements that are not 0, in row-major order: (count, ndim), or with
    ``as_tuple`` one (count,) tensor per dim, to index with.

    dtype: int64. On a GPU the count is read back, which waits for the work in flight.
    """
    x = input.detach()
    if as_tuple and not x.ndim:
        x = x.reshape(1)
    offsets = _nonzero_offsets(x, CHUNK)
    found = _nonzero(x, offsets, CHUNK, _slice(offsets, (-1, ...)).item())
    return found.unbind(1) if as_tuple else found


@composite
def argwhere(input: Tensor) -> Tensor:
    """The same as ``nonzero``."""
    return nonzero(input)


# ---- reading an index ----------------------------------------------------------------------------

KINDS = (
    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
    "indices (got {})"
)
Found = tuple[int, Any]  # a dim of the view, and the index tensor or mask there


def as_item(x: Tensor, item: Any) -> Any:
    """One entry of an index as an int, slice, None, Ellipsis, bool or Tensor.

    Raises: IndexError for anything else.
    """
    if item is None or item is Ellipsis or isinstance(item, (int, slice)):
        return item
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, Variable):
        index = item
    elif isinstance(item, (list, tuple, range, np.ndarray)):
        index = index_tensor(item)
    elif hasattr(item, "__index__"):
        return operator.index(item)
    else:
        raise IndexError(KINDS.format(type(item).__name__))
    kind = index.dtype
    if kind.category > dtypes.INT:
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if not index.array.shape:
        return bool(index.item()) if kind is dtypes.bool_ else index.item()
    if kind is dtypes.uint8:
        index = index.to(dtypes.bool_)
    return index if index.device is x.device else index.to(x.device)


def index_tensor(item: Any) -> Any:
    """A sequence or array of ints or bools as a tensor on the CPU."""
    if not isinstance(item, np.ndarray):
        a = np.asarray(plain(item))
        if a.dtype.kind in "iufb" or a.size == 0:
            item = a if a.dtype == np.bool_ and a.size else a.astype(np.int64)
        else:
            raise IndexError(KINDS.format(type(item).__name__))
    if item.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if item.dtype.kind == "u" and item.itemsize > 1:
        item = item.astype(np.int64)
    return wrap(item, CPU)


def plain(item: Any) -> Any:
    """Nested sequences with Python numbers for 0-d tensors. Raises IndexError for other things."""
    if isinstance(item, (list, tuple, range)):
        return [plain(i) for i in item]
    if isinstance(item, Variable):
        return item.tolist()
    if isinstance(item, (int, float, np.generic, np.ndarray)):
        return item
    raise IndexError(KINDS.format(type(item).__name__))


def as_slice(item: slice) -> slice:
    """``item`` with plain ints. Raises ValueError unless its step is positive."""
    step = item.step
    if step is not None and operator.index(step) <= 0:
        raise ValueError("step must be greater than zero")
    for part in (item.start, item.stop, step):
        if part is not None and part.__class__ is not int:
            parts = (item.start, item.stop, step)
            return slice(*[None if p is None else operator.index(p) for p in parts])
    return item


def parse(x: Tensor, index: Any) -> tuple[Basic, list[Found]]:
    """``index`` as a basic index, and the tensors that then index dims of that view.

    Raises: IndexError for unknown kinds, too many dims, ints out of range, masks of another shape.
    """
    shape = x.array.shape
    items = [as_item(x, item) for item in (index if isinstance(index, tuple) else (index,))]
    taken = 0
    for item in items:
        if isinstance(item, Variable):
            taken += item.ndim if item.dtype is dtypes.bool_ else 1
        elif not (item is None or item is Ellipsis or isinstance(item, bool)):
            taken += 1
    if taken > len(shape):
        if not shape and len(items) == 1 and isinstance(items[0], int):
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to "
                "a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    basic: list[Any] = []
    found: list[Found] = []
    d = v = 0  # the dim of x, and of the view
    for item in items:
        if item is None:
            basic.append(None)
            v += 1
        elif item is Ellipsis:
            rest = len(shape) - taken
            basic += [ALL] * rest
            d, v, taken = d + rest, v + rest, len(shape)
        elif isinstance(item, slice):
            basic.append(as_slice(item))
            d, v = d + 1, v + 1
        elif isinstance(item, bool):
            basic.append(None)
            found.append((v, [0] if item else []))
            v += 1
        elif isinstance(item, int):
            check_int(item, d, shape[d])
            basic.append(item)
            d += 1
        else:
            wide = 1
            if item.dtype is dtypes.bool_:
                wide = item.ndim
                if item.shape != shape[d : d + wide]:
                    raise IndexError(
                        f"The shape of the mask {list(item.shape)} at index {d} does not match the "
                        f"shape of the indexed tensor {list(shape)} at index {d}"
                    )
            basic += [ALL] * wide
            found.append((v, item))
            d, v = d + wide, v + wide
    found = [(k, wrap_index(x, t) if isinstance(t, list) else t) for k, t in found]
    return (*basic, ...), found


def check_int(i: int, dim: int, n: int) -> None:
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {dim} with size {n}")


def wrap_index(x: Tensor, values: list[int]) -> Tensor:
    return wrap(np.asarray(values, np.int64), CPU).to(x.device)


def gathered(x: Tensor, found: list[Found]) -> tuple[Tensor, list[Tensor], int]:
    """x with its indexed dims side by side, the index tensors, and the first of those dims.

    Masks become the coordinates of what they select. Raises: IndexError for an index out of range,
    or tensors that do not broadcast.
    """
    if len(found) == 1 and found[0][1].dtype is dtypes.bool_ and found[0][1].ndim > 1:
        v, mask = found[0]
        flat = joined(x, v, mask.ndim)
        if flat is not None:
            return flat, list(nonzero(mask.reshape(-1), as_tuple=True)), v
    dims: list[int] = []
    indices: list[Tensor] = []
    for v, t in found:
        if t.dtype is dtypes.bool_:
            columns = nonzero(t, as_tuple=True)
            dims += range(v, v + len(columns))
            indices += columns
        else:
            check_bounds(t, v, x.shape[v], IndexError, negative=True)
            dims.append(v)
            indices.append(t)
    try:
        broadcast("index", [i.array.shape for i in indices])
    except RuntimeError:
        shapes = ", ".join(str(list(i.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    if dims == list(range(dims[0], dims[0] + len(dims))):
        return x, indices, dims[0]
    rest = [d for d in range(x.ndim) if d not in dims]
    return _permute(x, (*dims, *rest)), indices, 0


def joined(x: Tensor, dim: int, count: int) -> Tensor | None:
    """A view of x with ``count`` dims from ``dim`` on as one; None where strides forbid it."""
    a = x.array
    shape = a.shape
    n = math.prod(shape[dim : dim + count])
    new = (*shape[:dim], n, *shape[dim + count :])
    possible = reshape_strides(shape, a.strides, new, a.itemsize) is not None
    return _view(x, new) if possible else None


def check_bounds(
    index: Tensor, dim: int, n: int, error: type[Exception], negative: bool = False
) -> None:
    """Raise ``error`` for the first index outside of [0, n), or of [-n, n) with ``negative``.

    On a GPU that would wait for a reduction and its result, so only the emulator checks; the
    kernels leave elements with an index out of range alone.
    """
    a = index.array
    if isinstance(a, CudaArray):
        if not cuda.active().is_emulated:
            return
        a = cuda.active().to_host(a)
    if a.size == 0 or (a.max() < n and a.min() >= (-n if negative else 0)):
        return
    bad = (a >= n) | (a < (-n if negative else 0))
    raise error(f"index {a[bad][0]} is out of bounds for dimension {dim} with size {n}")


# ---- x[index] ------------------------------------------------------------------------------------


@composite(spaces=())
def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: ints, slices (positive steps), None, ``...`` and bools give a view; masks,
    integer tensors, lists and arrays a copy.

    Raises: IndexError out of range or for too many or unknown indices, ValueError for a step that
    is not positive.
    """
    kind = index.__class__
    shape = input.array.shape
    if kind is int and shape:
        check_int(index, 0, shape[0])
        return _slice(input, (index, ...))
    if kind is slice and shape:
        return _slice(input, (as_slice(index), ...))
    if kind is tuple and is_plain(shape, index):
        return _slice(input, (*index, ...))
    if is_vector(input, index):
        check_bounds(index, 0, shape[0], IndexError, negative=True)
        return _index(input, [index], 0)
    basic, found = parse(input, index)
    if not found:
        return _slice(input, basic)
    return _index(*gathered(sliced(input, basic), found))


def is_plain(shape: tuple[int, ...], index: tuple) -> bool:
    """Whether ``index`` is of ints in range and slices of ints: the short way in."""
    if len(index) > len(shape):
        return False
    for item, n in zip(index, shape, strict=False):
        if item.__class__ is int:
            if not -n <= item < n:
                return False
        elif item.__class__ is not slice or as_slice(item) is not item:
            return False
    return True


def is_vector(x: Tensor, index: Any) -> bool:
    """Whether ``index`` is one integer tensor with dims, where x is."""
    return (
        isinstance(index, Variable)
        and index.device is x.device
        and index.array.dtype.kind == "i"
        and len(index.array.shape) > 0
        and len(x.array.shape) > 0
    )


def sliced(x: Tensor, basic: Basic) -> Tensor:
    """x[basic]; x itself where that takes everything."""
    return x if all(i is ALL or i is Ellipsis for i in basic) else _slice(x, basic)


@composite(spaces=())
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``: a number, or a tensor that broadcasts; dtypes are converted.

    Raises: as reading does, before anything is written; TypeError for a value of another type,
    RuntimeError for a shape that does not fit.
    """
    if not isinstance(value, (Variable, int, float, complex, np.generic)):
        raise TypeError(f"can't assign a {type(value).__name__} to a {input.dtype} tensor")
    single = index if index.__class__ is tuple else (index,)
    if is_plain(input.array.shape, single):
        assign(input, (*single, ...), value)
        return
    basic, found = parse(input, index)
    if not found:
        assign(input, basic, value)
        return
    one = not isinstance(value, Variable) or (value.numel() == 1 and not value.tracked)
    if one and len(found) == 1 and found[0][1].dtype is dtypes.bool_:
        x, (v, mask) = sliced(input, basic), found[0]
        number = value.item() if isinstance(value, Variable) else value
        mask = mask.reshape(*mask.shape, *(1,) * (x.ndim - v - mask.ndim))
        x.masked_fill_(mask, checked_number("masked_fill_", number, x.dtype))
        return
    x, indices, start = gathered(sliced(input, basic), found)
    if isinstance(value, Variable):
        write(x, indices, value.to(device=x.device, dtype=x.dtype), start, False)
    else:
        number = checked_number("index_put_", value, x.dtype)
        run_inplace(OPS["_index_fill"], (x, indices, start, number))


def assign(x: Tensor, basic: Basic, value: Any) -> None:
    """x[basic] = value for a basic index."""
    window = _slice(x, basic)
    if not isinstance(value, Variable):
        run_inplace(OPS["_fill"], (window, checked_number("fill_", value, x.dtype)))
        return
    if is_same(window, value):
        return
    shape, extra = value.shape, value.ndim - window.ndim
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        value = value.reshape(shape[extra:])
    window.copy_(value.expand(window.shape))


def is_same(window: Tensor, value: Variable) -> bool:
    """Whether ``value`` is the same part of the same base: what ``x[i] += y`` assigns last."""
    a, b = window.array, value.array
    return (
        value.base is window.base
        and value.view_chain is not None
        and value.tracked == window.tracked
        and a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
        and address(a) == address(b)
    )


def write(x: Tensor, indices: list[Tensor], values: Tensor, start: int, accumulate: bool) -> Tensor:
    """Write ``values`` into x at the indices. Raises RuntimeError unless they broadcast."""
    values = expanded_values(x, indices, values, start)
    if shares_memory(x, values):
        values = values.clone()
    return run_inplace(OPS["_index_put"], (x, indices, values, start, accumulate))


def expanded_values(x: Tensor, indices: list[Tensor], values: Tensor, start: int) -> Tensor:
    shape = indexed_shape(x.shape, indices, start)
    given = values.shape
    extra = len(given) - len(shape)
    if extra > 0 and all(n == 1 for n in given[:extra]):
        values = values.reshape(given[extra:])
    try:
        fits = broadcast("index_put_", (shape, values.shape)) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing "
            f"result of shape {list(shape)}"
        )
    return values if values.shape == shape else _expand(values, shape)


def shares_memory(x: Tensor, y: Tensor) -> bool:
    a, b = x.array, y.array
    if isinstance(a, CudaArray) or isinstance(b, CudaArray):
        return getattr(a, "owner", None) is getattr(b, "owner", None)
    return np.may_share_memory(a, b)
