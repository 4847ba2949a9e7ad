"""Comparison, logic on truth values and on bits, and the choice that they make: ``where``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, alias, composite
from tgrad.ops.pointwise import abs, add, mul, sub
from tgrad.pointwise import derivative, pointwise, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

ORDERED = "bool int float"
WHOLE = "bool int"


# ---- comparison ----------------------------------------------------------------------------------


@pointwise(result="bool")
def eq(x, other):
    """input == other. Shape: broadcasts. dtype: bool."""
    return xp.eq(x, other)


@pointwise(result="bool")
def ne(x, other):
    """input != other. Shape: broadcasts. dtype: bool."""
    return xp.ne(x, other)


@pointwise(result="bool", accepts=ORDERED)
def lt(x, other):
    """input < other. Shape: broadcasts. dtype: bool. Raises: RuntimeError for complex."""
    return x < other


@pointwise(result="bool", accepts=ORDERED)
def le(x, other):
    """input <= other. Shape: broadcasts. dtype: bool. Raises: RuntimeError for complex."""
    return x <= other


@pointwise(result="bool", accepts=ORDERED)
def gt(x, other):
    """input > other. Shape: broadcasts. dtype: bool. Raises: RuntimeError for complex."""
    return x > other


@pointwise(result="bool", accepts=ORDERED)
def ge(x, other):
    """input >= other. Shape: broadcasts. dtype: bool. Raises: RuntimeError for complex."""
    return x >= other


@pointwise(result="bool")
def isnan(x):
    """Whether the input is NaN. dtype: bool."""
    return xp.isnan(x)


@pointwise(result="bool")
def isinf(x):
    """Whether the input is infinite. dtype: bool."""
    return xp.isinf(x)


@pointwise(result="bool")
def isfinite(x):
    """Whether the input is neither infinite nor NaN. dtype: bool."""
    return xp.isfinite(x)


@composite
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other|; infinities are close to their like only.

    Shape: broadcasts. dtype: bool.
    Raises: RuntimeError for different dtypes or negative tolerances.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype.name} did not match {other.dtype.name}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not tolerance >= 0:
            raise RuntimeError(
                f"isclose: {name} must be greater than or equal to zero, but got {tolerance}"
            )
    close = eq(input, other)
    if equal_nan and input.dtype.category >= dtypes.FLOAT:
        close = bitwise_or(close, bitwise_and(isnan(input), isnan(other)))
    if rtol == 0 and atol == 0:
        return close
    if input.dtype is dtypes.bool_:
        input, other = input.to(dtypes.int64), other.to(dtypes.int64)
    error = abs(sub(input, other))
    within = bitwise_and(isfinite(error), le(error, add(abs(mul(other, rtol)), atol)))
    return bitwise_or(close, within)


@composite
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether :func:`isclose` holds everywhere. Raises: as :func:`isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@composite
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements agree; NaN equals nothing.

    Raises: RuntimeError for tensors on different devices.
    """
    if not (isinstance(input, Variable) and isinstance(other, Variable)):
        wrong = other if isinstance(input, Variable) else input
        raise TypeError(f"equal(): argument 'other' must be Tensor, not {type(wrong).__name__}")
    if input.device is not other.device:
        raise RuntimeError(
            "equal: Expected all tensors to be on the same device, but found at least two "
            f"devices, {input.device} and {other.device}!"
        )
    return input.shape == other.shape and bool(eq(input, other).all().item())


# ---- logic ---------------------------------------------------------------------------------------


@pointwise(result="bool")
def logical_not(x):
    """Whether the input is 0. dtype: bool."""
    return xp.logical_not(x)


@pointwise(result="bool")
def logical_and(x, other):
    """Whether neither is 0. Shape: broadcasts. dtype: bool."""
    return xp.logical_and(x, other)


@pointwise(result="bool")
def logical_or(x, other):
    """Whether either is not 0. Shape: broadcasts. dtype: bool."""
    return xp.logical_or(x, other)


@pointwise(result="bool")
def logical_xor(x, other):
    """Whether exactly one is not 0. Shape: broadcasts. dtype: bool."""
    return xp.logical_xor(x, other)


@pointwise(accepts=WHOLE)
def bitwise_not(x):
    """Every bit inverted; logical not for bool. Raises: RuntimeError for floating inputs."""
    return ~x


@pointwise(accepts=WHOLE)
def bitwise_and(x, other):
    """The bits that both have. Shape: broadcasts. Raises: RuntimeError for floating inputs."""
    return x & other


@pointwise(accepts=WHOLE)
def bitwise_or(x, other):
    """The bits that either has. Shape: broadcasts. Raises: RuntimeError for floating inputs."""
    return x | other


@pointwise(accepts=WHOLE)
def bitwise_xor(x, other):
    """The bits that exactly one has. Shape: broadcasts. Raises: RuntimeError for floats."""
    return x ^ other


@pointwise(accepts="int")
def bitwise_left_shift(x, other):
    """input * 2^other, wrapping; 0 for shifts by all bits or more.

    Shape: broadcasts. Raises: RuntimeError for bool and floating inputs.
    """
    return xp.bitwise_left_shift(x, other)


@pointwise(accepts="int")
def bitwise_right_shift(x, other):
    """floor(input / 2^other). Shape: broadcasts. Raises: RuntimeError for bool and floats."""
    return xp.bitwise_right_shift(x, other)


# ---- where ---------------------------------------------------------------------------------------


@pointwise(spaces=())
def _where(condition, x, other):
    """x where condition, else other."""
    return xp.where(condition, x, other)


@derivative(_where, "x", "other")
def where_backward(g, condition):
    """g where condition, else 0, and the other way round."""
    return xp.where(condition, g, 0), xp.where(condition, 0, g)


@composite(spaces=("tgrad",))
def where(
    condition: Tensor,
    input: Tensor | complex | None = None,
    other: Tensor | complex | None = None,
    *,
    out: Tensor | None = None,
) -> Any:
    """input where condition, else other; with the condition alone, the indices where it holds.

    Shape: broadcasts. dtype: that which input and other promote to.
    Raises: TypeError unless the condition is a tensor, RuntimeError unless it is of bool.
    """
    if not isinstance(condition, Variable):
        raise TypeError(
            f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}"
        )
    if input is None and other is None:
        return OPS["nonzero"].function(condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError("where(): expected both input and other, or neither")
    if condition.dtype is dtypes.uint8:
        condition = condition.to(dtypes.bool_)
    if condition.dtype is not dtypes.bool_:
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{condition.dtype.name}"
        )
    if out is not None:
        return run_out(_where.op, (condition, input, other), out)
    return _where(condition, input, other)


for _name, _of in {"not_equal": ne, "less": lt, "less_equal": le, "greater": gt,
                   "greater_equal": ge}.items():  # fmt: skip
    alias(_name, _of)
