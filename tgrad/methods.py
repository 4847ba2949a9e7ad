"""What the registry gives Tensor: methods, operators and in-place forms."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import autograd, dispatch
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS
from tgrad.pointwise import inplace_method as pointwise_method

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def creation() -> Any:
    """The module above this one, for the one constructor that needs it."""
    return importlib.import_module("tgrad.creation")


# Operators and the ops that they call; `r` forms swap the arguments, `i` forms work in place.
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide",
          "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and",
          "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
          "rshift": "bitwise_right_shift"}  # fmt: skip
OTHERS = {"__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt",
          "__ge__": "ge", "__neg__": "neg", "__pos__": "positive", "__abs__": "abs",
          "__invert__": "bitwise_not", "__getitem__": "getitem",
          "__setitem__": "setitem"}  # fmt: skip


def attach_operators(cls: type[Tensor]) -> None:
    """Give Tensor Python's operators."""
    for method, name in OTHERS.items():
        if name in OPS:
            setattr(cls, method, OPS[name].function)
    for method in ("__eq__", "__ne__"):
        setattr(cls, method, comparison(getattr(cls, method)))
    for stem, name in BINARY.items():
        if name not in OPS:
            continue
        setattr(cls, f"__{stem}__", operator(OPS[name].function))
        setattr(cls, f"__r{stem}__", reflected(OPS[name].function))
        if hasattr(cls, name + "_"):
            setattr(cls, f"__i{stem}__", getattr(cls, name + "_"))
    cls.__rdiv__ = cls.__rtruediv__  # pyright: ignore[reportAttributeAccessIssue]
    cls.__idiv__ = cls.__itruediv__  # pyright: ignore[reportAttributeAccessIssue]


def comparison(function: Callable[..., Any]) -> Callable[..., Any]:
    """The operator: what is no tensor, number or array is compared by identity, as Python does."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            other = creation().from_numpy(other)
        elif not isinstance(other, (Variable, int, float, complex, np.generic)):
            return NotImplemented
        return function(self, other)

    return method


def operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """The operator: a NumPy array on its right counts as a tensor, as in PyTorch."""

    def method(self: Tensor, other: Any) -> Any:
        if other.__class__ is np.ndarray:
            other = creation().from_numpy(other)
        return function(self, other)

    return method


def reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Tensor:
        return function(other, self)

    return method


# Ops without arguments that PyTorch spells as attributes.
PROPERTIES = ("T", "H", "mT", "mH", "real", "imag")


def attach_methods(cls: type[Tensor]) -> None:
    """Give Tensor the ops that name it among their spaces, and their in-place forms."""
    for name in PROPERTIES:
        if name in OPS:
            setattr(cls, name, property(OPS[name].function, doc=OPS[name].doc))
    for entry in OPS.values():
        if "Tensor" not in entry.spaces:
            continue
        if entry.name not in vars(cls):
            setattr(cls, entry.name, entry.function)
        make = pointwise_method if entry.kind == "pointwise" else dispatch.inplace_method
        method = make(entry)  # pyright: ignore[reportArgumentType]
        if method is not None and entry.name + "_" not in vars(cls):
            setattr(cls, entry.name + "_", method)


# Views whose name_ form changes the tensor's own shape.
RESHAPING = ("as_strided", "squeeze", "unsqueeze", "t", "transpose", "swapaxes", "swapdims")


def reshaping(name: str) -> Callable[..., Tensor]:
    """The in-place form of a view: the tensor takes over the view's shape, strides and node."""
    function = OPS[name].function

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.tracked and self.node is None and autograd.is_grad_enabled():
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        y = function(self, *args, **kwargs)
        self.array, self.node, self.output_nr = y.array, y.node, y.output_nr
        if y.base is not None and self.base is not None:
            self.view_chain = y.view_chain
        return self

    method.__name__ = method.__qualname__ = name + "_"
    method.__doc__ = f"In-place form of :func:`{name}`."
    return method


# In-place forms that are functions of the top level too, as in PyTorch: ``tgrad.neg_(x)``.
IN_PLACE = """
    abs acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh as_strided asin asinh atan
    atanh ceil clamp clamp_max clamp_min clip conj_physical cos cosh deg2rad detach erf erfc exp
    exp2 expm1 fill fix floor frac gcd i0 index_put lcm ldexp log log10 log1p log2 logit
    nan_to_num neg negative rad2deg reciprocal resize_as round rsqrt sigmoid sin sinc sinh sqrt
    square tan tanh trunc xlogy zero
"""


def attach(cls: type[Tensor]) -> None:
    """Give Tensor all of the above."""
    attach_methods(cls)
    attach_operators(cls)
    for name in RESHAPING:
        if name in OPS:
            setattr(cls, name + "_", reshaping(name))
