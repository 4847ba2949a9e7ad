"""Views: ops whose result shares memory with their input. The card makes the new array itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad.dispatch import composite, gradient, view as view_op
from tgrad.runtime.array import expand as expand_array
from tgrad.runtime.array import is_contiguous, reshape_strides, as_strided as restride

if TYPE_CHECKING:
    from tgrad.runtime.array import Array
    from tgrad.tensor import Tensor


def sizes(size: tuple) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike."""
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """A non-negative dim. Raises IndexError out of range."""
    span = max(ndim, 1)
    if not -span <= dim < span:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        )
    return dim % span


def infer(name: str, size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """``size`` with its -1 worked out. Raises RuntimeError where the counts cannot agree."""
    total, known = math.prod(shape), math.prod(n for n in size if n != -1)
    unknown = size.count(-1)
    if unknown > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(n < -1 for n in size):
        raise RuntimeError(f"invalid shape dimension {min(size)}")
    if unknown == 0 and known == total:
        return size
    if unknown == 0 or known == 0 or total % known:
        raise RuntimeError(f"{name}: shape '{list(size)}' is invalid for input of size {total}")
    return tuple(total // known if n == -1 else n for n in size)


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
def view(input: Tensor, *shape: int) -> Tensor:
    """The same memory with another shape; -1 is inferred.

    Raises: RuntimeError if the sizes do not agree or strides rule out a view.
    """
    return _view(input, infer("view", sizes(shape), input.shape))


@composite
def reshape(input: Tensor, *shape: int) -> Tensor:
    """``view`` where strides allow it, else a copy with that shape; -1 is inferred."""
    size = infer("reshape", sizes(shape), input.shape)
    a = input.array
    if not is_contiguous(a) and reshape_strides(a.shape, a.strides, size, a.itemsize) is None:
        return _view(input.clone(), size)
    return _view(input, size)


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
    order = tuple(normalize_dim("permute", d, input.ndim) for d in sizes(dims))
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
    d0 = normalize_dim("transpose", dim0, input.ndim)
    d1 = normalize_dim("transpose", dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[d0], order[d1] = order[d1], order[d0]
    return _permute(input, tuple(order))


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
