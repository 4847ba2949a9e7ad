"""Variance and standard deviation, alone or with the mean that they are taken around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.reduction import check_flag, count, normalize_dims, reduced, restore, with_out
from tgrad.pointwise import pointwise, xp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.tensor import Tensor


@op(spaces=())
def _var_mean(
    x: Tensor, dim: tuple[int, ...], correction: float, keepdim: bool, root: bool
) -> tuple[Spec, Spec]:
    """sum((x - mean)^2) / max(0, n - correction), or its square root, and the mean.

    In one pass over x (Welford 1962; Chan, Golub and LeVeque 1979), in float32 or wider.
    """
    spec = Spec(reduced(x.shape, dim, keepdim), x.dtype)
    return spec, Spec(spec.shape, spec.dtype)


@gradient(_var_mean)
def _(g0, g1, x, y0, y1, dim, correction, keepdim, root):
    n = count(x.shape, dim)
    dx = None
    if g0 is not None:
        if root:
            g0 = std_backward(g0, y0)
        free = max(n - correction, 0)
        scale = 2 / free if free else float("inf")
        mean = restore(y1, x, dim, keepdim)
        dx = var_backward(restore(g0, x, dim, keepdim), x, mean, scale)
    if g1 is not None:
        shift = restore(g1 / max(n, 1), x, dim, keepdim).expand(x.shape)
        dx = shift if dx is None else dx + shift
    return dx


@pointwise
def std_backward(g, y):
    """g / (2 y), and 0 where y = 0."""
    return xp.where(y == 0, 0, g / (y * 2))


@pointwise
def var_backward(g, x, mean, scale: float):
    """g * scale * (x - mean)."""
    return g * (scale * (x - mean))


def _moments(
    name: str,
    input: Tensor,
    dim: int | Sequence[int] | bool | None,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
    root: bool,
) -> tuple[Tensor, Tensor]:
    """``f(x, unbiased)``, ``f(x, dim, unbiased, keepdim)`` and ``f(x, dim, correction=)``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if input.dtype.category < dtypes.FLOAT:
        raise RuntimeError(f"{name}: std and var only support floating point and complex dtypes")
    if unbiased is not None:
        if correction is not None:
            raise TypeError(f"{name}() takes unbiased or correction, not both")
        correction = 1 if unbiased else 0
    axes = normalize_dims(name, input.ndim, dim)
    correction = 1 if correction is None else correction
    return _var_mean(input, axes, correction, check_flag(name, keepdim), root)


@composite
@with_out
def var(
    input: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """sum((x - mean(x))^2) / max(0, n - correction) over ``dim``, or over everything.

    ``correction`` is 1 unless given; ``unbiased`` False means 0.
    Raises: RuntimeError for integer inputs, IndexError for a dim out of range.
    """
    return _moments("var", input, dim, unbiased, keepdim, correction, False)[0]


@composite
@with_out
def std(
    input: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The square root of :func:`var`; its gradient is 0 where it is 0."""
    return _moments("std", input, dim, unbiased, keepdim, correction, True)[0]


@composite
def var_mean(
    input: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(:func:`var`, mean) in one pass."""
    return _moments("var_mean", input, dim, unbiased, keepdim, correction, False)


@composite
def std_mean(
    input: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(:func:`std`, mean) in one pass."""
    return _moments("std_mean", input, dim, unbiased, keepdim, correction, True)
