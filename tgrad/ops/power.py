"""Powers: ``pow`` of tensors and numbers, with the exponents that have a shorter way."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite, gradient
from tgrad.ops.pointwise import conjugate, reciprocal, square
from tgrad.pointwise import NUMBER, derivative, pointwise, run_inplace, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@pointwise(accepts="int float complex", spaces=())
def _pow(x, exponent):
    """x to the power exponent, each a tensor or a number."""
    return xp.pow(x, exponent)


@gradient(_pow, "x")
def _(g, x, exponent):
    if isinstance(exponent, NUMBER):
        return g * 0 if exponent == 0 else g * conjugate(pow(x, exponent - 1) * exponent)
    if x.dtype.is_complex or exponent.dtype.is_complex:
        return g * conjugate(exponent * _pow(x, exponent - 1))
    return pow_backward(g, x, exponent)


@pointwise
def pow_backward(g, x, exponent):
    """g exponent x^(exponent - 1), and 0 where exponent is 0."""
    return xp.where(xp.eq(exponent, 0), 0, g * exponent * xp.pow(x, exponent - 1))


@gradient(_pow, "exponent")
def _(g, x, y, exponent):
    if isinstance(x, NUMBER) and x != 0:
        return g * conjugate(y * _log(x))
    if y.dtype.is_complex:
        return g * conjugate(y * OPS["log"].function(x))
    return pow_exponent_backward(g, x, y, exponent)


def _log(x: Any) -> complex:
    if isinstance(x, complex):
        return cmath.log(x)
    return math.log(x) if x > 0 else math.nan


@pointwise
def pow_exponent_backward(g, x, y, exponent):
    """g y log(x), and 0 where x is 0 and exponent is not negative."""
    flat = xp.eq(x, 0) & xp.ge(exponent, 0)
    return xp.where(flat, 0, g * y * xp.log(xp.where(flat, 1, x)))


@composite
def pow(
    input: Tensor | complex, exponent: Tensor | complex, *, out: Tensor | None = None
) -> Tensor:
    """input to the power exponent; one of the two may be a number.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for integers to a negative whole number.
    """
    if out is not None:
        return run_out(_pow.op, (input, exponent), out)
    if type(exponent) in (int, float) and isinstance(input, Variable):
        special = POWERS.get(exponent)
        category = input.dtype.category
        if category >= dtypes.FLOAT and special is not None:
            return special(input)
        if category <= dtypes.INT and type(exponent) is int and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return _pow(input, exponent)


# Exponents for which powers are several times slower, and less exact, than these.
POWERS = {
    1: lambda x: x.clone(),
    2: square,
    3: lambda x: cube(x),
    -1: reciprocal,
    0.5: lambda x: x.sqrt(),
    -0.5: lambda x: x.rsqrt(),
}


@pointwise(spaces=())
def cube(x):
    """x * x * x."""
    return x * x * x


@derivative(cube)
def cube_backward(g, x):
    """3 g x^2."""
    return g * xp.conj(x * x) * 3


@composite(spaces=("Tensor",))
def pow_(input: Tensor, exponent: Tensor | complex) -> Tensor:
    """In-place form of :func:`pow`."""
    if type(exponent) is int and exponent < 0 and input.dtype.category <= dtypes.INT:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if type(exponent) in (int, float) and exponent == 2 and input.dtype.category >= dtypes.FLOAT:
        return input.square_()
    return run_inplace(_pow.op, (input, exponent))


@composite
def float_power(input: Tensor | complex, exponent: Tensor | complex) -> Tensor:
    """input to the power exponent, computed in float64 (complex128 for complex arguments)."""

    def wide(a: Any) -> Any:
        if not isinstance(a, Variable):
            return complex(a) if isinstance(a, complex) else float(a)
        return a.to(dtypes.complex128 if a.dtype.is_complex else dtypes.float64)

    return pow(wide(input), wide(exponent))


@composite(spaces=("Tensor",))
def float_power_(input: Tensor, exponent: Tensor | complex) -> Tensor:
    """In-place form of :func:`float_power`. Raises: RuntimeError unless the input is float64."""
    wide = (dtypes.float64, dtypes.complex128)
    if input.dtype not in wide:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {input.dtype.name} but the operation's "
            "result requires dtype float64"
        )
    return pow_(input, exponent.to(input.dtype) if isinstance(exponent, Variable) else exponent)
