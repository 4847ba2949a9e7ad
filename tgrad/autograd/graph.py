"""Nodes: what backward needs of each op that ran.

A :class:`Node` holds edges to the nodes (or leaves) of its inputs and whatever its gradient rule
named. Nodes point only backwards and hold arrays of their outputs, never the output tensors, so a
graph has no reference cycles and is freed the moment its last tensor goes.
"""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tgrad.autograd.grad_mode import mode
from tgrad.autograd.variable import Variable, replay

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Edge = tuple["Node | Variable", int]
Meta = tuple[tuple[int, ...], Any, Any]  # shape, NumPy dtype, device of one output

_sequence = itertools.count()


class Node:
    """One recorded op. ``edges`` has one entry per tensor input; None where no gradient flows."""

    __slots__ = ("__weakref__", "edges", "meta", "post_hooks", "pre_hooks", "sequence", "trace")

    def __init__(self, edges: Sequence[Edge | None], meta: list[Meta]):
        self.edges = edges
        self.meta = meta
        self.sequence = next(_sequence)
        self.pre_hooks: dict[int, dict[int, Callable]] | None = None  # by output
        self.post_hooks: dict[int, Callable] | None = None
        self.trace = user_stack() if mode.anomaly else None

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        """((node or leaf, output number), ...) as PyTorch shows it; (None, 0) for no gradient."""
        return tuple(edge or (None, 0) for edge in self.edges)

    def apply(self, gs: list[Tensor | None]) -> Sequence[Tensor | None]:
        """Gradients of the inputs, one per edge, from those of the outputs."""
        raise NotImplementedError

    def release(self) -> None:
        """Drop what was saved: the graph is being freed."""

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after this node has run."""
        if self.post_hooks is None:
            self.post_hooks = {}
        return RemovableHandle(self.post_hooks, hook)

    def register_prehook(self, hook: Callable, output: int = 0) -> RemovableHandle:
        """Call ``hook(g)`` on the gradient of one output before this node runs."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return RemovableHandle(self.pre_hooks.setdefault(output, {}), hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class RemovableHandle:
    """Returned by ``register_*hook``; ``remove()`` takes the hook out again."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Callable], hook: Callable):
        self.hooks, self.id = hooks, next(RemovableHandle._ids)
        hooks[self.id] = hook

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class SavedInput:
    """An input tensor kept for backward, with the version at which it was read."""

    __slots__ = ("counter", "tensor", "version")

    def __init__(self, tensor: Variable):
        self.tensor = tensor
        counter = tensor.counter
        if counter is None:
            counter = tensor.version_counter()
        self.counter, self.version = counter, counter[0]

    def get(self, node: Node, name: str) -> Any:
        check_version(self.counter, self.version, node, f"input {name}", self.tensor.shape)
        return self.tensor


class SavedOutput:
    """An output kept for backward: its array only, since the tensor points to the node."""

    __slots__ = ("counter", "index", "kind", "like", "version")

    def __init__(self, y: Variable, index: int):
        self.like, self.kind, self.index = (y.array, y.device), type(y), index
        self.counter = y.version_counter()
        self.version = self.counter[0]

    def get(self, node: Node, name: str) -> Any:
        check_version(self.counter, self.version, node, f"output {name}", self.like[0].shape)
        array, where = self.like
        return rebuilt(self.kind, array, where, self.counter, (node, self.index))


class SavedPacked:
    """A value handed to ``saved_tensors_hooks``: what ``pack`` returned, and where it belongs."""

    __slots__ = ("edge", "hooks", "kind", "packed")

    def __init__(self, x: Variable, index: int | None, hooks: tuple[Callable, Callable]):
        self.hooks, self.kind = hooks, type(x)
        self.packed = hooks[0](x.detach())
        # An output's edge is the node that holds this; it is put back in get().
        self.edge = index if index is not None else x.edge() if x.tracked else None

    def get(self, node: Node, name: str) -> Any:
        x = self.hooks[1](self.packed)
        if not isinstance(x, Variable):
            raise TypeError(
                f"saved_tensors_hooks: unpack returned {type(x).__name__}, not a Tensor"
            )
        edge = (node, self.edge) if isinstance(self.edge, int) else self.edge
        return rebuilt(self.kind, x.array, x.device, x.version_counter(), edge)


def rebuilt(
    kind: type[Variable], array: Any, where: Any, counter: list[int], edge: Edge | None
) -> Any:
    """A tensor around ``array`` whose gradient, if it can have one, flows to ``edge``."""
    x = kind.__new__(kind)
    x.array, x.device, x.counter = array, where, counter
    # V: bfloat16
    if edge is not None and isinstance(edge[0], Node) and array.dtype.kind in "fcV":
        x.node, x.output_nr, x.tracked = edge[0], edge[1], True
    return x


def save_input(x: Variable) -> SavedInput | SavedPacked:
    """``x`` as a node keeps it. Leaves that require grad are never packed: they live on anyway."""
    hooks = mode.saved_hooks
    if hooks is None or (x.node is None and x.tracked):
        return SavedInput(x)
    return SavedPacked(x, None, hooks)


def save_output(y: Variable, index: int) -> SavedOutput | SavedPacked:
    hooks = mode.saved_hooks
    return SavedOutput(y, index) if hooks is None else SavedPacked(y, index, hooks)


class saved_tensors_hooks:
    """Inside, what ops save for backward goes through ``pack_hook``, and back by ``unpack_hook``.

    ``pack_hook(tensor)`` may return anything; ``unpack_hook`` gets that and returns the tensor.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]):
        self.hooks = (pack_hook, unpack_hook)
        self.previous: list[tuple[Callable, Callable] | None] = []

    def __enter__(self) -> None:
        self.previous.append(mode.saved_hooks)
        mode.saved_hooks = self.hooks

    def __exit__(self, *exc: object) -> None:
        mode.saved_hooks = self.previous.pop()


