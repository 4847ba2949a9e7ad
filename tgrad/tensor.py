"""The Tensor class: what PyTorch users call on a tensor.

Ops become methods by ``methods.py``, from the registry; written out here is what is not an op:
construction, autograd's face, size and layout. Conversion to other things is in ``conversion.py``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tgrad import autograd, dispatch, dtypes, ops
from tgrad.autograd.graph import RemovableHandle
from tgrad.autograd.variable import Variable
from tgrad.conversion import Conversion, Number, has_order
from tgrad.device import CPU, device, resolve
from tgrad.dispatch import OPS, wrap
from tgrad.dtypes import dtype
from tgrad.layout import (
    Size,
    axis_order,
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    strided,
)
from tgrad.methods import attach, creation
from tgrad.runtime.array import contiguous_strides, is_contiguous


class Tensor(Conversion):
    """A strided array on a device that records the ops applied to it.

    ``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` has these elements, both in the default
    dtype; :func:`tgrad.tensor` and its siblings are the better way.
    """

    __array_priority__ = 1000  # ndarray + Tensor asks Tensor first
    if TYPE_CHECKING:  # PROPERTIES below
        T: Tensor
        H: Tensor
        mT: Tensor
        mH: Tensor
        real: Tensor
        imag: Tensor
    _grad: Tensor | None = None

    def __init__(self, *args: Any, device: str | int | device | None = None):
        made = legacy(args, resolve(device))
        self.array, self.device = made.array, made.device

    # ---- autograd --------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(bool(value))

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start or stop recording ops on this leaf.

        Raises: RuntimeError for integer tensors, or to stop on a tensor that was computed.
        """
        if not isinstance(requires_grad, bool):
            raise TypeError(
                "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
                f"{type(requires_grad).__name__}"
            )
        if requires_grad and self.dtype.category < dtypes.FLOAT:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
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
    def grad(self) -> Tensor | None:
        """The gradient that backward accumulated; None before."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            self.check_grad(value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._grad = None

    def check_grad(self, value: object) -> None:
        """Raise TypeError or RuntimeError unless ``value`` can be this tensor's gradient."""
        if not isinstance(value, Variable):
            raise TypeError(
                "assigned grad expected to be a Tensor or None but got grad of type "
                f"{type(value).__name__}"
            )
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value.array.dtype != self.array.dtype:
            raise RuntimeError(
                f"assigned grad has data of a different type: {value.dtype}, expected {self.dtype}"
            )
        if value.device is not self.device:
            raise RuntimeError(
                "assigned grad has data located on a different device: "
                f"{value.device}, expected {self.device}"
            )
        if value.array.shape != self.array.shape:
            raise RuntimeError(
                "assigned grad has data of a different size: "
                f"{list(value.shape)}, expected {list(self.shape)}"
            )

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this computed tensor too; nothing to do for leaves.

        Raises: RuntimeError if it does not require grad.
        """
        if not self.tracked:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.grad_fn
        if node is None or self.retains_grad:
            return
        self.retains_grad = True
        node.register_prehook(keeper(weakref.ref(self)), self.output_nr)

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

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` after this leaf's ``.grad`` was added to.

        Raises: RuntimeError on a tensor that does not require grad or is not a leaf.
        """
        if not self.tracked or not self.is_leaf:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors or tensors "
                "that don't require gradient"
            )
        if self.post_hooks is None:
            self.post_hooks = {}
        return RemovableHandle(self.post_hooks, hook)

    # ---- size and layout -------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    def dim(self) -> int:
        return len(self.array.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its entries. Raises IndexError out of range."""
        if dim is None:
            return self.shape
        return self.array.shape[ops.normalize_dim("size", dim, self.ndim)]

    def numel(self) -> int:
        return self.array.size

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dim, in elements."""
        a = self.array
        strides = a.strides if a.size else contiguous_strides(a.shape, a.itemsize)  # NumPy's are 0
        steps = tuple(s // a.itemsize for s in strides)
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
        """Whether the elements lie without gaps in row-major order, or in ``memory_format``'s."""
        if memory_format is None or memory_format is contiguous_format:
            return is_contiguous(self.array)
        rank = 4 if memory_format is channels_last else 5
        if self.ndim != rank and memory_format in (channels_last, channels_last_3d):
            return False
        order = axis_order(memory_format, self.ndim)
        return is_contiguous(self.array) if order is None else has_order(self.array, order)

    def dim_order(self) -> tuple[int, ...]:
        """The dims from the slowest to the fastest in memory."""
        return tuple(sorted(range(self.ndim), key=lambda i: -self.array.strides[i]))

    @property
    def layout(self) -> layout:
        return strided

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

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """This tensor's elements where ``condition`` holds, else those of ``other``."""
        return OPS["where"].function(condition, self, other)

    def polygamma(self, n: int) -> Tensor:
        """The ``n``-th derivative of ``digamma``. See :func:`tgrad.polygamma`."""
        return OPS["polygamma"].function(n, self)

    def polygamma_(self, n: int) -> Tensor:
        """In-place form of :meth:`polygamma`."""
        dispatch.check_inplace("polygamma_", self)
        old = self.clone() if self.tracked else self
        return self.copy_(old.polygamma(n))

    is_sparse = is_quantized = is_meta = is_nested = is_mps = False

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        return self.inference

    def __hash__(self) -> int:
        return id(self)


