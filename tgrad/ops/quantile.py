"""Quantiles: sorted once, then read between two ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.reduction import with_out
from tgrad.ops.view import normalize_dim

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _checked(name: str, input: Tensor, q: Tensor | float, interpolation: str) -> Tensor:
    """q as a tensor. Raises: RuntimeError, or TypeError for the type of q."""
    if not input.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"{name}() input tensor must be either float or double dtype, got {input.dtype.name}"
        )
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of {', '.join(INTERPOLATIONS)}, but got "
            f"{interpolation}"
        )
    if not isinstance(q, Variable):
        if not isinstance(q, (int, float)):
            raise TypeError(
                f"{name}(): argument 'q' must be Tensor or float, not {type(q).__name__}"
            )
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        return input.new_tensor(float(q))
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got {q.ndim} dims")
    if q.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {q.dtype.name} and "
            f"{input.dtype.name}"
        )
    if bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    return q


def _quantile(
    name: str,
    input: Tensor,
    q: Tensor | float,
    dim: int | None,
    keepdim: bool,
    interpolation: str,
    ignore_nan: bool,
) -> Tensor:
    q = _checked(name, input, q, interpolation)
    d = 0 if dim is None else normalize_dim(name, dim, input.ndim)
    if dim is None:
        rows = input.reshape(-1)
        kept = (1,) * input.ndim
    else:
        x = input if input.ndim else input.reshape(1)
        rows = x.movedim(d, -1)
        kept = (*input.shape[:d], 1, *input.shape[d + 1 :]) if input.ndim else ()
    rows = rows.sort(-1)[0]  # NaN last
    nans = rows.detach().isnan()
    last = rows.shape[-1] - 1
    at = q.reshape(-1)
    if ignore_nan:
        rank = at * (rows.shape[-1] - 1 - nans.sum(-1, keepdim=True)).clamp(min=0).to(at.dtype)
    else:
        rank = (at * last).expand(*rows.shape[:-1], at.numel())
        rank = OPS["where"].function(nans[..., -1:], float(last), rank)  # where the NaN stands
    if interpolation == "lower":
        rank = rank.floor()
    elif interpolation == "higher":
        rank = rank.ceil()
    elif interpolation == "nearest":
        rank = rank.round()
    below = rank.floor()
    y = rows.gather(-1, below.long())
    if interpolation in ("linear", "midpoint"):
        above = rows.gather(-1, rank.ceil().long())
        weight = 0.5 if interpolation == "midpoint" else rank - below
        y = y.lerp(above, weight)
    y = y.movedim(-1, 0)
    shape = kept if keepdim else tuple(y.shape[1:]) if input.ndim else ()
    return y.reshape(*((at.numel(),) if q.ndim else ()), *shape)


@composite
@with_out
def quantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The value below which a share ``q`` of each row along ``dim`` lies; of everything for None.

    Rank q (n - 1) of the sorted row, between two elements by ``interpolation`` ("linear", "lower",
    "higher", "midpoint", "nearest"). A row with NaN gives NaN.

    Shape: the input's without ``dim`` (1 with ``keepdim``), behind a dim for q where that has one.
    dtype: float32 or float64, for input and q alike.
    Raises: RuntimeError for other dtypes, q outside [0, 1], or an empty input.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@composite
@with_out
def nanquantile(
    input: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """:func:`quantile` of the elements that are not NaN; NaN where there are none."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
