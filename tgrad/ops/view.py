"""Views: ops whose result shares memory with their input. The card makes the new array itself."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, composite, gradient
from tgrad.dispatch import view as view_op
from tgrad.pointwise import broadcast
from tgrad.runtime.array import CudaArray, is_contiguous, reshape_strides
from tgrad.runtime.array import as_strided as restride
from tgrad.runtime.array import expand as expand_array

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.runtime.array import Array
    from tgrad.tensor import Tensor


# ---- arguments -----------------------------------------------------------------------------------


def sizes(size: tuple) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    for n in size:
        if n.__class__ is not int:
            return tuple(operator.index(n) for n in size)
    return size


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """A non-negative dim. Raises IndexError out of range, TypeError unless an integer."""
    span = ndim or 1
    if dim.__class__ is not int:
        dim = operator.index(dim)
    if not -span <= dim < span:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        )
    return dim % span


def distinct_dims(name: str, dims: Sequence[int] | int, ndim: int) -> tuple[int, ...]:
    """Non-negative dims in the order given. Raises RuntimeError for one that is repeated."""
    given: Sequence[int] = (dims,) if isinstance(dims, int) else dims
    found: list[int] = []
    for d in given:
        d = normalize_dim(name, d, ndim)
        if d in found:
            raise RuntimeError(f"{name}: dim {d} appears multiple times in the list of dims")
        found.append(d)
    return tuple(found)


def infer(name: str, size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """``size`` with its -1 worked out. Raises RuntimeError where the counts cannot agree."""
    total, known = math.prod(shape), math.prod([n for n in size if n != -1])
    unknown = size.count(-1)
    if unknown > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(n < -1 for n in size):
        raise RuntimeError(f"invalid shape dimension {min(size)}")
    if unknown == 0 and known == total:
        return size
    if unknown == 0 or known == 0 or total % known:
        raise RuntimeError(f"{name}: shape '{list(size)}' is invalid for input of size {total}")
    return tuple([total // known if n == -1 else n for n in size])


# ---- the same elements in another shape ----------------------------------------------------------


@view_op(spaces=())
def _view(x: Tensor, size: tuple[int, ...]) -> Array:
    """x seen with shape ``size``, which the caller has checked to be possible."""
    a = x.array
    if is_contiguous(a):
        return a.reshape(size)
    strides = reshape_strides(a.shape, a.strides, size, a.itemsize)
    if strides is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return restride(a, size, strides)


@gradient(_view)
def _(g, x_spec):
    return g.reshape(x_spec.shape)


@composite(spaces=("Tensor",))
def view(input: Tensor, *shape: int | dtype) -> Tensor:
    """The same memory with another shape, -1 inferred; or, ``view(dtype)``, with the same bits
    read as another dtype (the last dim grows or shrinks by the ratio of their sizes).

    Raises: RuntimeError if the sizes do not agree or strides rule out a view.
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        return _bitcast(input, shape[0])
    return _view(input, infer("view", sizes(shape), input.shape))


