"""Pointwise arithmetic: sums, products, quotients, powers, bounds, and their gradients."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import alias, composite, gradient
from tgrad.pointwise import NUMBER, Instead, derivative, pointwise, run_inplace, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

REAL = "bool int float"


def into(function: Any, args: tuple, out: Tensor | None) -> Tensor:
    """``function(*args)``, or the same stored in ``out``."""
    return function(*args) if out is None else run_out(function.op, args, out)


def conjugate(x: Any) -> Any:
    """x, conjugated where it is complex: gradients of complex functions are those of PyTorch."""
    if isinstance(x, Variable):
        return x.conj() if x.array.dtype.kind == "c" else x
    return x.conjugate() if isinstance(x, complex) else x


# ---- sums ----------------------------------------------------------------------------------------


def scaled(x: Tensor, other: Any, *, alpha: Any = 1) -> tuple:
    """The arguments of ``add`` and ``sub``: ``other`` times ``alpha``."""
    if type(alpha) is int and alpha == 1:
        return x, other
    if isinstance(alpha, float) and all(
        dtypes.BOOL < _category(a) < dtypes.FLOAT for a in (x, other)
    ):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if isinstance(alpha, bool) and any(_category(a) > dtypes.BOOL for a in (x, other)):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    return x, other * alpha


def _category(a: Any) -> int:
    return a.dtype.category if isinstance(a, Variable) else dtypes.scalar_dtype(a).category


@pointwise(prepare=scaled)
def add(x, other):
    """input + alpha * other. For bool: logical or.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for shapes that do not broadcast, and for a floating ``alpha`` on integers.
    """
    return xp.add(x, other)


@gradient(add, "x")
def _(g):
    return g


@gradient(add, "other")
def _(g):
    return g


@pointwise(prepare=scaled, accepts="int float complex")
def sub(x, other):
    """input - alpha * other.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for bool: use ``logical_xor``.
    """
    return x - other


@gradient(sub, "x")
def _(g):
    return g


@gradient(sub, "other")
def _(g):
    return -g


@composite
def rsub(input: Tensor, other: Tensor | complex, *, alpha: complex = 1) -> Tensor:
    """other - alpha * input. Raises: as :func:`sub`."""
    return sub(other, input) if alpha == 1 else sub(other, input, alpha=alpha)


@pointwise(accepts="int float complex")
def neg(x):
    """-input; unsigned integers wrap. Raises: RuntimeError for bool."""
    return -x


@gradient(neg)
def _(g):
    return -g


@composite
def positive(input: Tensor) -> Tensor:
    """The input itself. Raises: RuntimeError for bool."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("positive(): The + operator, on a bool tensor is not supported.")
    return input


@pointwise(result="real", accepts="int float complex")
def abs(x):
    """|input|. dtype: the real one for complex inputs. The gradient at 0 is 0."""
    return xp.abs(x)


@gradient(abs)
def _(g, x):
    return g * x.sgn()


# ---- products ------------------------------------------------------------------------------------


@pointwise
def mul(x, other):
    """input * other. For bool: logical and.

    Shape: broadcasts. dtype: that which both promote to.
    """
    return x * other


@gradient(mul, "x")
def _(g, other):
    return g * conjugate(other)


@gradient(mul, "other")
def _(g, x):
    return g * conjugate(x)


@pointwise
def square(x):
    """input * input."""
    return xp.square(x)


@derivative(square)
def square_backward(g, x):
    """2 g x."""
    return g * xp.conj(x) * 2


@pointwise(accepts="int float complex")
def addcmul(x, tensor1, tensor2, *, value: float = 1):
    """input + value * tensor1 * tensor2.

    Shape: broadcasts. dtype: that which all three promote to.
    """
    return x + tensor1 * tensor2 * value


@gradient(addcmul, "x")
def _(g):
    return g


@gradient(addcmul, "tensor1")
def _(g, tensor2, value):
    return g * conjugate(tensor2) * value


@gradient(addcmul, "tensor2")
def _(g, tensor1, value):
    return g * conjugate(tensor1) * value


@pointwise(accepts="float complex")
def lerp(x, end, weight):
    """input + weight * (end - input), computed from the nearer end.

    Shape: broadcasts. ``weight`` is a number or a tensor.
    """
    d = end - x
    return xp.where(xp.abs(weight) < 0.5, x + weight * d, end - d * (1 - weight))


@gradient(lerp, "x")
def _(g, weight):
    return g * (1 - conjugate(weight))