def user_stack() -> list[str]:
    """The Python stack without the library's own frames at its end."""
    frames = traceback.extract_stack()
    while frames and frames[-1].filename.startswith(_LIBRARY):
        frames.pop()
    return traceback.format_list(frames)


_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def check_version(
    counter: list[int], version: int, node: Node, what: str, shape: tuple[int, ...]
) -> None:
    if counter[0] != version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: {what} of {node.name()}, shape {list(shape)}, is at version {counter[0]}; "
            f"expected version {version} instead. Hint: tgrad.autograd.set_detect_anomaly(True) "
            "shows the forward operation that saved it."
        )


class CopySlices(Node):
    """What a tensor's node becomes when one of its views is written in place.

    The part of the gradient that the view covers goes through ``inner``, the node of the in-place
    op; the rest goes to what the base was before.
    """

    __slots__ = ("inner", "view")

    def __init__(self, before: Edge | None, view: tuple, inner: Node, meta: Meta):
        # inner's first edge is the view's old value; it is replaced by the base's old value.
        super().__init__((before, *inner.edges[1:]), [meta])
        self.view, self.inner = view, inner

    def name(self) -> str:
        return f"CopySlices[{self.inner.name()}]"

    def apply(self, gs: list[Tensor | None]) -> Sequence[Tensor | None]:
        g = gs[0]
        if g is None:
            return [None] * len(self.edges)
        base = g.clone()
        window = replay(self.view, base)
        first, *rest = self.inner.apply([window.clone()])
        if first is None:
            window.zero_()
        else:
            window.copy_(first)
        return [base, *rest]

    def release(self) -> None:
        self.inner.release()


def set_history(tensors: Sequence[Variable], node: Node) -> None:
    """Make ``node`` the producer of freshly made ``tensors``."""
    for i, t in enumerate(tensors):
        t.node, t.output_nr, t.tracked = node, i, True


def rebase_history(x: Variable, node: Node | None) -> None:
    """Record that ``node`` wrote ``x`` in place; its first edge is ``x``'s old value."""
    counter = x.version_counter()
    if node is not None:
        base = x.base
        if base is not None and x.view_chain is not None:
            meta = (base.array.shape, base.array.dtype, base.device)
            before = base.edge() if base.tracked else None
            base.node, base.output_nr = CopySlices(before, x.view_chain, node, meta), 0
            base.tracked = True
        else:
            x.node, x.output_nr, x.tracked = node, 0, True
    counter[0] += 1
    if x.base is not None and node is not None:
        x.refresh()
