"""Joining tensors, and the gradients of windows: ops that copy parts into a whole."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, check_out, composite, gradient, op, store_out
from tgrad.ops.view import (
    _expand,
    _view,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    normalize_dim,
)
from tgrad.ops.window import Basic, _as_strided, _slice, _unfold, at, parts

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


# ---- the gradients of windows: zeros with values in their place ----------------------------------


@op(spaces=())
def slice_backward(g: Tensor, shape: tuple[int, ...], index: Basic) -> Spec:
    """Zeros of ``shape`` with ``y[index] = g``."""
    return Spec(shape, g.dtype)


@gradient(slice_backward)
def _(gg, index):
    return _slice(gg, index)


@op(spaces=())
def _place_window(
    x: Tensor, shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> Spec:
    """Contiguous zeros of ``shape`` whose window ``as_strided(size, stride, offset)`` holds x.

    Values that fall on one element add up.
    """
    return Spec(shape, x.dtype)


@gradient(_place_window)
def _(g, size, stride, offset):
    g = g.contiguous().view(-1)
    first = g.storage_offset()
    return _as_strided(g, size, stride, first + offset, ((1,), first))


@op(spaces=())
def unfold_backward(g: Tensor, shape: tuple[int, ...], dim: int, size: int, step: int) -> Spec:
    """Each element is the sum of ``g`` over the windows of ``dim`` that contain it."""
    return Spec(shape, g.dtype)


@gradient(unfold_backward)
def _(gg, dim, size, step):
    return _unfold(gg, dim, size, step)


# ---- joining -------------------------------------------------------------------------------------


@op(spaces=())
def _cat(tensors: list[Tensor], dim: int, dtype: dtype) -> Spec:
    """The tensors, alike but for ``dim``, one after the other along it, converted to ``dtype``."""
    shape = tensors[0].array.shape
    total = sum([x.array.shape[dim] for x in tensors])
    return Spec((*shape[:dim], total, *shape[dim + 1 :]), dtype)


@gradient(_cat)
def _(g, tensors_spec, dim):
    indices, first = [], 0
    for spec in tensors_spec:
        end = first + spec.shape[dim]
        indices.append(at(dim, slice(first, end)))
        first = end
    return list(parts(g, dim, indices, False))


@op(spaces=())
def _stack(tensors: list[Tensor], dim: int, dtype: dtype) -> Spec:
    """Tensors of one shape along a new dim, converted to ``dtype``."""
    shape = tensors[0].array.shape
    return Spec((*shape[:dim], len(tensors), *shape[dim:]), dtype)


@gradient(_stack)
def _(g, tensors_spec, dim):
    return list(parts(g, dim, [at(dim, i) for i in range(len(tensors_spec))], True))


def _tensors(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """``tensors`` as a list. Raises TypeError unless they are Tensors."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    for i, x in enumerate(tensors):
        if not isinstance(x, Variable):
            raise TypeError(
                f"{name}(): expected Tensor as element {i} in argument 0, but got "
                f"{type(x).__name__}"
            )
    return list(tensors)


def _common(tensors: list[Tensor]) -> dtype:
    first = tensors[0].dtype
    for x in tensors:
        if x.dtype is not first:
            return functools.reduce(dtypes.promote_types, [x.dtype for x in tensors])
    return first


def _into(name: str, out: Tensor | None, y: Tensor, inputs: list[Tensor]) -> Tensor:
    if out is None:
        return y
    check_out(name, (out,), inputs)
    store_out(name, (out,), (y.detach(),))
    return out


@composite(spaces=("tgrad",))
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors one after the other along ``dim``; dtypes promote.

    1-d tensors without elements fit any shape and are left out.
    Raises: ValueError for an empty list, RuntimeError where shapes differ elsewhere than in
    ``dim``, IndexError out of range.
    """
    given = _tensors("cat", tensors)
    if not given:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    kept = [x for x in given if x.array.shape != (0,)] or given
    shape = kept[0].array.shape
    if not shape or any(not x.array.shape for x in given):
        i = next(i for i, x in enumerate(given) if not x.array.shape)
        raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    d = normalize_dim("cat", dim, len(shape))
    for i, x in enumerate(given):
        other = x.array.shape
        if other == shape or other == (0,):
            continue
        if len(other) != len(shape):
            raise RuntimeError(
                f"cat: Tensors must have same number of dimensions: got {len(shape)} and "
                f"{len(other)}"
            )
        for k, (m, n) in enumerate(zip(shape, other, strict=True)):
            if m != n and k != d:
                raise RuntimeError(
                    f"cat: Sizes of tensors must match except in dimension {d}. Expected size {m} "
                    f"but got size {n} for tensor number {i} in the list."
                )
    return _into("cat", out, _cat(kept, d, _common(given)), given)


@composite(spaces=("tgrad",))
def concat(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`cat`."""
    return cat(tensors, dim, out=out)


