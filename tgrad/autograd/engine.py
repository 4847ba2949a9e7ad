"""Reverse-mode differentiation: run the recorded nodes backwards.

Nodes run in the reverse of the order in which they were recorded, each once, when the gradients of
all of its outputs have arrived. The loop is iterative (a graph may be 100,000 nodes deep) and a
node's saved values are dropped as soon as it has run.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.autograd import grad_mode
from tgrad.autograd.graph import Edge, Meta, Node
from tgrad.autograd.variable import Variable
from tgrad.dtypes import FROM_NUMPY
from tgrad.runtime import memory
from tgrad.runtime.array import is_contiguous

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def backward(
    roots: Sequence[tuple[Edge, Tensor]],
    *,
    targets: Sequence[Edge] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Propagate ``roots``' gradients; accumulate into leaves, or return those of ``targets``.

    With ``targets`` only the nodes on a path to one of them run, and no ``.grad`` changes.
    """
    run = _Run(targets, retain_graph, create_graph)
    with grad_mode.set_grad_enabled(create_graph):
        run.start(roots)
        run.loop()
        return [run.captured.get(_key(edge)) for edge in targets or ()]


class _Run:
    """The state of one backward pass."""

    def __init__(self, targets: Sequence[Edge] | None, retain_graph: bool, create_graph: bool):
        self.retain_graph, self.create_graph = retain_graph, create_graph
        self.accumulate = targets is None
        self.wanted = {_key(edge) for edge in targets or ()}
        self.wanted_ids = {id(edge[0]) for edge in targets or ()}
        self.targets = list(targets or ())  # kept alive: they are found by id
        self.captured: dict[tuple[int, int], Tensor] = {}
        self.pending: dict[int, int] = {}  # edges still to arrive, by id of node or leaf
        self.useful: set[int] | None = None
        self.buffers: dict[int, list[Any]] = {}
        self.owned: set[tuple[int, int]] = set()  # buffers that nobody else holds
        self.ready: list[tuple[int, int, Node]] = []
        self.leaves: list[Variable] = []  # all of whose gradients have arrived

    def start(self, roots: Sequence[tuple[Edge, Tensor]]) -> None:
        self.count([target for (target, _), _ in roots])
        # Every root delivers one more gradient.
        for (target, _), _ in roots:
            self.pending[id(target)] = self.pending.get(id(target), 0) + 1
        for edge, g in roots:
            self.deliver(edge, g)
        self.finish_leaves()

    def count(self, roots: Iterable[Node | Variable]) -> None:
        """Count the edges into each node that will run (depth first, with an explicit stack)."""
        seen: set[int] = set()
        stack = list(roots)
        parents: dict[int, list[int]] = {}
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, Variable):
                continue
            for edge in node.edges:
                if edge is not None:
                    target = edge[0]
                    self.pending[id(target)] = self.pending.get(id(target), 0) + 1
                    if not self.accumulate:
                        parents.setdefault(id(target), []).append(id(node))
                    stack.append(target)
        if not self.accumulate:
            self.useful = _reachable(self.wanted_ids, parents)

    def loop(self) -> None:
        while self.ready:
            _, _, node = heapq.heappop(self.ready)
            gs = self.buffers.pop(id(node))
            gs = [
                None if g is None else conform(g, meta)
                for g, meta in zip(gs, node.meta, strict=True)
            ]
            if node.pre_hooks:
                self.pre_hooks(node, gs)
            for i, g in enumerate(gs):
                if (id(node), i) in self.wanted and g is not None:
                    self.captured[id(node), i] = g
            if self.useful is not None and id(node) not in self.useful:
                continue  # nothing behind it was asked for
            self.step(node, gs)

    def step(self, node: Node, gs: list[Any]) -> None:
        if all(g is None for g in gs):
            dxs: Sequence[Any] = [None] * len(node.edges)
        else:
            dxs = node.apply(gs)
        if node.post_hooks:
            for hook in list(node.post_hooks.values()):
                replaced = hook(tuple(dxs), tuple(gs))
                dxs = dxs if replaced is None else replaced
        if grad_mode.mode.anomaly and grad_mode.mode.anomaly_check_nan:
            check_nan(node, dxs)
        if not self.retain_graph:
            node.release()
        del gs
        dxs = list(dxs)
        edges = node.edges
        del node
        for i, edge in enumerate(edges):
            g, dxs[i] = dxs[i], None
            if edge is not None:
                self.deliver(edge, g)
            del g
        self.finish_leaves()

    def deliver(self, edge: Edge, g: Any) -> None:
        """Add ``g`` to what has arrived at ``edge``; queue the target when all has."""
        target, index = edge
        key = id(target)
        if g is not None:
            outputs = 1 if isinstance(target, Variable) else len(target.meta)
            buffer = self.buffers.setdefault(key, [None] * outputs)
            have = buffer[index]
            if have is not None and (have.shape != g.shape or have.device is not g.device):
                # One of them is still to be summed over broadcast dims or moved to its tensor's
                # device; adding would broadcast, or fail.
                meta = _meta(target, index)
                have, g = conform(have, meta), conform(g, meta)
            if have is None:
                buffer[index] = g
            elif (key, index) in self.owned and not self.create_graph and have is buffer[index]:
                buffer[index] = have.add_(g) if have.dtype is g.dtype else have + g
            else:
                buffer[index] = have + g
                self.owned.add((key, index))
        self.pending[key] -= 1
        if self.pending[key]:
            return
        if isinstance(target, Variable):
            self.leaves.append(target)
        else:
            self.buffers.setdefault(key, [None] * len(target.meta))
            heapq.heappush(self.ready, (-target.sequence, key, target))

    def finish_leaves(self) -> None:
        """Leaves are finished once nobody up the call stack holds their gradients any more."""
        while self.leaves:
            self.finish_leaf(self.leaves.pop())

    def finish_leaf(self, x: Variable) -> None:
        buffer = self.buffers.pop(id(x), None)
        if buffer is None or buffer[0] is None:
            return
        g = buffer[0]
        del buffer
        g = conform(g, (x.array.shape, x.array.dtype, x.device))
        if x.hooks and (self.accumulate or (id(x), 0) in self.wanted):
            g = run_hooks(x.hooks, g)
        if (id(x), 0) in self.wanted:
            self.captured[id(x), 0] = g
        if self.accumulate:
            steal = self.create_graph or (sys.getrefcount(g) == ALONE and is_dense(g))
            accumulate(x, g, self.create_graph, steal)
            if x.post_hooks:
                for hook in list(x.post_hooks.values()):
                    hook(x)

    def pre_hooks(self, node: Node, gs: list[Any]) -> None:
        for i, hooks in (node.pre_hooks or {}).items():
            if gs[i] is not None:
                gs[i] = run_hooks(hooks, gs[i])


