"""The registry's data: one :class:`Op` per op, and the :class:`Spec` that its card returns."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tgrad import dtypes
from tgrad.autograd.recorded import OpNode, Rule
from tgrad.autograd.variable import Variable
from tgrad.device import device
from tgrad.runtime.plan import Table


class Spec:
    """Shape and dtype of an output that does not exist yet.

    Keyword arguments replace the call's own for kernel and gradient: a card hands on
    ``dim=dim % x.ndim`` so that neither has to know of negative dims.
    """

    __slots__ = ("dtype", "params", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: dtypes.dtype, **params: Any):
        self.shape, self.dtype, self.params = shape, dtype, params

    def __repr__(self) -> str:
        return f"Spec({self.shape}, {self.dtype})"


REQUIRED = inspect.Parameter.empty


class Op:
    """One registry entry. ``kind``: "pointwise", "kernel", "view", "composite" or "update"."""

    def __init__(self, card: Callable, kind: str, spaces: Sequence[str], family: str | None = None):
        self.name: str = card.__name__
        self.card, self.kind, self.spaces = card, kind, tuple(spaces)
        self.doc = inspect.getdoc(card)
        self.family = family or card.__module__.rpartition(".")[2]
        self.signature = inspect.signature(card)
        parameters = list(self.signature.parameters.values())
        self.names: list[str] = [p.name for p in parameters]
        self.index = {name: i for i, name in enumerate(self.names)}
        self.arity = len(self.names)
        self.defaults = tuple([p.default for p in parameters])  # REQUIRED where there is none
        self.positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.tensors = [i for i, p in enumerate(parameters) if "Tensor" in str(p.annotation)]
        self.lists = {
            i for i in self.tensors if "list[" in str(parameters[i].annotation).lower()
            or "Sequence[" in str(parameters[i].annotation)
        }  # fmt: skip
        self.kernels: dict[str, Callable[..., None]] = {}
        self.plans = Table()  # recorded calls on a GPU
        self.rules: list[Rule] = []
        self.node_class: type[OpNode] | None = None  # made when a call is first recorded
        self.inplace: str | None = None  # "copy" or "direct": whether a kernel may have y is x
        self.function: Callable[..., Any] = card

    @property
    def differentiable(self) -> bool:
        return bool(self.rules)

    def kernel(self, kind: str) -> Callable[..., None] | None:
        """The kernel for a kind of device, its module imported on first use."""
        found = self.kernels.get(kind)
        if found is None:
            module = f"tgrad.kernels.{kind}.{self.family}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as e:
                if e.name not in (module, f"tgrad.kernels.{kind}"):
                    raise
            found = self.kernels.get(kind)
        return found

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple:
        """All arguments by position; ``input=`` names the first whatever the card calls it."""
        if "input" in kwargs and "input" not in self.index:
            kwargs[self.names[0]] = kwargs.pop("input")
        n = len(args)
        if n <= self.positional:
            call = [*args, *self.defaults[n:]]
            for name, value in kwargs.items():
                i = self.index.get(name, -1)
                if i < n:
                    break  # unknown, or given twice
                call[i] = value
            else:
                if all(value is not REQUIRED for value in call):
                    return tuple(call)
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.name}() {e}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def inputs(self, args: Sequence[Any]) -> list[Any]:
        """The tensor arguments in order, lists flattened; None for an absent optional one."""
        if not self.lists:
            return [args[i] for i in self.tensors]
        flat = []
        for i in self.tensors:
            flat.extend(args[i]) if i in self.lists else flat.append(args[i])
        return flat


OPS: dict[str, Op] = {}


def register(entry: Op) -> None:
    if entry.name in OPS:
        raise ValueError(
            f"op {entry.name!r} is already declared in family {OPS[entry.name].family}"
        )
    OPS[entry.name] = entry


class _TensorType:
    """The class that results are instances of; ``tensor.py`` names it (imports go down only)."""

    cls: type[Variable] = Variable


def set_tensor_type(cls: type[Variable]) -> None:
    _TensorType.cls = cls


def wrap(array: Any, where: device) -> Any:
    """A tensor around ``array`` that is not part of any graph."""
    cls = _TensorType.cls
    t = cls.__new__(cls)
    t.array = array
    t.device = where
    return t