@composite(spaces=("tgrad",))
def concatenate(
    tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
) -> Tensor:
    """Another name of :func:`cat`."""
    return cat(tensors, dim if axis is None else axis, out=out)


@composite(spaces=("tgrad",))
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape along a new dim; dtypes promote.

    Raises: RuntimeError for an empty list or unequal shapes, IndexError out of range.
    """
    given = _tensors("stack", tensors)
    if not given:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = given[0].array.shape
    for i, x in enumerate(given):
        if x.array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(x.shape)} at entry {i}"
            )
    y = _stack(given, normalize_dim("stack", dim, len(shape) + 1), _common(given))
    return _into("stack", out, y, given)


@composite(spaces=("tgrad",))
def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """``cat`` along dim 1 (dim 0 for 1-d tensors) of ``atleast_1d``."""
    several = [atleast_1d(x) for x in _tensors("hstack", tensors)]
    if not several:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(several, 0 if several[0].ndim == 1 else 1, out=out)


@composite(spaces=("tgrad",))
def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """``cat`` along dim 0 of ``atleast_2d``."""
    several = [atleast_2d(x) for x in _tensors("vstack", tensors)]
    if not several:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat(several, 0, out=out)


@composite(spaces=("tgrad",))
def row_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`vstack`."""
    return vstack(tensors, out=out)


@composite(spaces=("tgrad",))
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """``cat`` along dim 2 of ``atleast_3d``."""
    several = [atleast_3d(x) for x in _tensors("dstack", tensors)]
    if not several:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return cat(several, 2, out=out)


@composite(spaces=("tgrad",))
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """``hstack`` with 0-d and 1-d tensors as columns."""
    several = _tensors("column_stack", tensors)
    if not several:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    columns = [x if x.ndim > 1 else _view(x, (x.numel(), 1)) if x.ndim == 0
               else x.unsqueeze(1) for x in several]  # fmt: skip
    return hstack(columns, out=out)


@composite(spaces=("tgrad",))
def meshgrid(*tensors: Tensor, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid from those of its axes, as expanded views.

    ``indexing``: "ij" (the default) numbers dims in the order of the tensors, "xy" exchanges the
    first two. Raises: RuntimeError for tensors of more than one dim or unequal dtypes.
    """
    axes = (
        list(tensors[0])
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list))
        else list(tensors)
    )
    if not axes:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            'meshgrid: indexing must be one of "xy" or "ij", but received: ' + str(indexing)
        )
    for x in axes:
        if x.ndim > 1:
            raise RuntimeError(
                f"meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x.ndim}D"
            )
        if x.dtype is not axes[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    swapped = indexing == "xy" and len(axes) > 1
    if swapped:
        axes[0], axes[1] = axes[1], axes[0]
    n = len(axes)
    shape = tuple(x.numel() for x in axes)
    grids = [
        _expand(_view(x, (*(1,) * i, shape[i], *(1,) * (n - 1 - i))), shape)
        for i, x in enumerate(axes)
    ]
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@composite(spaces=("tgrad",))
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of one element of each vector, in rows; of one vector itself.

    Shape: (N), (M), ... -> (N M ..., number of vectors). Raises: RuntimeError for other ranks.
    """
    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@composite
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The ways to take ``r`` elements of a vector in order, in rows; in itertools' order.

    Raises: RuntimeError for another rank or a negative r.
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r)
    index = input.new_tensor(rows, dtype=dtypes.int64)
    return input[index.reshape(-1)].reshape(-1, r)


@composite(spaces=("tgrad",))
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Flat row-major indices as one index per dim of ``shape``.

    Shape: each of the indices'. Raises: TypeError for a tensor that is not integer, ValueError for
    a negative size or an index out of range.
    """
    if indices.dtype.category is not dtypes.int64.category:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found, rest = [], indices
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))
