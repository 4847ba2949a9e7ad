"""Largest and smallest elements, and where they are. NaN is larger and smaller than any number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes, return_types
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.reduction import (
    _sum,  # pyright: ignore[reportPrivateUsage]
    check_flag,
    check_not_empty,
    count,
    normalize_dims,
    reduced,
    restore,
    single_dim,
    with_out,
)
from tgrad.pointwise import pointwise, xp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.tensor import Tensor


# ---- values over several dims --------------------------------------------------------------------


@op(spaces=())
def _amax(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """Largest element over the axes ``dim``."""
    return Spec(reduced(x.shape, dim, keepdim), x.dtype)


@op(spaces=())
def _amin(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """Smallest element over the axes ``dim``."""
    return Spec(reduced(x.shape, dim, keepdim), x.dtype)


@gradient(_amax)
def _(g, x, y, dim, keepdim):
    return among_ties(g, x, y, dim, keepdim)


@gradient(_amin)
def _(g, x, y, dim, keepdim):
    return among_ties(g, x, y, dim, keepdim)


def among_ties(g: Tensor, x: Tensor, y: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """g shared evenly by the elements of x that equal the extremum y."""
    g, y = restore(g, x, dim, keepdim), restore(y.detach(), x, dim, keepdim)
    x = x.detach()
    ties = _sum(where_equal(1.0, x, y), dim, True, x.dtype)
    return where_equal(g / ties, x, y)


@pointwise(spaces=())
def where_equal(g, x, y):
    """g where x = y, else 0."""
    return xp.where(x == y, g, 0)


@gradient(where_equal, "g")
def _(gg, x, y):
    return where_equal(gg, x, y)


def _extremum(name: str, input: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> Tensor:
    if input.dtype.is_complex:
        raise RuntimeError(f"\"{name}\" not implemented for '{input.dtype.name}'")
    axes = normalize_dims(name, input.ndim, dim)
    check_not_empty(name, input.shape, axes, dim is None or dim == () or dim == [])
    entry = OPS["_amax" if name in ("amax", "max") else "_amin"]
    return entry.function(input, axes, check_flag(name, keepdim))


@composite
@with_out
def amax(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Largest element over ``dim``, or of all. Equal ones share the gradient.

    Raises: IndexError where a reduced dim is empty or out of range.
    """
    return _extremum("amax", input, dim, keepdim)


