"""Pointwise arithmetic: sums, products, quotients, powers, bounds, and their gradients."""

from __future__ import annotations

import builtins
import warnings
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import alias, composite, gradient
from tgrad.pointwise import Instead, derivative, pointwise, run_inplace, run_out, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def conjugate(x: Any) -> Any:
    """x, conjugated where it is complex: gradients of complex functions are those of PyTorch."""
    if isinstance(x, Variable):
        return x.conj() if x.array.dtype.kind == "c" else x
    return x.conjugate() if isinstance(x, complex) else x


# ---- sums ----------------------------------------------------------------------------------------


def older(now: str) -> None:
    warnings.warn(
        f"the factor before the tensors is the order of old programs: say {now}", stacklevel=6
    )


def scaled(x: Tensor, other: Any, last: Any = None, *, alpha: Any = 1) -> tuple:
    """The arguments of ``add`` and ``sub``: ``other`` times ``alpha``; or x, alpha, other."""
    if last is not None:
        alpha, other = other, last
        older("add(other, alpha=factor)")
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


@pointwise(prepare=scaled, accepts="int float complex", refuses_bool=True)
def sub(x, other):
    """input - alpha * other.

    Shape: broadcasts. dtype: that which both promote to.
    Raises: RuntimeError if either is bool: use ``logical_xor``, or ``logical_not`` for 1 - mask.
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


@pointwise(accepts="int float complex", refuses_bool=True)
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


@derivative(mul, "x", "other")
def mul_backward(g, x, other):
    """g times the other factor, conjugated."""
    return g * xp.conj(other), g * xp.conj(x)


@pointwise
def square(x):
    """input * input."""
    return xp.square(x)


@derivative(square)
def square_backward(g, x):
    """2 g x."""
    return g * xp.conj(x) * 2


def with_value(
    x: Tensor, tensor1: Any, tensor2: Tensor, last: Any = None, *, value: Any = 1
) -> tuple:
    """The arguments of ``addcmul`` and ``addcdiv``; or x, value and the two tensors."""
    if not isinstance(last, Variable):
        return x, tensor1, tensor2, value if last is None else last
    older("addcmul(tensor1, tensor2, value=factor)")
    return x, tensor2, last, tensor1


@pointwise(accepts="int float complex", prepare=with_value)
def addcmul(x, tensor1, tensor2, value: float = 1):
    """input + value * tensor1 * tensor2.

    Shape: broadcasts. dtype: that which all three promote to.
    """
    return x + tensor1 * tensor2 * value


@gradient(addcmul, "x")
def _(g):
    return g


@derivative(addcmul, "tensor1", "tensor2")
def addcmul_backward(g, tensor1, tensor2, value: float):
    """g value times the other factor, conjugated."""
    return g * xp.conj(tensor2) * value, g * xp.conj(tensor1) * value


def nearer(input: Tensor, end: Tensor, weight: Any) -> tuple:
    """The arguments of ``_lerp`` or, for a number, of its form for the end that is nearer."""
    if isinstance(weight, Variable):
        return _lerp, (input, end, weight)
    return (_lerp_near if builtins.abs(weight) < 0.5 else _lerp_far), (input, end, weight)


@composite
def lerp(
    input: Tensor, end: Tensor, weight: Tensor | float, *, out: Tensor | None = None
) -> Tensor:
    """input + weight * (end - input), computed from the nearer end.

    Shape: broadcasts. ``weight`` is a number or a tensor.
    """
    function, args = nearer(input, end, weight)
    return function(*args) if out is None else run_out(function.op, args, out)


@composite(spaces=("Tensor",))
def lerp_(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """In-place form of :func:`lerp`."""
    function, args = nearer(input, end, weight)
    return run_inplace(function.op, args)


@pointwise(accepts="float complex", spaces=())
def _lerp_near(x, end, weight):
    """x + weight * (end - x)."""
    return x + weight * (end - x)


@pointwise(accepts="float complex", spaces=())
def _lerp_far(x, end, weight):
    """end - (1 - weight) * (end - x)."""
    return end - (end - x) * (1 - weight)


@pointwise(accepts="float complex", spaces=())
def _lerp(x, end, weight):
    """Whichever of the two is exact at the nearer end."""
    d = end - x
    return xp.where(xp.abs(weight) < 0.5, x + weight * d, end - d * (1 - weight))


for _blend in (_lerp_near, _lerp_far, _lerp):

    @gradient(_blend, "x")
    def _(g, weight):
        return g * (1 - conjugate(weight))

    @gradient(_blend, "end")
    def _(g, weight):
        return g * conjugate(weight)

    @gradient(_blend, "weight")
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


@derivative(div, "x", "other")
def div_backward(g, y, other):
    """g / other and -g y / other, with what is beside g conjugated."""
    return xp.div(g, xp.conj(other)), -g * xp.conj(xp.div(y, other))


@pointwise(accepts="int float", spaces=())
def div_trunc(x, other):
    """The quotient rounded towards zero."""
    return xp.div_trunc(x, other)


@pointwise(accepts="int float", spaces=())
def div_floor(x, other):
    """The quotient rounded down."""
    return xp.floor_divide(x, other)


@pointwise(accepts="int float")
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


@pointwise(accepts="int float")
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


@pointwise(accepts="int float")
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


@pointwise(accepts="float complex", prepare=with_value)
def addcdiv(x, tensor1, tensor2, value: float = 1):
    """input + value * tensor1 / tensor2.

    Shape: broadcasts. Raises: RuntimeError for integers.
    """
    return x + xp.div(tensor1 * value, tensor2)


@gradient(addcdiv, "x")
def _(g):
    return g


@derivative(addcdiv, "tensor1", "tensor2")
def addcdiv_backward(g, tensor1, tensor2, value: float):
    """g value / tensor2 and -g value tensor1 / tensor2^2, with the tensors conjugated."""
    d1 = xp.div(g * value, xp.conj(tensor2))
    return d1, -g * xp.conj(xp.div(tensor1 * value, tensor2 * tensor2))


alias("subtract", sub)
alias("multiply", mul)
alias("divide", div)
alias("true_divide", div)
alias("negative", neg)
alias("absolute", abs)
