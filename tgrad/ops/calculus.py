"""Differences and integrals of samples along a dim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, composite
from tgrad.ops.reduction import with_out
from tgrad.ops.view import normalize_dim

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@composite
@with_out
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """x[i + 1] - x[i] along ``dim``, ``n`` times over; of bools whether they differ.

    ``prepend`` and ``append`` are joined to the input first. Shape: n fewer along ``dim``.
    Raises: RuntimeError for an input without dims or a negative n.
    """
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = normalize_dim("diff", dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    for p in parts:
        if p.ndim != input.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    x = OPS["cat"].function(parts, d) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[d])):
        m = x.shape[d] - 1
        after, before = x.narrow(d, 1, m), x.narrow(d, 0, m)
        x = after.logical_xor(before) if x.dtype is dtypes.bool_ else after - before
    return x if n else x.clone()


def _panels(name: str, y: Tensor, x: Tensor | None, dx: float, dim: int) -> tuple[Tensor, int]:
    """The area over each step along ``dim``, and ``dim``."""
    d = normalize_dim(name, dim, y.ndim)
    if y.dtype is dtypes.bool_ or (x is not None and x.dtype is dtypes.bool_):
        raise RuntimeError(
            f"{name}: received a bool input for `x` or `y`, but bool is not supported"
        )
    m = max(y.shape[d] - 1, 0)
    if not y.shape[d]:
        return y.narrow(d, 0, 0) * 0.5, d
    sums = y.narrow(d, 1, m) + y.narrow(d, 0, m)
    if x is None:
        return sums * (dx * 0.5), d
    if x.ndim == 1:
        if x.shape[0] != y.shape[d]:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point, got {x.shape[0]} for "
                f"{y.shape[d]}"
            )
        steps = diff(x).reshape(*(m if k == d else 1 for k in range(y.ndim)))
    else:
        steps = diff(x, dim=d - y.ndim)
    return sums * steps * 0.5, d


def _arguments(x: Tensor | None, dx: float | None, name: str) -> float:
    if x is not None and dx is not None:
        raise TypeError(f"{name}() takes x or dx, not both")
    return 1.0 if dx is None else dx


@composite
def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The integral of samples ``y`` at places ``x`` (or ``dx`` apart) by the trapezoidal rule.

    Shape: the input's without ``dim``; ``x`` is a vector or broadcasts.
    Raises: RuntimeError for bools or an ``x`` of another length, IndexError for ``dim``.
    """
    parts, d = _panels("trapezoid", y, x, _arguments(x, dx, "trapezoid"), dim)
    return parts.sum(d)


@composite(spaces=("tgrad",))
def trapz(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """See :func:`trapezoid`."""
    return trapezoid(y, x, dx=dx, dim=dim)


@composite(spaces=("tgrad",))
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The running integral of :func:`trapezoid`, one value a step."""
    name = "cumulative_trapezoid"
    parts, d = _panels(name, y, x, _arguments(x, dx, name), dim)
    return parts.cumsum(d)