@composite
@with_out
def amin(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Smallest element over ``dim``, or of all. Equal ones share the gradient.

    Raises: IndexError where a reduced dim is empty or out of range.
    """
    return _extremum("amin", input, dim, keepdim)


@composite
@with_out
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> return_types.aminmax:
    """``(min, max)`` over ``dim``, or of all.

    Raises: RuntimeError where there is nothing to reduce, IndexError for a dim out of range.
    """
    axes = tuple(range(input.ndim))
    if dim is not None:
        axes = (single_dim("aminmax", input.ndim, dim),)
    if input.shape and count(input.shape, axes) == 0:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity."
        )
    return return_types.aminmax(
        _extremum("amin", input, axes, keepdim), _extremum("amax", input, axes, keepdim)
    )


# ---- values and indices over one dim -------------------------------------------------------------


@op(spaces=())
def _max_dim(x: Tensor, dim: int, keepdim: bool) -> tuple[Spec, Spec]:
    """The largest element along ``dim`` and the first index where it is."""
    shape = reduced(x.shape, (dim,), keepdim)
    return Spec(shape, x.dtype), Spec(shape, dtypes.int64)


@op(spaces=())
def _min_dim(x: Tensor, dim: int, keepdim: bool) -> tuple[Spec, Spec]:
    """The smallest element along ``dim`` and the first index where it is."""
    shape = reduced(x.shape, (dim,), keepdim)
    return Spec(shape, x.dtype), Spec(shape, dtypes.int64)


@gradient(_max_dim)
def _(g0, y1, x_spec, dim, keepdim):
    return at_index(g0, y1, x_spec, dim, keepdim)


@gradient(_min_dim)
def _(g0, y1, x_spec, dim, keepdim):
    return at_index(g0, y1, x_spec, dim, keepdim)


def at_index(g: Tensor, index: Tensor, x_spec: Tensor, dim: int, keepdim: bool) -> Tensor:
    """g at ``index`` along ``dim`` of zeros with the shape of x."""
    if not x_spec.shape:
        return g
    if not keepdim:
        shape = reduced(x_spec.shape, (dim,), True)
        g, index = g.reshape(shape), index.reshape(shape)
    return place(g, index, dim, x_spec.shape[dim])


@op(spaces=())
def place(x: Tensor, index: Tensor, dim: int, size: int) -> Spec:
    """Zeros, ``size`` long along ``dim``, with x at ``index`` there; indices are distinct."""
    return Spec((*x.shape[:dim], size, *x.shape[dim + 1 :]), x.dtype)


@op(spaces=())
def pick(x: Tensor, index: Tensor, dim: int) -> Spec:
    """x at ``index`` along ``dim``; indices are distinct, so that :func:`place` is the gradient."""
    return Spec(index.shape, x.dtype)


@gradient(place, "x")
def _(g, index, dim):
    return pick(g, index, dim)


@gradient(pick, "x")
def _(g, index, x_spec, dim):
    return place(g, index, dim, x_spec.shape[dim])


def _overload(
    name: str, input: Tensor, dim: int | Tensor | None, keepdim: bool, other: Tensor | None
) -> Tensor | tuple[Tensor, Tensor]:
    """The three forms of ``max`` and ``min``."""
    other = dim if isinstance(dim, Variable) else other  # pyright: ignore[reportAssignmentType]
    if other is not None:
        return OPS["maximum" if name == "max" else "minimum"].function(input, other)
    if dim is None:
        return _extremum(name, input, None, False)
    d = single_dim(name, input.ndim, dim)  # pyright: ignore[reportArgumentType]
    check_not_empty(name, input.shape, (d,), False)
    if input.dtype.is_complex:
        raise RuntimeError(f"\"{name}\" not implemented for '{input.dtype.name}'")
    entry = OPS["_max_dim" if name == "max" else "_min_dim"]
    return entry.function(input, d, check_flag(name, keepdim))


@composite
@with_out
def max(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
) -> Tensor | return_types.max:
    """``max(x)``: the largest of all. ``max(x, dim)``: (values, indices). ``max(x, y)``: maximum.

    The gradient of ``max(x)`` is shared among equal elements, that of ``max(x, dim)`` goes to the
    index returned, the first of the equal ones.
    Raises: IndexError where the dim is empty or out of range, RuntimeError for ``max`` of nothing.
    """
    result = _overload("max", input, dim, keepdim, other)
    return return_types.max(*result) if isinstance(result, tuple) else result


@composite
@with_out
def min(
    input: Tensor,
    dim: int | Tensor | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
) -> Tensor | return_types.min:
    """``min(x)``: the smallest of all. ``min(x, dim)``: (values, indices). ``min(x, y)``: minimum.

    Gradients and Raises: as :func:`max`.
    """
    result = _overload("min", input, dim, keepdim, other)
    return return_types.min(*result) if isinstance(result, tuple) else result


# ---- indices -------------------------------------------------------------------------------------


@op(spaces=())
def _argmax(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """The first position of the largest element over the axes ``dim``, row-major."""
    return Spec(reduced(x.shape, dim, keepdim), dtypes.int64)


@op(spaces=())
def _argmin(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """The first position of the smallest element over the axes ``dim``, row-major."""
    return Spec(reduced(x.shape, dim, keepdim), dtypes.int64)


def _position(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if input.dtype is dtypes.bool_ or input.dtype.is_complex:
        raise RuntimeError(f"{name}(): does not support {input.dtype.name} input")
    axes = tuple(range(input.ndim))
    if dim is not None:
        axes = (single_dim(name, input.ndim, dim),)[: input.ndim]
        check_not_empty(name, input.shape, axes, False)
    elif 0 in input.shape:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
        )
    return OPS["_" + name].function(input, axes, check_flag(name, keepdim))


@composite
@with_out
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first index of the largest element along ``dim``, or into the flattened input.

    dtype: int64. Raises: IndexError where there is no element, RuntimeError for bool.
    """
    return _position("argmax", input, dim, keepdim)


@composite
@with_out
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The first index of the smallest element along ``dim``, or into the flattened input.

    dtype: int64. Raises: IndexError where there is no element, RuntimeError for bool.
    """
    return _position("argmin", input, dim, keepdim)
