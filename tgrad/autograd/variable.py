"""The state of a tensor: its array, its device and its place in the graph.

``tgrad.Tensor`` adds the methods. Kept apart so that the engine and the dispatcher can be read
without the 400 ops that a Tensor has.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.device import device
from tgrad.runtime.array import Array

if TYPE_CHECKING:
    from tgrad.autograd.graph import Edge, Node
    from tgrad.tensor import Tensor


class Variable:
    """Array, device and what autograd knows. Defaults are the class's: creation sets two names."""

    array: Array
    device: device
    grad: Tensor | None = None
    tracked: bool = False  # requires_grad, without the checks of the property
    node: Node | None = None  # what computed this; None for leaves
    output_nr: int = 0  # which of the node's outputs this is
    base: Variable | None = None  # for a differentiable view: the tensor that is not a view
    view_chain: tuple | None = None  # (op, args, previous view): how `base` becomes this
    view_version: int = 0  # the counter's value when `node` was last right for a view
    counter: list[int] | None = None  # [writes so far], shared by all tensors over the memory
    hooks: dict[int, Callable] | None = None  # on a leaf's gradient
    post_hooks: dict[int, Callable] | None = None  # after a leaf's gradient was accumulated
    retains_grad: bool = False
    inference: bool = False

    if TYPE_CHECKING:  # what Tensor brings and layer 1 and 2 call

        def __getattr__(self, name: str) -> Callable[..., Any]: ...
        def _operator(self, *args: Any) -> Any: ...

        __getitem__ = __setitem__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _operator
        __add__ = __radd__ = __iadd__ = __sub__ = __rsub__ = __isub__ = _operator
        __mul__ = __rmul__ = __imul__ = __matmul__ = __rmatmul__ = __neg__ = __abs__ = _operator
        __truediv__ = __rtruediv__ = __itruediv__ = __floordiv__ = __rfloordiv__ = _operator
        __mod__ = __rmod__ = __pow__ = __rpow__ = __ipow__ = __pos__ = __invert__ = _operator
        __and__ = __rand__ = __iand__ = __or__ = __ror__ = __ior__ = __xor__ = __rxor__ = _operator
        __ifloordiv__ = __imod__ = __ixor__ = __lshift__ = __rshift__ = _operator

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.FROM_NUMPY[self.array.dtype]

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def _version(self) -> int:
        return 0 if self.counter is None else self.counter[0]

    def version_counter(self) -> list[int]:
        """The shared count of writes, made when it is first asked for."""
        if self.counter is None:
            self.counter = [0]
        return self.counter

    def edge(self) -> Edge:
        """Where this tensor's gradient flows: its node, or itself if it is a leaf."""
        if self.base is not None:
            self.refresh()
        return (self, 0) if self.node is None else (self.node, self.output_nr)

    def refresh(self) -> None:
        """Recompute a view's node where its base was written through another view."""
        base, counter = self.base, self.counter
        if base is None or counter is None or counter[0] == self.view_version:
            return
        if self.view_chain is not None and base.tracked:
            fresh = replay(self.view_chain, base)
            self.node, self.output_nr, self.tracked = fresh.node, fresh.output_nr, fresh.tracked
        self.view_version = counter[0]


def replay(view: tuple | None, x: Any) -> Any:
    """Apply a recorded chain of view ops to ``x``."""
    chain = []
    while view is not None:
        chain.append(view)
        view = view[2]
    for op, args, _ in reversed(chain):
        x = op(x, *args)
    return x


def is_small_host_scalar(x: Variable) -> bool:
    """Whether ``x`` may be mixed with tensors of a GPU: 0-d on the CPU."""
    return type(x.array) is np.ndarray and x.array.ndim == 0


# ---- torch.autograd.Variable ---------------------------------------------------------------------


class _Named(type):
    """Every tensor is an instance; a call gives the tensor ``data`` outside its graph."""

    def __call__(
        cls, data: Any, requires_grad: bool = False, volatile: bool | None = None
    ) -> Tensor:
        if volatile is not None:
            warnings.warn(
                "volatile was removed and now has no effect. Use `with tgrad.no_grad():` instead.",
                stacklevel=2,
            )
        if not isinstance(data, Variable):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        outside: Any = data
        return outside.detach().requires_grad_(requires_grad)

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Variable)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, Variable)


class OldVariable(metaclass=_Named):
    """``tgrad.autograd.Variable`` of old programs.

    A class apart: one with a metaclass costs each isinstance() of the dispatcher twice as much.
    """
