"""The larger and smaller of two, bounds, and what replaces infinities and NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.dispatch import alias, composite, gradient
from tgrad.pointwise import Instead, derivative, pointwise, run_inplace, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


REAL = "bool int float"


@pointwise(accepts=REAL)
def maximum(x, other):
    """The larger of input and other; NaN where either is. Equal ones share the gradient evenly.

    Shape: broadcasts. Raises: RuntimeError for complex.
    """
    return xp.maximum(x, other)


@pointwise(accepts=REAL)
def minimum(x, other):
    """The smaller of input and other; NaN where either is. Equal ones share the gradient evenly.

    Shape: broadcasts. Raises: RuntimeError for complex.
    """
    return xp.minimum(x, other)


@pointwise(accepts=REAL)
def fmax(x, other):
    """The larger of input and other, and the number where one is NaN. Shape: broadcasts."""
    return xp.fmax(x, other)


@pointwise(accepts=REAL)
def fmin(x, other):
    """The smaller of input and other, and the number where one is NaN. Shape: broadcasts."""
    return xp.fmin(x, other)


@pointwise
def larger_backward(g, x, other):
    """0 where x < other, half of g where they are equal, else g."""
    return xp.where(xp.eq(x, other), g * 0.5, xp.where(xp.lt(x, other), 0, g))


@gradient(maximum, "x")
def _(g, x, other):
    return larger_backward(g, x, other)


@gradient(maximum, "other")
def _(g, x, other):
    return larger_backward(g, other, x)


@gradient(minimum, "x")
def _(g, x, other):
    return larger_backward(g, other, x)


@gradient(minimum, "other")
def _(g, x, other):
    return larger_backward(g, x, other)


@derivative(fmax, "x")
def fmax_backward(g, x, other):
    """g where x >= other or other is NaN."""
    return xp.where(xp.ge(x, other) | xp.ne(other, other), g, 0)


@derivative(fmax, "other")
def fmax_other_backward(g, x, other):
    """g where fmax did not choose x."""
    return xp.where(xp.ge(x, other) | xp.ne(other, other), 0, g)


@derivative(fmin, "x")
def fmin_backward(g, x, other):
    """g where x <= other or other is NaN."""
    return xp.where(xp.le(x, other) | xp.ne(other, other), g, 0)


@derivative(fmin, "other")
def fmin_other_backward(g, x, other):
    """g where fmin did not choose x."""
    return xp.where(xp.le(x, other) | xp.ne(other, other), 0, g)


def bounds(x: Tensor, min: Any = None, max: Any = None) -> Any:
    """The arguments of ``clamp``, or ``clamp_min``'s or ``clamp_max``'s where a bound is None."""
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    if max is None:
        return Instead(clamp_min, (x, min))
    if min is None:
        return Instead(clamp_max, (x, max))
    return Instead(_clamp, (x, min, max))


@composite
def clamp(
    input: Tensor,
    min: Tensor | float | None = None,
    max: Tensor | float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """min(max(input, min), max); a bound that is None does not bind, NaN stays.

    Shape: bounds are numbers, or tensors that broadcast. dtype: that which all promote to.
    Raises: RuntimeError without any bound, and for complex.
    """
    chosen = bounds(input, min, max)
    return chosen.op(*chosen.args) if out is None else run_out(chosen.op.op, chosen.args, out)


@composite(spaces=("Tensor",))
def clamp_(
    input: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None
) -> Tensor:
    """In-place form of :func:`clamp`."""
    chosen = bounds(input, min, max)
    return run_inplace(chosen.op.op, chosen.args)


@pointwise(accepts=REAL, spaces=())
def _clamp(x, min, max):
    """min(max(x, min), max)."""
    return xp.minimum(xp.maximum(x, min), max)


@derivative(_clamp, "x")
def clamp_backward(g, x, min, max):
    """g inside the bounds and on them, else 0."""
    return xp.where(xp.ge(x, min) & xp.le(x, max), g, 0)


@derivative(_clamp, "min")
def clamp_min_bound_backward(g, x, min, max):
    """g where the lower bound is the result."""
    return xp.where(xp.lt(x, min) & xp.lt(min, max), g, 0)


@derivative(_clamp, "max")
def clamp_max_bound_backward(g, x, min, max):
    """g where the upper bound is the result."""
    return xp.where(xp.gt(x, max) | xp.gt(min, max), g, 0)


@pointwise(accepts=REAL)
def clamp_min(x, min):
    """max(input, min); NaN stays. Shape: broadcasts."""
    return xp.maximum(x, min)


@derivative(clamp_min, "x")
def clamp_min_backward(g, x, min):
    """g where x >= min."""
    return xp.where(xp.ge(x, min), g, 0)


@derivative(clamp_min, "min")
def clamp_min_limit_backward(g, x, min):
    """g where x < min."""
    return xp.where(xp.lt(x, min), g, 0)


@pointwise(accepts=REAL)
def clamp_max(x, max):
    """min(input, max); NaN stays. Shape: broadcasts."""
    return xp.minimum(x, max)


@derivative(clamp_max, "x")
def clamp_max_backward(g, x, max):
    """g where x <= max."""
    return xp.where(xp.le(x, max), g, 0)


@derivative(clamp_max, "max")
def clamp_max_limit_backward(g, x, max):
    """g where x > max."""
    return xp.where(xp.gt(x, max), g, 0)


alias("clip", clamp)
alias("clip_", clamp_)


# ---- numbers in place of infinities and NaN ------------------------------------------------------


@composite
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """NaN becomes ``nan`` (0), inf ``posinf`` and -inf ``neginf`` (the dtype's largest, lowest)."""
    args = replacements(input, nan, posinf, neginf)
    return _nan_to_num(*args) if out is None else run_out(_nan_to_num.op, args, out)


@composite(spaces=("Tensor",))
def nan_to_num_(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """In-place form of :func:`nan_to_num`."""
    return run_inplace(_nan_to_num.op, replacements(input, nan, posinf, neginf))


def replacements(input: Tensor, nan: Any, posinf: Any, neginf: Any) -> tuple:
    if input.dtype.category < dtypes.FLOAT:
        return input, 0, 0, 0
    limits = dtypes.finfo(input.dtype)
    return (
        input,
        float(0 if nan is None else nan),
        float(limits.max if posinf is None else posinf),
        float(limits.min if neginf is None else neginf),
    )


@pointwise(accepts=REAL, spaces=())
def _nan_to_num(x, nan: float, posinf: float, neginf: float):
    """x with NaN, inf and -inf replaced."""
    x = xp.where(xp.isnan(x), nan, x)
    return xp.where(xp.eq(x, float("inf")), posinf, xp.where(xp.eq(x, -float("inf")), neginf, x))


@derivative(_nan_to_num)
def nan_to_num_backward(g, x):
    """g where x is finite."""
    return xp.where(xp.isfinite(x), g, 0)