@gradient(lerp, "end")
def _(g, weight):
    return g * conjugate(weight)


@gradient(lerp, "weight")
def _(g, x, end):
    return g * conjugate(end - x)


# ---- quotients -----------------------------------------------------------------------------------


def rounded(x: Tensor, other: Any, *, rounding_mode: str | None = None) -> tuple:
    """The arguments of ``div``, or another op's where the quotient is to be rounded."""
    if rounding_mode is None:
        return x, other
    if rounding_mode == "trunc":
        return Instead(div_trunc, (x, other))
    if rounding_mode == "floor":
        return Instead(div_floor, (x, other))
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@pointwise(result="float", prepare=rounded)
def div(x, other):
    """input / other; ``rounding_mode`` "trunc" rounds towards zero, "floor" down.

    Shape: broadcasts. dtype: floating, unless rounded: then that which both promote to.
    Raises: RuntimeError for rounded integer division by zero ("ZeroDivisionError").
    """
    return xp.div(x, other)


@gradient(div, "x")
def _(g, other):
    return g / conjugate(other)


@gradient(div, "other")
def _(g, y, other):
    return -g * conjugate(y / other)


@pointwise(accepts="int float", spaces=())
def div_trunc(x, other):
    """The quotient rounded towards zero."""
    return xp.div_trunc(x, other)


@pointwise(accepts="int float", spaces=())
def div_floor(x, other):
    """The quotient rounded down."""
    return xp.floor_divide(x, other)


@pointwise(accepts="bool int float")
def floor_divide(x, other):
    """input / other rounded down.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for integer division by zero ("ZeroDivisionError").
    """
    return xp.floor_divide(x, other)


for _quotient in (div_trunc, div_floor, floor_divide):

    @gradient(_quotient, "x")
    def _(g):
        return g * 0

    @gradient(_quotient, "other")
    def _(g):
        return g * 0


@pointwise(accepts="bool int float")
def remainder(x, other):
    """input - other * floor(input / other): it has the sign of ``other``, as Python's ``%``.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for integer division by zero ("ZeroDivisionError").
    """
    return xp.remainder(x, other)


@gradient(remainder, "x")
def _(g):
    return g


@gradient(remainder, "other")
def _(g, x, other):
    return -g * div_floor(x, other)


@pointwise(accepts="bool int float")
def fmod(x, other):
    """input - other * trunc(input / other): it has the sign of ``input``, as C's ``fmod``.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError for integer division by zero ("ZeroDivisionError").
    """
    return xp.fmod(x, other)


@gradient(fmod, "x")
def _(g):
    return g


@gradient(fmod, "other")
def _(g, x, other):
    return -g * div_trunc(x, other)


@pointwise(result="float")
def reciprocal(x):
    """1 / input."""
    return xp.div(1, x)


@derivative(reciprocal)
def reciprocal_backward(g, y):
    """-g y^2."""
    return -g * xp.conj(y * y)


@pointwise(accepts="float complex")
def addcdiv(x, tensor1, tensor2, *, value: float = 1):
    """input + value * tensor1 / tensor2.

    Shape: broadcasts. Raises: RuntimeError for integers.
    """
    return x + xp.div(tensor1 * value, tensor2)


@gradient(addcdiv, "x")
def _(g):
    return g


@gradient(addcdiv, "tensor1")
def _(g, tensor2, value):
    return g * value / conjugate(tensor2)


@gradient(addcdiv, "tensor2")
def _(g, tensor1, tensor2, value):
    return -g * conjugate(tensor1 * value / (tensor2 * tensor2))


# ---- powers --------------------------------------------------------------------------------------


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
    if isinstance(x, NUMBER):
        if x == 0:
            return g * 0
        return g * conjugate(y * _log(x))
    if y.dtype.is_complex:
        return g * conjugate(y * x.log())
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


# ---- bounds --------------------------------------------------------------------------------------


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
    """g where x > other, half of it where they are equal, else 0."""
    return xp.where(xp.eq(x, other), g * 0.5, xp.where(xp.gt(x, other), g, 0))


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
        raise ValueError("clamp: At least one of 'min' or 'max' must not be None")
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
    Raises: ValueError without any bound, RuntimeError for complex.
    """
    chosen = bounds(input, min, max)
    return into(chosen.op, chosen.args, out)


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


alias("subtract", sub)
alias("multiply", mul)
alias("divide", div)
alias("true_divide", div)
alias("negative", neg)
alias("absolute", abs)
alias("clip", clamp)