def run_hooks(hooks: dict[int, Any], g: Any) -> Any:
    for hook in list(hooks.values()):
        replaced = hook(g)
        g = g if replaced is None else replaced
    return g


def conform(g: Any, meta: Meta) -> Any:
    """``g`` with the shape, dtype and device of what it is the gradient of.

    The one place where broadcasting is undone.
    """
    shape, dtype, device = meta
    if g.array.shape != shape:
        g = g.sum_to_size(shape)
    if g.array.dtype != dtype:
        g = g.to_dtype(FROM_NUMPY[dtype])
    if g.device is not device:
        g = g.to(device)
    return g


def accumulate(x: Variable, g: Any, create_graph: bool, steal: bool = False) -> None:
    """``x.grad += g``; a first gradient that nobody else holds may be taken over."""
    if x.grad is None:
        x.grad = g if steal else g.detach().clone()
    elif create_graph:
        x.grad = x.grad + g
    else:
        x.grad.add_(g)


def is_dense(g: Any) -> bool:
    """Whether ``g`` is outside any graph, contiguous, and alone over its memory."""
    if g.tracked or not is_contiguous(g.array):
        return False
    a = g.array
    if sys.getrefcount(a) != HELD:
        return False
    if isinstance(a, np.ndarray):
        return memory.is_unique(a)
    owner = a.owner
    return sys.getrefcount(owner) == HELD


class _Counts:
    """``sys.getrefcount`` of what one local name holds, and of what an attribute holds too."""

    def __init__(self) -> None:
        self.array = object()

    def alone(self) -> int:
        g = object()
        return sys.getrefcount(g)

    def held(self) -> int:
        a = self.array
        return sys.getrefcount(a)


ALONE, HELD = _Counts().alone(), _Counts().held()  # the Python version decides


def check_nan(node: Node, dxs: Sequence[Any]) -> None:
    for i, g in enumerate(dxs):
        if g is not None and g.dtype.is_floating_point and math.isnan(g.detach().sum().item()):
            if not g.isnan().any().item():
                continue
            where = "".join(node.trace) if node.trace else "  (recorded outside detect_anomaly)\n"
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {i}th output. "
                f"The forward call that it belongs to:\n{where}"
            )


def _meta(target: Node | Variable, index: int) -> Meta:
    if isinstance(target, Variable):
        return target.array.shape, target.array.dtype, target.device
    return target.meta[index]


def _key(edge: Edge) -> tuple[int, int]:
    return id(edge[0]), edge[1]


def _reachable(start: set[int], parents: dict[int, list[int]]) -> set[int]:
    """Ids of the nodes that have one of ``start`` behind them."""
    found: set[int] = set()
    stack = list(start)
    while stack:
        for parent in parents.get(stack.pop(), ()):
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return found
