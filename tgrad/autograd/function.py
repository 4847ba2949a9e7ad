"""``Function``: an op of the user's own, with its backward written by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tgrad.autograd.grad_mode import is_grad_enabled, no_grad
from tgrad.autograd.graph import (
    Edge,
    Meta,
    Node,
    rebase_history,
    save_input,
    save_output,
)
from tgrad.autograd.variable import Variable
from tgrad.dtypes import from_numpy_dtype


class FunctionCtx:
    """What ``forward`` and ``backward`` share. Attributes of any name may be set on it."""

    needs_input_grad: tuple[bool, ...] = ()
    _node: FunctionNode | None = None

    def __init__(self) -> None:
        self._to_save: tuple[Variable | None, ...] = ()
        self._saved: list[Any] = []
        self._dirty: tuple[Variable, ...] = ()
        self._constant: tuple[Variable, ...] = ()
        self._materialize = True
        self._freed = False

    def save_for_backward(self, *tensors: Variable | None) -> None:
        """Keep inputs, outputs or other tensors (or None) for ``backward``."""
        for x in tensors:
            if x is not None and not isinstance(x, Variable):
                raise TypeError(
                    f"save_for_backward can only save variables, but got {type(x).__name__}"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved. Raises RuntimeError if written in place since, or already freed."""
        node = self._node
        if self._freed:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Specify retain_graph=True if you "
                "need to backward through the graph a second time."
            )
        if node is None:
            return self._to_save
        return tuple(None if v is None else v.get(node, str(i)) for i, v in enumerate(self._saved))

    def mark_dirty(self, *tensors: Variable) -> None:
        """Say that these inputs were written in place and are returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Variable) -> None:
        """Say that these outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether gradients that never arrived reach ``backward`` as zeros (default) or None."""
        self._materialize = value


class FunctionNode(Node):
    """The node of one ``Function.apply``."""

    __slots__ = ("ctx", "function", "positions")

    def __init__(
        self,
        function: type[Function],
        ctx: FunctionCtx,
        edges: list[Edge | None],
        meta: list[Meta],
        positions: list[int],
    ):
        super().__init__(edges, meta)
        self.function, self.ctx, self.positions = function, ctx, positions

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def apply(self, gs: list[Any]) -> Sequence[Any]:
        ctx = self.ctx
        ctx._node = self
        try:
            if ctx._materialize:
                like = next(g for g in gs if g is not None)
                gs = [
                    zeros(like, m) if g is None else g for g, m in zip(gs, self.meta, strict=True)
                ]
            dxs = self.function.backward(ctx, *gs)
        finally:
            ctx._node = None
        dxs = dxs if isinstance(dxs, tuple) else (dxs,)
        arity = len(ctx.needs_input_grad)
        if len(dxs) > arity and all(dx is None for dx in dxs[arity:]):
            dxs = dxs[:arity]
        if len(dxs) != arity:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients "
                f"(expected {arity}, got {len(dxs)})"
            )
        return [dxs[i] for i in self.positions]

    def release(self) -> None:
        if self.ctx._saved:
            self.ctx._saved, self.ctx._freed = [], True


def zeros(like: Any, meta: Meta) -> Any:
    shape, dtype, where = meta
    return like.new_zeros(shape, dtype=from_numpy_dtype(dtype), device=where)


def _no_backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
    raise NotImplementedError(
        "You must implement either the backward or vjp method for your custom Function to use it "
        "with backward mode AD."
    )


class Function:
    """Base of custom ops: static ``forward(ctx, *args)`` and ``backward(ctx, *grad_outputs)``.

    ``forward`` runs unrecorded; ``backward`` returns one gradient (or None) per argument of
    ``forward``. With a static ``setup_context(ctx, inputs, output)``, ``forward`` takes no ctx.
    Call it as ``MyFunction.apply(...)``.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom Function.")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    # A variable, so that overriding it with a fixed number of gradients is no type error.
    backward: ClassVar[Callable[..., Any]] = staticmethod(_no_backward)

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run ``forward`` and record ``backward``."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(a, Variable) and a.tracked for a in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        several = isinstance(result, (tuple, list))
        ys = [_fresh(y, args, ctx) for y in (result if several else (result,))]
        if is_grad_enabled() and any(ctx.needs_input_grad):
            _record(cls, ctx, args, ys)
        else:
            for y in ctx._dirty:
                rebase_history(y, None)
        ctx._to_save = ()
        return type(result)(ys) if several else ys[0]


def _fresh(y: Any, args: tuple, ctx: FunctionCtx) -> Any:
    """An output that is also an input gets an identity of its own, unless it was written."""
    given = isinstance(y, Variable) and any(y is a for a in args)
    if not given or any(y is d for d in ctx._dirty):
        return y
    alias = y.detach()
    ctx._to_save = tuple(alias if x is y else x for x in ctx._to_save)
    return alias


def _record(cls: type[Function], ctx: FunctionCtx, args: tuple, ys: list[Any]) -> None:
    positions = [i for i, a in enumerate(args) if isinstance(a, Variable)]
    edges = [args[i].edge() if args[i].tracked else None for i in positions]
    tensors = [y for y in ys if isinstance(y, Variable)]
    meta = [(y.array.shape, y.array.dtype, y.device) for y in tensors]
    node = FunctionNode(cls, ctx, edges, meta, positions)
    index = {id(y): k for k, y in enumerate(tensors)}
    for y in ctx._dirty:
        if y.tracked and y.node is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        y.version_counter()[0] += 1
    ctx._dirty = ()
    ctx._saved = [
        None if x is None else save_output(x, index[id(x)]) if id(x) in index else save_input(x)
        for x in ctx._to_save
    ]
    constant = {id(y) for y in ctx._constant}
    ctx._constant = ()
    for k, y in enumerate(tensors):
        if id(y) not in constant and (y.dtype.is_floating_point or y.dtype.is_complex):
            y.node, y.output_nr, y.tracked = node, k, True


def once_differentiable(backward: Callable) -> Callable:
    """Mark a ``backward`` that is not itself differentiable: double backward raises."""

    @functools.wraps(backward)
    def wrapper(ctx: FunctionCtx, *grads: Any) -> Any:
        with no_grad():
            outputs = backward(ctx, *grads)
        if not is_grad_enabled() or not any(isinstance(g, Variable) and g.tracked for g in grads):
            return outputs
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )

    return wrapper
