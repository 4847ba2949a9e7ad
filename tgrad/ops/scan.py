"""Scans: running sums, products and extrema along a dim, and the linear recurrence under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes, return_types
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.copy import to_dtype
from tgrad.ops.reduction import single_dim, sum_dtype, with_out

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


# ---- the machinery -------------------------------------------------------------------------------


@op(spaces=())
def _shift(x: Tensor, dim: int, step: int, fill: float) -> Spec:
    """x moved by ``step`` (1 or -1) along ``dim``; ``fill`` where nothing moved in."""
    return Spec(x.shape, x.dtype)


@gradient(_shift)
def _(g, dim, step):
    return _shift(g, dim, -step, 0.0)


@op(spaces=())
def recurrence(a: Tensor, b: Tensor, dim: int, reverse: bool, late: bool) -> Spec:
    """h[t] = c[t] h[t-1] + b[t] along ``dim``, h before the first = 0; backwards if ``reverse``.

    c[t] is a[t], or with ``late`` the a of the step before, a[t-1]. The scan of pairs
    (c, b) under (c1, b1)(c2, b2) = (c1 c2, c2 b1 + b2) is associative (Blelloch 1990); zeros need
    no care, so that gradients of products and of smooth maxima are written with it.
    """
    return Spec(b.shape, b.dtype)


@gradient(recurrence)
def _(g, a, y, dim, reverse, late):
    db = recurrence(a, g, dim, not reverse, not late)
    step = -1 if reverse else 1
    if late:
        return _shift(db, dim, -step, 0.0) * y, db
    return db * _shift(y, dim, step, 0.0), db


# ---- sums and products ---------------------------------------------------------------------------


@op(spaces=())
def _cumsum(x: Tensor, dim: int, reverse: bool, dtype: dtype) -> Spec:
    """Sum of x up to each position along ``dim``, or from it on if ``reverse``."""
    return Spec(x.shape, dtype)


@gradient(_cumsum)
def _(g, dim, reverse):
    return _cumsum(g, dim, not reverse, g.dtype)


@op(spaces=())
def _cumprod(x: Tensor, dim: int, reverse: bool) -> Spec:
    """Product of x up to each position along ``dim``, or from it on if ``reverse``."""
    return Spec(x.shape, x.dtype)


@gradient(_cumprod)
def _(g, x, dim, reverse):
    """dx[i] = (product before i) * sum over k >= i of g[k] (product between i and k)."""
    step = -1 if reverse else 1
    before = _shift(_cumprod(x, dim, reverse), dim, step, 1.0)
    return before * recurrence(x, g, dim, not reverse, True)


def _axis(name: str, input: Tensor, dim: int) -> int:
    if input.dtype.is_complex and name not in ("cumsum", "cumprod"):
        raise RuntimeError(f"\"{name}\" not implemented for '{input.dtype.name}'")
    return single_dim(name, input.ndim, dim)


@composite(inplace=True)
@with_out(sets_dtype=True)
def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """y[i] = x[0] + ... + x[i] along ``dim``.

    dtype: integers and bool sum to int64, all others keep theirs unless ``dtype`` is given.
    Raises: IndexError for a dim out of range.
    """
    axis = _axis("cumsum", input, dim)
    return _cumsum(input, axis, False, sum_dtype(input, dtype))


@composite(inplace=True)
@with_out(sets_dtype=True)
def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """y[i] = x[0] * ... * x[i] along ``dim``; the gradient is exact where elements are 0.

    dtype: as :func:`cumsum`. Raises: IndexError for a dim out of range.
    """
    axis = _axis("cumprod", input, dim)
    return _cumprod(to_dtype(input, sum_dtype(input, dtype)), axis, False)


@op(spaces=())
def _logcumsumexp(x: Tensor, dim: int) -> Spec:
    """log(exp(x[0]) + ... + exp(x[i])) along ``dim``."""
    return Spec(x.shape, x.dtype)


@gradient(_logcumsumexp)
def _(g, x, y, dim):
    """dx[i] = exp(x[i] - y[i]) r[i], r[i] = g[i] + exp(y[i] - y[i+1]) r[i+1]: nothing overflows."""
    exp = OPS["exp"].function
    decay = exp(y - _shift(y, dim, -1, float("inf")))
    return exp(x - y) * recurrence(decay, g, dim, True, False)


@composite
@with_out
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """y[i] = log(exp(x[0]) + ... + exp(x[i])) along ``dim``, without overflow.

    Raises: NotImplementedError for integers, IndexError for a dim out of range.
    """
    axis = _axis("logcumsumexp", input, dim)
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"logcumsumexp\" not implemented for '{input.dtype.name}'")
    return _logcumsumexp(input, axis)


# ---- extrema -------------------------------------------------------------------------------------


@op(spaces=())
def _cummax(x: Tensor, dim: int) -> tuple[Spec, Spec]:
    """The largest element so far along ``dim``, and the last index where it is."""
    return Spec(x.shape, x.dtype), Spec(x.shape, dtypes.int64)


@op(spaces=())
def _cummin(x: Tensor, dim: int) -> tuple[Spec, Spec]:
    """The smallest element so far along ``dim``, and the last index where it is."""
    return Spec(x.shape, x.dtype), Spec(x.shape, dtypes.int64)


@gradient(_cummax)
def _(g0, y1, dim):
    return _to_sources(g0, y1, dim)


@gradient(_cummin)
def _(g0, y1, dim):
    return _to_sources(g0, y1, dim)


def _to_sources(g: Tensor, index: Tensor, dim: int) -> Tensor:
    """g added up at the positions that the values came from."""
    if not g.shape:
        return g
    return OPS["scatter_add"].function(OPS["_fill"].function(g, 0), dim, index, g)


@composite
@with_out
def cummax(input: Tensor, dim: int) -> return_types.cummax:
    """The largest element so far along ``dim`` and the last index where it is; NaN is largest.

    Raises: IndexError for a dim out of range.
    """
    return return_types.cummax(*_cummax(input, _axis("cummax", input, dim)))


@composite
@with_out
def cummin(input: Tensor, dim: int) -> return_types.cummin:
    """The smallest element so far along ``dim`` and the last index where it is; NaN is smallest.

    Raises: IndexError for a dim out of range.
    """
    return return_types.cummin(*_cummin(input, _axis("cummin", input, dim)))
