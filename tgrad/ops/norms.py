"""Vector norms, and the smooth maximum log sum exp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.copy import to_dtype
from tgrad.ops.reduction import (
    _sum,  # pyright: ignore[reportPrivateUsage]
    check_flag,
    normalize_dims,
    reduced,
    restore,
    with_out,
)
from tgrad.pointwise import pointwise, xp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


# ---- vector norms --------------------------------------------------------------------------------


@op(spaces=())
def _vector_norm(x: Tensor, ord: float, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """sum(|x|^ord)^(1/ord) over the axes ``dim``; max, min and count for inf, -inf and 0."""
    return Spec(reduced(x.shape, dim, keepdim), x.dtype.to_real())


@gradient(_vector_norm)
def _(g, x, y, ord, dim, keepdim):
    g, y = restore(g, x, dim, keepdim), restore(y, x, dim, keepdim)
    if ord == 0:
        return None
    if ord == 1:
        return norm1_backward(g, x)
    if ord == 2:
        return norm2_backward(g, x, y)
    if math.isinf(ord):
        ties = _sum(where_magnitude(1.0, x.detach(), y.detach()), dim, True, y.dtype)
        return norm1_backward(where_magnitude(g / ties, x, y), x)
    return norm_backward(g, x, y, ord - 1)


@pointwise
def norm1_backward(g, x):
    """g * sign(x)."""
    return g * xp.sign(x)


@pointwise
def norm2_backward(g, x, y):
    """g * x / y, and 0 where y = 0."""
    return g * (x / xp.where(y == 0, 1, y))


@pointwise
def norm_backward(g, x, y, power: float):
    """g * sign(x) * (|x| / y)^power, and 0 where x = 0."""
    zero = x == 0
    size = xp.where(zero, 1, xp.abs(x)) / xp.where(y == 0, 1, y)
    return xp.where(zero, 0, g * xp.sign(x) * xp.pow(size, power))


@pointwise(spaces=())
def where_magnitude(g, x, y):
    """g where |x| = y, else 0."""
    return xp.where(xp.abs(x) == y, g, 0)


@gradient(where_magnitude, "g")
def _(gg, x, y):
    return where_magnitude(gg, x, y)


@composite(spaces=("linalg",))
@with_out
def vector_norm(
    input: Tensor,
    ord: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """sum(|x|^ord)^(1/ord) over ``dim``, or over everything.

    ``ord`` inf and -inf give the largest and smallest size, 0 the count of nonzero elements. The
    gradient at 0 is 0.
    Raises: RuntimeError for integer inputs, a narrowing ``dtype``, or where there is nothing to
    reduce and ``ord`` has no identity; TypeError unless ``ord`` is a number.
    """
    name = "linalg.vector_norm"
    if isinstance(ord, bool) or not isinstance(ord, (int, float)):
        raise TypeError(f"{name}(): argument 'ord' must be Number, not {type(ord).__name__}")
    if input.dtype.category < dtypes.FLOAT:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {input.dtype.name}"
        )
    axes = normalize_dims(name, input.ndim, dim)
    if ord < 0 or math.isinf(ord):
        empty = [i for i in axes if input.shape[i] == 0]
        if empty:
            where = f"the dimension {empty[0]}" if dim is not None else "an empty tensor"
            raise RuntimeError(
                f"{name} cannot compute the {ord} norm on {where} because this is empty and the "
                "operation does not have an identity"
            )
    if dtype is not None:
        if dtypes.promote_types(input.dtype, dtype) is not dtype:
            raise RuntimeError(
                f"{name}: the dtype of the input ({input.dtype.name}) should be convertible "
                f"without narrowing to the specified dtype ({dtype.name})"
            )
        input = to_dtype(input, dtype)
    return _vector_norm(input, float(ord), axes, check_flag(name, keepdim))


@composite
@with_out
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: dtype | None = None,
) -> Tensor:
    """The vector norm of order ``p`` over ``dim``, or over everything; "fro" and None mean 2.

    "nuc", the sum of singular values, is that of matrices (``dim`` names two).
    Raises: RuntimeError for integer inputs or another name; dims as :func:`sum`.
    """
    if p == "nuc":
        matrix = OPS["matrix_norm"].function
        dims = tuple(range(input.ndim)) if dim is None else dim
        return matrix(input, "nuc", dims, keepdim, dtype=dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"norm: Order {p} not supported.")
    if p == "fro" and isinstance(dim, (tuple, list)) and len(dim) > 2:
        raise RuntimeError(
            f"norm: dim must be a 2-tuple for the Frobenius norm. Got {' '.join(map(str, dim))}"
        )
    order = 2.0 if p is None or isinstance(p, str) else p
    return vector_norm(input, order, dim, keepdim, dtype=dtype)


# ---- log sum exp ---------------------------------------------------------------------------------


@op(spaces=())
def _logsumexp(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Spec:
    """log(sum(exp(x))) over the axes ``dim``, computed around the largest element."""
    return Spec(reduced(x.shape, dim, keepdim), x.dtype)


@gradient(_logsumexp)
def _(g, x, y, dim, keepdim):
    return logsumexp_backward(restore(g, x, dim, keepdim), x, restore(y, x, dim, keepdim))


@pointwise
def logsumexp_backward(g, x, y):
    """g * exp(x - y)."""
    return g * xp.exp(x - y)


@composite(spaces=("tgrad", "Tensor", "special"))
@with_out
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over ``dim`` without overflow; -inf for no elements.

    dtype: integers become the default float. Raises: dims as :func:`sum`.
    """
    axes = normalize_dims("logsumexp", input.ndim, dim)
    if input.dtype.is_complex:
        raise RuntimeError(f"\"logsumexp\" not implemented for '{input.dtype.name}'")
    if input.dtype.category < dtypes.FLOAT:
        input = to_dtype(input, dtypes.get_default_dtype())
    return _logsumexp(input, axes, check_flag("logsumexp", keepdim))
