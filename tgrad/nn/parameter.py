"""Parameters and buffers: tensors that a module owns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.creation import empty
from tgrad.device import resolve
from tgrad.dispatch import wrap
from tgrad.dtypes import FROM_NUMPY
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.runtime.array import Array


class Parameter(Tensor):
    """A tensor that a module registers as a weight when it is assigned as an attribute.

    It shares memory with ``data``. Results of ops on it are plain tensors.
    Raises: TypeError if ``data`` is not a tensor, RuntimeError if an integer tensor is to require
    grad.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Parameter:
        return object.__new__(cls)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        _share(self, data)
        if requires_grad:
            self.requires_grad_(True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_parameter, (wrap(self.array, self.device), self.requires_grad, type(self))

    def __repr__(self, **options: Any) -> str:
        return "Parameter containing:\n" + super().__repr__(**options)


class Buffer(Tensor):
    """A tensor that a module registers as a buffer when it is assigned as an attribute."""

    persistent: bool

    def __new__(cls, *args: object, **kwargs: object) -> Buffer:
        return object.__new__(cls)

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        _share(self, data)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_buffer, (wrap(self.array, self.device), self.persistent)


class UninitializedTensorMixin:
    """A tensor whose shape is not known yet: it has a dtype and a device, and no elements.

    It may be moved and converted; :meth:`materialize` makes it ``cls_to_become``. Anything else
    raises ValueError, reading the shape RuntimeError.
    """

    cls_to_become: type[Tensor] = Tensor
    device: Device
    tracked: bool = False
    held: Array  # no elements; its dtype is the tensor's

    def _hold(
        self, requires_grad: bool, device: str | int | Device | None, dtype: DType | None
    ) -> None:
        data = empty(0, device=device, dtype=dtype)
        self.held, self.device = data.array, data.device
        if requires_grad:
            self.tracked = True

    def materialize(
        self,
        shape: Sequence[int],
        device: str | int | Device | None = None,
        dtype: DType | None = None,
    ) -> None:
        """Become an ordinary tensor of ``shape``, its elements not set, in place."""
        data = empty(
            tuple(shape),
            device=self.device if device is None else device,
            dtype=self.dtype if dtype is None else dtype,
        )
        del self.held
        self.__class__ = self.cls_to_become  # pyright: ignore[reportAttributeAccessIssue]
        self.array, self.device = data.array, data.device

    @property
    def array(self) -> Array:
        raise ValueError(
            f"Attempted to use an {KINDS[type(self).__name__]} as a tensor. Call the lazy module "
            "once with an input of the right size, so that its parameters are made, before that."
        )

    @array.setter
    def array(self, value: Array) -> None:  # only the class that it becomes has one
        raise AssertionError("an uninitialized tensor was given an array")

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            f"Can't access the shape of an {KINDS[type(self).__name__]}. This happens when an "
            "uninitialized parameter is loaded into an initialized one. Call `forward` first."
        )

    @property
    def dtype(self) -> DType:
        return FROM_NUMPY[self.held.dtype]

    @property
    def data(self) -> Tensor:
        """An empty tensor of its dtype and device; assigning one changes both."""
        return wrap(self.held, self.device)

    @data.setter
    def data(self, value: Tensor) -> None:
        self.held, self.device = value.array, value.device

    def share_memory_(self) -> Any:
        """Raises RuntimeError: there is no memory yet."""
        raise RuntimeError(f"Can't share memory of an {KINDS[type(self).__name__]}")

    def _like(self, data: Tensor) -> Any:
        """This one with the dtype and device of ``data``."""
        if data.dtype is self.dtype and data.device is self.device:
            return self
        kind: Any = type(self)
        made = kind(self.tracked, data.device, data.dtype)
        made.__dict__.update({k: v for k, v in vars(self).items() if k == "persistent"})
        return made

    def __repr__(self, **options: Any) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = rebuild_uninitialized(*self.__reduce_ex__(2)[1])
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        persistent = getattr(self, "persistent", None)
        return rebuild_uninitialized, (type(self), self.data, self.tracked, persistent)


KINDS = {
    "UninitializedParameter": "uninitialized parameter",
    "UninitializedBuffer": "uninitialized buffer",
}
MOVES = ("bfloat16", "char", "cpu", "cuda", "double", "float", "half", "int", "long", "short", "to")


def _move(name: str) -> Any:
    def method(self: UninitializedTensorMixin, *args: Any, **kwargs: Any) -> Any:
        return self._like(getattr(self.data, name)(*args, **kwargs))

    method.__name__ = method.__qualname__ = name
    return method


for _name in MOVES:
    setattr(UninitializedTensorMixin, _name, _move(_name))


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A parameter whose shape the first call of its lazy module will tell."""

    cls_to_become = Parameter

    def __init__(
        self,
        requires_grad: bool = True,
        device: str | int | Device | None = None,
        dtype: DType | None = None,
    ):
        self._hold(requires_grad, device, dtype)


class UninitializedBuffer(UninitializedTensorMixin, Buffer):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A buffer whose shape the first call of its lazy module will tell."""

    cls_to_become = Buffer

    def __init__(
        self,
        requires_grad: bool = False,
        device: str | int | Device | None = None,
        dtype: DType | None = None,
        persistent: bool = True,
    ):
        self._hold(requires_grad, device, dtype)
        self.persistent = persistent


def is_lazy(param: Any) -> bool:
    """Whether ``param`` is an UninitializedParameter or an UninitializedBuffer."""
    return isinstance(param, UninitializedTensorMixin)


def rebuild_uninitialized(
    kind: type[Any], data: Tensor, requires_grad: bool, persistent: bool | None
) -> Any:
    made = kind(requires_grad, data.device, data.dtype)
    if persistent is not None:
        made.persistent = persistent
    return made


def _share(made: Tensor, data: Tensor | None) -> None:
    """Lay ``made`` over the memory of ``data``, outside any graph."""
    name = type(made).__name__
    if data is None:
        made.array = np.empty((0,), dtypes.get_default_dtype().numpy)
        made.device = resolve("cpu")
        return
    if not isinstance(data, Variable):
        raise TypeError(f"{name}: expected a Tensor, got {type(data).__name__}")
    made.array, made.device = data.array, data.device
    made.counter = data.version_counter()


def _rebuild_parameter(
    data: Tensor, requires_grad: bool, kind: type[Parameter] = Parameter
) -> Parameter:
    return kind(data, requires_grad)


def _rebuild_buffer(data: Tensor, persistent: bool) -> Buffer:
    return Buffer(data, persistent=persistent)


def empty_state() -> OrderedDict[str, Any]:
    """A state_dict without entries; ``_metadata`` holds each module's version."""
    state: OrderedDict[str, Any] = OrderedDict()
    state._metadata = OrderedDict()  # pyright: ignore[reportAttributeAccessIssue]
    return state