@view_op(spaces=())
def _bitcast(x: Tensor, dtype: dtype) -> Array:
    """The bits of x read as ``dtype``; not differentiable."""
    a = x.array
    old, new = a.itemsize, dtype.itemsize
    if old == new:
        return a.view(dtype.numpy)
    both = f"to view {x.dtype.name} as {dtype.name} (different element sizes)"
    if not a.shape:
        raise RuntimeError(f"view: self.dim() cannot be 0 {both}")
    if a.strides[-1] != old:
        raise RuntimeError(f"view: self.stride(-1) must be 1 {both}, but got {x.stride(-1)}")
    if a.shape[-1] * old % new:
        raise RuntimeError(
            f"view: self.size(-1) must be divisible by {new // old} {both}, but got {a.shape[-1]}"
        )
    shape = (*a.shape[:-1], a.shape[-1] * old // new)
    if isinstance(a, CudaArray):
        strides = (*a.strides[:-1], new)
        return CudaArray(a.owner, a.ptr, shape, strides, dtype.numpy, a.device)
    return a.view(dtype.numpy)


@composite
def reshape(input: Tensor, *shape: int) -> Tensor:
    """``view`` where strides allow it, else a copy with that shape; -1 is inferred."""
    size = infer("reshape", sizes(shape), input.shape)
    a = input.array
    if not is_contiguous(a) and reshape_strides(a.shape, a.strides, size, a.itemsize) is None:
        return _view(input.clone(), size)
    return _view(input, size)


@composite(spaces=("Tensor",))
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """``reshape`` to the shape of ``other``."""
    return reshape(input, other.shape)


@composite(spaces=("Tensor",))
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """``view`` with the shape of ``other``."""
    return view(input, other.shape)


@composite
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims ``start_dim`` to ``end_dim`` joined into one; a 0-d input becomes 1-d.

    Raises: RuntimeError if start_dim comes after end_dim, IndexError out of range.
    """
    start = normalize_dim("flatten", start_dim, input.ndim)
    end = normalize_dim("flatten", end_dim, input.ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    if start == end and shape:
        return input
    return reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@composite
def ravel(input: Tensor) -> Tensor:
    """The elements in row-major order as one dim; a view where strides allow."""
    return reshape(input, -1)


@composite
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dim ``dim`` split into ``sizes``, of which one may be -1.

    Raises: RuntimeError unless the sizes multiply up to the dim's.
    """
    d = normalize_dim("unflatten", dim, input.ndim)
    parts = tuple(operator.index(n) for n in sizes)
    if not parts:
        raise RuntimeError("unflatten: sizes must be non-empty")
    n = input.shape[d] if input.shape else 1
    known = math.prod(m for m in parts if m != -1)
    if parts.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if (known != n) if -1 not in parts else (known == 0 or n % known != 0):
        raise RuntimeError(
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {d} "
            f"({n}) in the input tensor"
        )
    parts = tuple(n // known if m == -1 else m for m in parts)
    return _view(input, input.shape[:d] + parts + input.shape[d + 1 :])


@composite
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dims of size 1: all, or those of ``dim`` that have it.

    Raises: IndexError out of range, RuntimeError for a dim given twice.
    """
    shape = input.shape
    if dim is None:
        return _view(input, tuple([n for n in shape if n != 1]))
    dims = distinct_dims("squeeze", dim, len(shape))
    return _view(input, tuple([n for i, n in enumerate(shape) if n != 1 or i not in dims]))


@composite
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dim of size 1 before ``dim``. Raises IndexError out of range."""
    d = normalize_dim("unsqueeze", dim, input.ndim + 1)
    return _view(input, (*input.shape[:d], 1, *input.shape[d:]))


@composite
def atleast_1d(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """0-d tensors as (1,); all others as they are. Takes several, or a list."""
    return _each(tensors, lambda x: x if x.ndim else _view(x, (1,)))


@composite
def atleast_2d(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Dims of size 1 in front until there are two. Takes several, or a list."""
    return _each(tensors, lambda x: x if x.ndim > 1 else _view(x, (1, *atleast_1d(x).shape)))


@composite
def atleast_3d(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """(L,) as (1, L, 1), (H, W) as (H, W, 1). Takes several, or a list."""
    return _each(tensors, lambda x: x if x.ndim > 2 else _view(x, (*atleast_2d(x).shape, 1)))


def _each(tensors, function):
    if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
        return function(tensors[0])
    several = tensors[0] if len(tensors) == 1 else tensors
    return tuple(function(x) for x in several)


# ---- another order of dims -----------------------------------------------------------------------


@view_op(spaces=())
def _permute(x: Tensor, dims: tuple[int, ...]) -> Array:
    """x with its axes in the order ``dims``, all non-negative."""
    return x.array.transpose(dims)


@gradient(_permute)
def _(g, dims):
    return _permute(g, tuple(sorted(range(len(dims)), key=dims.__getitem__)))


@composite
def permute(input: Tensor, *dims: int) -> Tensor:
    """The dims in another order. Raises RuntimeError unless each appears once."""
    order = tuple([normalize_dim("permute", d, input.ndim) for d in sizes(dims)])
    if sorted(order) != list(range(input.ndim)):
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(order)}"
            if len(order) != input.ndim
            else "permute(): duplicate dims are not allowed."
        )
    return _permute(input, order)


@composite
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Dims ``dim0`` and ``dim1`` exchanged. Raises IndexError out of range."""
    ndim = len(input.array.shape)
    d0, d1 = normalize_dim("transpose", dim0, ndim), normalize_dim("transpose", dim1, ndim)
    order = list(range(ndim))
    if order:
        order[d0], order[d1] = order[d1], order[d0]
    return _permute(input, tuple(order))


@composite
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Another name of :func:`transpose`."""
    return transpose(input, axis0, axis1)


@composite
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Another name of :func:`transpose`."""
    return transpose(input, dim0, dim1)


@composite
def t(input: Tensor) -> Tensor:
    """The transposed matrix; fewer dims as they are. Raises RuntimeError for more than two."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return _permute(input, (1, 0)) if input.ndim == 2 else _permute(input, tuple(range(input.ndim)))


@composite(spaces=())
def T(input: Tensor) -> Tensor:
    """All dims in reverse order."""
    return _permute(input, tuple(range(input.ndim - 1, -1, -1)))


@composite(spaces=())
def mT(input: Tensor) -> Tensor:
    """Each matrix of the last two dims transposed. Raises RuntimeError for fewer than two dims."""
    if input.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{input.ndim}-D tensor."
        )
    return transpose(input, -2, -1)


@composite(spaces=())
def H(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix. Raises RuntimeError unless there are two dims."""
    if input.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor."
            + (" For batches of matrices, consider using tensor.mH" if input.ndim > 2 else "")
        )
    return _conjugate(T(input))


@composite(spaces=())
def mH(input: Tensor) -> Tensor:
    """The conjugate transpose of each matrix of the last two dims."""
    if input.ndim < 2:
        raise RuntimeError(
            "tensor.mH is only supported on matrices or batches of matrices. Got "
            f"{input.ndim}-D tensor."
        )
    return _conjugate(mT(input))


def _conjugate(x: Tensor) -> Tensor:
    return OPS["conj"].function(x) if x.dtype.is_complex else x


@composite
def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of each matrix of the last two dims."""
    return mH(input)


@composite
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dims ``source`` moved to ``destination``; the others keep their order.

    Raises: IndexError out of range, RuntimeError for repeated dims or unequal counts.
    """
    if isinstance(source, int) != isinstance(destination, int):
        raise TypeError("movedim(): source and destination must both be ints or both be tuples")
    given = [(s,) if isinstance(s, int) else tuple(s) for s in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({list(given[0])} dims) should contain the same number of dims as destination "
            f"({list(given[1])} dims)"
        )
    moved = [tuple(normalize_dim("movedim", d, input.ndim) for d in dims) for dims in given]
    for name, dims, normal in zip(("source", "destination"), given, moved, strict=True):
        if len(set(normal)) != len(normal):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
    rest = iter([d for d in range(input.ndim) if d not in moved[0]])
    target = dict(zip(moved[1], moved[0], strict=True))
    return _permute(
        input, tuple(target[d] if d in target else next(rest) for d in range(input.ndim))
    )


@composite
def moveaxis(
    input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """Another name of :func:`movedim`."""
    return movedim(input, source, destination)


# ---- broadcasting --------------------------------------------------------------------------------


@view_op(spaces=())
def _expand(x: Tensor, size: tuple[int, ...]) -> Array:
    """x broadcast to ``size`` by strides of 0."""
    return expand_array(x.array, size)


@gradient(_expand)
def _(g):
    return g  # the engine sums broadcast dims


@composite(spaces=("Tensor",))
def expand(input: Tensor, *size: int, implicit: bool = False) -> Tensor:
    """Dims of size 1 repeated without copying; -1 keeps a size, new dims go in front.

    Raises: RuntimeError where a size is neither 1 nor the one asked for.
    """
    new = sizes(size)
    extra = len(new) - input.ndim
    if extra < 0:
        raise RuntimeError(
            f"expand({list(input.shape)}, size={list(new)}): the number of sizes provided "
            f"({len(new)}) must be greater or equal to the number of dimensions in the tensor "
            f"({input.ndim})"
        )
    full = (None,) * extra + input.shape
    result = []
    for i, (n, m) in enumerate(zip(full, new, strict=True)):
        if m == -1 and n is None:
            raise RuntimeError(
                f"The expanded size of the tensor ({m}) isn't allowed in a leading, non-existing "
                f"dimension {i}"
            )
        size_i = n if m == -1 else m
        if n is not None and n not in (1, size_i):
            raise RuntimeError(
                f"The expanded size of the tensor ({m}) must match the existing size ({n}) at "
                f"non-singleton dimension {i}. Target sizes: {list(new)}. Tensor sizes: "
                f"{list(input.shape)}"
            )
        result.append(size_i)
    return _expand(input, tuple(result))


@composite(spaces=("Tensor",))
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """``expand`` to the shape of ``other``."""
    return expand(input, other.shape)


@composite
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``expand`` to ``size``."""
    return expand(input, tuple(size))


@composite(spaces=("tgrad",))
def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that tensors of ``shapes`` broadcast to. Raises RuntimeError where they do not."""
    tuples = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return broadcast("broadcast_shapes", tuples) if tuples else ()


@composite(spaces=("tgrad",))
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape, as views."""
    several = tensors[0] if len(tensors) == 1 and not hasattr(tensors[0], "array") else tensors
    shape = broadcast("broadcast_tensors", [x.shape for x in several])
    return tuple(_expand(x, shape) for x in several)
