"""The Tensor class: what PyTorch users call on a tensor.

Ops become methods at the end of this module, from the registry; written out here is what is not
an op: conversion, autograd's face, operators and printing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tgrad import autograd, dispatch, dtypes, ops, pointwise
from tgrad.autograd.graph import RemovableHandle
from tgrad.autograd.variable import Variable
from tgrad.device import CPU, device, resolve
from tgrad.dispatch import OPS, wrap
from tgrad.dtypes import dtype
from tgrad.runtime import cuda
from tgrad.runtime.array import is_contiguous


class Tensor(Variable):
    """A strided array on a device that records the ops applied to it."""

    __array_priority__ = 1000  # ndarray + Tensor asks Tensor first

    # ---- autograd --------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop recording ops on this leaf.

        Raises: RuntimeError for integer tensors, or to stop on a tensor that was computed.
        """
        if requires_grad and self.dtype.category < dtypes.FLOAT:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if not requires_grad and self.node is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if requires_grad and self.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                "allowed."
            )
        self.tracked = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> Any:
        """The node that computed this tensor; None for leaves."""
        if self.base is not None:
            self.refresh()
        return self.node

    @property
    def data(self) -> Tensor:
        """The same memory outside any graph; writes through it are not tracked."""
        t = wrap(self.array, self.device)
        return t

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Variable):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self.array, self.device = value.array, value.device

    def detach(self) -> Tensor:
        """The same memory outside the graph; a write to it is still noticed by backward."""
        t = wrap(self.array, self.device)
        t.counter = self.version_counter()
        t.inference = self.inference
        return t

    def detach_(self) -> Tensor:
        """Leave the graph in place."""
        if self.base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self.node, self.output_nr, self.tracked = None, 0, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate gradients of this tensor into the leaves. See :func:`autograd.backward`."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is known; its result replaces it."""
        if not self.tracked:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = self.grad_fn
        if node is not None:
            return node.register_prehook(hook, self.output_nr)
        if self.hooks is None:
            self.hooks = {}
        return RemovableHandle(self.hooks, hook)

    # ---- conversion ------------------------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself (shared). ``force`` detaches and copies to the host first.

        Raises: RuntimeError if it requires grad, TypeError if it is on a GPU.
        """
        if force:
            return self.detach().cpu().array
        if self.tracked:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if self.device is not CPU:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to "
                "copy the tensor to host memory first."
            )
        return self.array  # pyright: ignore[reportReturnType]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        a = self.numpy()
        return a.astype(dtype, copy=False) if dtype is not None else a

    def host(self) -> np.ndarray:
        """A NumPy array of the values: shared on the CPU, copied from a GPU."""
        a = self.array
        return a if isinstance(a, np.ndarray) else cuda.active().to_host(a)

    def item(self) -> bool | int | float | complex:
        """The one element as a Python number. Raises RuntimeError for any other count."""
        if self.array.size != 1:
            raise RuntimeError(
                f"a Tensor with {self.array.size} elements cannot be converted to Scalar"
            )
        value = self.host().item()
        return float(value) if self.dtype is dtypes.bfloat16 else value

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        a = self.host()
        return (a.astype(np.float32) if self.dtype is dtypes.bfloat16 else a).tolist()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        if self.array.size > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        if self.array.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        return bool(self.host().item())

    def __float__(self) -> float:
        return float(self.item())  # pyright: ignore[reportArgumentType]

    def __int__(self) -> int:
        return int(self.item())  # pyright: ignore[reportArgumentType]

    def __index__(self) -> int:
        if self.dtype.category > dtypes.INT or self.array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())  # pyright: ignore[reportArgumentType]

    # ---- size and layout -------------------------------------------------------------------------

    def dim(self) -> int:
        return len(self.array.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its entries. Raises IndexError out of range."""
        return self.shape if dim is None else self.shape[ops.normalize_dim("size", dim, self.ndim)]

    def numel(self) -> int:
        return self.array.size

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dim, in elements."""
        a = self.array
        steps = tuple(s // a.itemsize for s in a.strides)
        return steps if dim is None else steps[ops.normalize_dim("stride", dim, self.ndim)]

    def element_size(self) -> int:
        return self.array.itemsize

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def is_contiguous(self, memory_format: object = None) -> bool:
        return is_contiguous(self.array)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.device is CPU

    def get_device(self) -> int:
        """The GPU's index, -1 for the CPU."""
        return -1 if self.device.index is None else self.device.index

    # ---- Python ----------------------------------------------------------------------------------

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"tensor({self.host()!r})"


dispatch.set_tensor_type(Tensor)

# Operators and the ops that they call; `r` forms swap the arguments, `i` forms work in place.
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide",
          "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and",
          "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
          "rshift": "bitwise_right_shift"}  # fmt: skip
OTHERS = {"__eq__": "eq", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt",
          "__ge__": "ge", "__neg__": "neg", "__pos__": "positive", "__abs__": "abs",
          "__invert__": "bitwise_not", "__getitem__": "getitem", "__setitem__": "setitem"}  # fmt: skip


def attach_operators() -> None:
    """Give Tensor Python's operators."""
    for method, name in OTHERS.items():
        if name in OPS:
            setattr(Tensor, method, OPS[name].function)
    for stem, name in BINARY.items():
        if name not in OPS:
            continue
        setattr(Tensor, f"__{stem}__", OPS[name].function)
        setattr(Tensor, f"__r{stem}__", reflected(OPS[name].function))
        if hasattr(Tensor, name + "_"):
            setattr(Tensor, f"__i{stem}__", getattr(Tensor, name + "_"))
    Tensor.__rdiv__ = Tensor.__rtruediv__  # pyright: ignore[reportAttributeAccessIssue]
    Tensor.__idiv__ = Tensor.__itruediv__  # pyright: ignore[reportAttributeAccessIssue]


def reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Tensor:
        return function(other, self)

    return method


def attach_methods() -> None:
    """Give Tensor the ops that name it among their spaces, and their in-place forms."""
    for entry in OPS.values():
        if "Tensor" not in entry.spaces:
            continue
        if entry.name not in vars(Tensor):
            setattr(Tensor, entry.name, entry.function)
        make = pointwise.inplace_method if entry.kind == "pointwise" else dispatch.inplace_method
        method = make(entry)  # pyright: ignore[reportArgumentType]
        if method is not None and entry.name + "_" not in vars(Tensor):
            setattr(Tensor, entry.name + "_", method)


attach_methods()
attach_operators()
