"""Softmax and log-softmax along one dim, and their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.reduction import single_dim, with_out

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


@op(spaces=())
def _softmax(x: Tensor, dim: int, dtype: dtype) -> Spec:
    """exp(x - max) / sum(exp(x - max)) along ``dim``, computed in float32 or wider."""
    return Spec(x.shape, dtype)


@gradient(_softmax)
def _(g, y, dim):
    return softmax_backward(g, y, dim)


@op
def softmax_backward(g: Tensor, y: Tensor, dim: int) -> Spec:
    """y * (g - sum(g * y)) along ``dim``, for y = softmax(x)."""
    return Spec(y.shape, y.dtype)


@gradient(softmax_backward, "g")
def _(gg, y, dim):
    return softmax_backward(gg, y, dim)  # the Jacobian is symmetric


@gradient(softmax_backward, "y")
def _(gg, g, y, dim):
    inner = (g * y).sum(dim, keepdim=True)
    return gg * (g - inner) - g * (gg * y).sum(dim, keepdim=True)


@op(spaces=())
def _log_softmax(x: Tensor, dim: int, dtype: dtype) -> Spec:
    """x - max - log(sum(exp(x - max))) along ``dim``, computed in float32 or wider."""
    return Spec(x.shape, dtype)


@gradient(_log_softmax)
def _(g, y, dim):
    return log_softmax_backward(g, y, dim)


@op
def log_softmax_backward(g: Tensor, y: Tensor, dim: int) -> Spec:
    """g - exp(y) * sum(g) along ``dim``, for y = log_softmax(x)."""
    return Spec(y.shape, y.dtype)


@gradient(log_softmax_backward, "g")
def _(gg, y, dim):
    return gg - (gg * y.exp()).sum(dim, keepdim=True)


@gradient(log_softmax_backward, "y")
def _(gg, g, y, dim):
    return -(gg * y.exp()) * g.sum(dim, keepdim=True)


def _arguments(name: str, input: Tensor, dim: int, dtype: dtype | None) -> tuple[int, dtype]:
    if not isinstance(input, Variable):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    result = input.dtype if dtype is None else dtype
    axis = single_dim(name, input.ndim, dim)
    if result.category != dtypes.FLOAT:
        raise NotImplementedError(f"\"{name}\" not implemented for '{result.name}'")
    return axis, result


@composite(spaces=("tgrad", "Tensor", "special"))
@with_out
def softmax(input: Tensor, dim: int, dtype: dtype | None = None) -> Tensor:
    """exp(input) / sum(exp(input)) along ``dim``, shifted so that nothing overflows.

    Shape: any; ``dim`` may be negative, and any size along it, 0 included.
    dtype: the input's, or ``dtype``, to which the input is converted first.
    Raises: IndexError for a dim out of range, NotImplementedError unless the dtype is floating.
    """
    return _softmax(input, *_arguments("softmax", input, dim, dtype))


@composite(spaces=("tgrad", "Tensor", "special"))
@with_out
def log_softmax(input: Tensor, dim: int, dtype: dtype | None = None) -> Tensor:
    """input - log(sum(exp(input))) along ``dim``: the logarithm of :func:`softmax`, accurately.

    dtype and Raises: as :func:`softmax`.
    """
    return _log_softmax(input, *_arguments("log_softmax", input, dim, dtype))
