"""Differences and integrals of samples along a dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.reduction import with_out
from tgrad.ops.view import distinct_dims, normalize_dim

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


def _spacings(x: Tensor, spacing: Any, dims: list[int]) -> list[Any]:
    """The step along each of ``dims``: a number, or the places of the samples."""
    if spacing is None or isinstance(spacing, (int, float)):
        return [1.0 if spacing is None else float(spacing)] * len(dims)
    steps = list(spacing)
    if len(steps) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or a list of length "
            f"{len(dims)}, but got a list of length {len(steps)}"
        )
    for d, step in zip(dims, steps, strict=True):
        if isinstance(step, Variable) and tuple(step.shape) != (x.shape[d],):
            raise RuntimeError(
                "torch.gradient expected each element of spacing to have one dimension and as many "
                f"elements as the input along its dim, {x.shape[d]}, but got {list(step.shape)}"
            )
    return steps


def _slopes(x: Tensor, step: Any, d: int, edge_order: int) -> Tensor:
    """The derivative along ``d``: central differences, of ``edge_order`` at both ends."""
    n = x.shape[d]

    def at(start: int, length: int = 1) -> Tensor:
        return x.narrow(d, start, length)

    along = [-1 if k == d else 1 for k in range(x.ndim)]
    if isinstance(step, Variable):
        h = (step[1:] - step[:-1]).to(x.dtype).reshape(along)
        left, right = h.narrow(d, 0, n - 2), h.narrow(d, 1, n - 2)
        first, second = h.narrow(d, 0, 1), h.narrow(d, min(1, n - 2), 1)
        last, before = h.narrow(d, n - 2, 1), h.narrow(d, max(n - 3, 0), 1)
        low, mid, high = at(0, n - 2), at(1, n - 2), at(2, n - 2)
        inner = (left * left * (high - mid) + right * right * (mid - low)) / (
            left * right * (left + right)
        )
    else:
        first = second = last = before = step
        inner = (at(2, n - 2) - at(0, n - 2)) / (2 * step)
    head = (at(1) - at(0)) / first
    tail = (at(n - 1) - at(n - 2)) / last
    if edge_order == 2:
        # The parabola through three points, differentiated at the outer one.
        next_head, next_tail = (at(2) - at(1)) / second, (at(n - 2) - at(n - 3)) / before
        head = head + (head - next_head) * (first / (first + second))
        tail = tail + (tail - next_tail) * (last / (last + before))
    return OPS["cat"].function([head, inner, tail], d)


@composite(spaces=("tgrad",))
def gradient(
    input: Tensor,
    *,
    spacing: Any = None,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
) -> list[Tensor]:
    """The partial derivatives of sampled values along each of ``dim``, or of all dims.

    Central differences, exact for parabolas, for places at any distance; at both ends differences
    of ``edge_order`` 1 or 2. ``spacing`` is the distance of samples, one for each dim, or their
    places, a vector for each dim.
    Shape: each that of the input. Raises: RuntimeError for another order, too few samples, spacings
    of another length, or a dim twice.
    Source: Fornberg 1988, "Generation of finite difference formulas on arbitrarily spaced grids".
    """
    x = input if input.dtype.category >= dtypes.FLOAT else input.to(dtypes.get_default_dtype())
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    given = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = list(distinct_dims("gradient", list(given), x.ndim))
    for d in dims:
        if x.shape[d] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
    steps = _spacings(x, spacing, dims)
    return [_slopes(x, step, d, edge_order) for step, d in zip(steps, dims, strict=True)]