def legacy(args: tuple, where: device, dtype: dtype | None = None) -> Tensor:
    """What ``Tensor(...)`` means: sizes, or the elements of a sequence, in the default dtype.

    A ``dtype`` is that of a legacy type such as ``LongTensor``, which takes no tensor of another.
    """
    made = creation()
    kind = dtype or dtypes.get_default_dtype()
    if len(args) != 1:
        return made.empty(args or (0,), dtype=kind, device=where)
    (data,) = args
    if isinstance(data, Variable):
        if dtype is not None and (data.dtype is not dtype or data.device.type != where.type):
            raise TypeError(
                f"new(): expected a tensor of {dtype} on {where.type}, got one of {data.dtype} on "
                f"{data.device.type}"
            )
        return data.detach()
    if isinstance(data, Size):
        return made.empty(tuple(data), dtype=kind, device=where)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if hasattr(data, "__len__") and not isinstance(data, (dict, set)):
        return made.tensor(data, dtype=kind, device=where)
    if isinstance(data, bool) or not hasattr(data, "__index__"):
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return made.empty((data,), dtype=kind, device=where)


def keeper(of: weakref.ref[Tensor]) -> Callable[[Tensor], None]:
    """The hook of ``retain_grad``: it must not keep the tensor alive."""

    def keep(g: Tensor) -> None:
        t = of()
        if t is not None:
            old = t.grad
            t.grad = g.detach().clone() if old is None else g.detach().add(old)

    return keep


# ---- functions of tensors that are not ops -------------------------------------------------------


def is_tensor(obj: object) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


def _tensor(name: str, input: object) -> Tensor:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return input


def is_floating_point(input: Tensor) -> bool:
    """Whether the tensor's dtype is floating. Raises TypeError unless it is a tensor."""
    return _tensor("is_floating_point", input).dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the tensor's dtype is complex. Raises TypeError unless it is a tensor."""
    return _tensor("is_complex", input).dtype.is_complex


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0. Raises RuntimeError for any other count."""
    return bool(_tensor("is_nonzero", input))


def numel(input: Tensor) -> int:
    """The number of elements. Raises TypeError unless it is a tensor."""
    return _tensor("numel", input).array.size


def result_type(tensor1: Tensor | Number, tensor2: Tensor | Number) -> dtype:
    """The dtype of an arithmetic op on the two, tensors or numbers."""
    dims, zeros, scalars = [], [], []
    for a in (tensor1, tensor2):
        if isinstance(a, Variable):
            (dims if a.ndim else zeros).append(a.dtype)
        else:
            scalars.append(dtypes.scalar_dtype(a))
    return dtypes.combine(tuple(dims), tuple(zeros), tuple(scalars))


def typename(obj: object) -> str:
    """The name of the object's type; for tensors as "tgrad.FloatTensor"."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


dispatch.set_tensor_type(Tensor)
attach(Tensor)
