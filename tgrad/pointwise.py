"""Pointwise ops: one Python expression, read three ways.

NumPy runs it on cache-sized chunks, Triton compiles it inside a launch kernel, and for gradients
of gradients it runs on Tensors. In an expression the global name ``xp`` is the maths namespace of
whoever reads it; expressions are straight-line code of operators, ``xp.f(...)`` and constants, so
that all three can.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tgrad import dtypes, replay
from tgrad.autograd.grad_mode import enable_grad, is_grad_enabled, mode
from tgrad.autograd.graph import rebase_history
from tgrad.autograd.recorded import Rule, Together, node_class
from tgrad.autograd.variable import Variable
from tgrad.dispatch import (
    OPS,
    Op,
    Spec,
    check_fits,
    check_inplace,
    check_out,
    copy_array,
    finish,
    gradient,
    record,
    register,
    spaces_of,
    store_out,
    wrap,
)
from tgrad.expression import Program, Symbol, TensorMaths, bind, part, xp
from tgrad.operands import NUMBER, Plan, broadcast, plan
from tgrad.runtime import cuda, memory
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import at, here, is_elsewhere
from tgrad.short import short_way

__all__ = ["Instead", "Pointwise", "Program", "Symbol", "bind", "broadcast", "derivative",
           "pointwise", "xp"]  # fmt: skip


# ---- declaring -----------------------------------------------------------------------------------


class Instead(NamedTuple):
    """What ``prepare`` returns to have another op do the call, or the op itself in place."""

    op: Callable[..., Any]
    args: tuple
    inplace: bool = False


class Pointwise(Op):
    """A pointwise entry. ``results`` are the rules for the outputs' dtypes:

    "promote" the inputs' common dtype, "float" the same with integers made floating, "real"
    (promote, but the real dtype of complex inputs), "bool" or "int32".
    """

    def __init__(
        self,
        expression: Callable,
        spaces: Sequence[str],
        result: str | tuple[str, ...],
        accepts: str,
        prepare: Callable[..., tuple] | None,
        refuses_bool: bool,
    ):
        super().__init__(expression, "pointwise", spaces)
        parameters = self.signature.parameters.values()
        # Arguments annotated as numbers are parameters; all others are tensors or numbers.
        self.tensors = [
            i for i, p in enumerate(parameters) if p.annotation not in ("float", "int", "bool")
        ]
        self.params = [i for i in range(self.arity) if i not in self.tensors]
        self.results = (result,) if isinstance(result, str) else result
        self.accepts = _categories(accepts)
        self.prepare, self.refuses_bool = prepare, refuses_bool
        # Whether a call of as many values as the expression has is surely meant for it.
        self.is_plain = prepare is None or len(self.tensors) == self.arity
        self.inplace = "pointwise" if len(self.results) == 1 else None
        self.small: Callable[..., np.ndarray] | None = None
        self.launchers: dict[str, Callable] = {}

    @functools.cached_property
    def program(self) -> Program:
        traced = Program(self.card, self.arity)
        if len(traced.results) != len(self.results):
            raise TypeError(
                f"{self.name}: its expression returns {len(traced.results)} values, and 'result' "
                f"gives the dtypes of {len(self.results)}"
            )
        return traced

    def arguments(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Pointwise, tuple, bool]:
        """The op to run, its expression's arguments, and whether in place, for a public call."""
        if self.prepare is None:
            return self, self.bind(args, kwargs), False
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        try:
            ready = self.prepare(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.name}(): {e}") from None
        if isinstance(ready, Instead):
            return ready.op.op, ready.args, ready.inplace  # pyright: ignore[reportFunctionMemberAccess]
        return self, ready, False

    def kernel(self, kind: str) -> Callable[..., None]:
        """Both devices run the expression; the launcher is imported on first use."""
        found = self.launchers.get(kind)
        if found is None:
            module = importlib.import_module(f"tgrad.kernels.{kind}.pointwise")
            found = self.launchers[kind] = functools.partial(module.launch, self)
        return found


def _categories(accepts: str) -> frozenset[int]:
    order = {"bool": dtypes.BOOL, "int": dtypes.INT, "float": dtypes.FLOAT,
             "complex": dtypes.COMPLEX}  # fmt: skip
    return frozenset(order[a] for a in accepts.split())


def pointwise(
    expression: Callable | None = None,
    *,
    result: str | tuple[str, ...] = "promote",
    accepts: str = "bool int float complex",
    spaces: Sequence[str] | None = None,
    prepare: Callable[..., tuple] | None = None,
    refuses_bool: bool = False,
) -> Any:
    """Declare the op that applies ``expression`` to each element; inputs broadcast and promote.

    An expression that returns a tuple has as many outputs, each with its rule in ``result``: they
    are computed together, and what they share is read and computed once. ``accepts`` lists the
    categories that the common dtype may have; ``refuses_bool`` raises where any input is bool.
    Every pointwise op has ``out=`` and, with one output, an in-place form. One named
    ``*_backward`` is differentiated through its expression.
    ``prepare(*args, **kwargs)`` returns the expression's arguments where the public op takes more
    (``alpha=``), or an :class:`Instead`; it is skipped when a call gives just the expression's
    arguments by position and all are tensors.
    """

    def declare(expression: Callable) -> Callable:
        entry = Pointwise(
            expression, spaces_of(expression.__name__, spaces), result, accepts, prepare,
            refuses_bool,
        )  # fmt: skip
        register(entry)
        if entry.name.endswith("_backward"):
            derive_gradient(entry)

        def general(args: tuple, kwargs: dict[str, Any]) -> Any:
            if not kwargs and len(args) == entry.arity and entry.is_plain:
                return run(entry, args)
            out = kwargs.pop("out", None)
            chosen, args, inplace = entry.arguments(args, kwargs)
            if inplace:
                return run_inplace(chosen, args)
            return run(chosen, args) if out is None else run_out(chosen, args, out)

        return finish(entry, short_way(entry, general))

    return declare if expression is None else declare(expression)


def derive_gradient(entry: Pointwise) -> None:
    """Differentiate ``entry`` by running its expression on Tensors."""

    outputs = len(entry.results)

    def rule(*given: Any) -> list[Any]:
        from tgrad import autograd

        gs, needs, args = given[:outputs], given[outputs], given[outputs + 1 :]
        create = is_grad_enabled()
        call, wanted = list(args), []
        with enable_grad():
            for i, need in zip(entry.tensors, needs, strict=True):
                if need:
                    call[i] = _cut(args[i], create)
                    wanted.append(call[i])
                elif isinstance(args[i], NUMBER):  # ops on numbers alone have no tensor to go by
                    call[i] = next(g for g in gs if g is not None).new_full((), args[i])
            made = bind(entry.card, TensorMaths())(*call)
            ys = made if isinstance(made, tuple) else (made,)
            # Untracked: it depends on these inputs in a condition only.
            ends = [(y, g) for y, g in zip(ys, gs, strict=True) if g is not None and y.tracked]
            if not ends:
                return [None] * len(needs)
            found = autograd.grad(
                [y for y, _ in ends], wanted, [g for _, g in ends],
                create_graph=create, allow_unused=True,
            )  # fmt: skip
        grads = iter(found)
        return [next(grads) if need else None for need in needs]

    names = [f"gg{k}" for k in range(outputs)]
    names += ["needs", *entry.names]
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    rule.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [inspect.Parameter(name, kinds) for name in names]
    )
    single = len(entry.tensors) == 1
    made = Rule(rule, None, entry)
    if single:
        made.function = lambda *call: rule(*call)[0]
    entry.rules.append(made)


def _cut(x: Any, create: bool) -> Any:
    """x as an argument of its own: inputs may depend on each other, partials must not see it."""
    return OPS["_expand"].function(x, x.shape) if create else x.detach().requires_grad_()


def derivative(of: Callable, *inputs: str) -> Callable[[Callable], Any]:
    """Declare a pointwise op that is the gradient rule of ``of``, for the named inputs.

    Its arguments are those that a rule may name: ``g``, ``y``, the inputs and parameters of ``of``.
    With several inputs its expression returns a tuple of their gradients: one pass computes all
    where all are needed. A gradient that is needed alone is computed alone, by the steps of the
    expression that lead to it, and only what these read is kept for it.
    """
    entry: Op = of.op  # pyright: ignore[reportFunctionMemberAccess]

    def declare(expression: Callable) -> Any:
        if len(inputs) < 2:
            function = pointwise(expression)
            gradient(of, *inputs)(as_rule(function))
            return function
        function = pointwise(expression, result=("promote",) * len(inputs))

        def alone(k: int) -> Callable[..., Any]:
            name = f"{entry.name}_{inputs[k]}_backward"
            return as_rule(pointwise(part(expression, function.op.program, k, name)))

        targets = [entry.tensors.index(entry.index[name]) for name in inputs]
        entry.rules.append(Together(as_rule(function), targets, entry, alone))
        return function

    return declare


def as_rule(function: Any) -> Callable[..., Any]:
    """The function of a pointwise op with the names of its expression, by which a rule goes."""
    rule = functools.partial(function)
    rule.__signature__ = function.op.signature  # pyright: ignore[reportAttributeAccessIssue]
    return rule


# ---- running -------------------------------------------------------------------------------------


def fill(entry: Pointwise, p: Plan, ys: list[Any]) -> None:
    entry.kernel(p.where.type)(ys, p.operands, p.compute)


def allocate(p: Plan) -> list[Any]:
    empty = memory.empty if p.where.type == "cpu" else cuda.empty
    return [empty(p.shape, r.numpy) for r in p.results]


def run(entry: Pointwise, args: tuple) -> Any:
    """One call by the general path: any mix of dtypes, shapes, numbers and devices."""
    if here.place.heap is not None:
        t = replay.run(entry, args, plan, fill)
        if t is not None:
            return t
    p = plan(entry, args)
    if is_elsewhere(p.where):
        with at(p.where):
            return run(entry, args)
    ys = allocate(p)
    fill(entry, p, ys)
    results = [wrap(y, p.where) for y in ys]
    if mode.enabled and entry.rules:
        record(entry, args, [_input(args[i]) for i in entry.tensors], results)
    elif mode.inference:
        for t in results:
            t.inference = True
    return tuple(results) if len(results) > 1 else results[0]


def _input(a: Any) -> Any:
    return a if isinstance(a, Variable) else None


def run_out(entry: Pointwise, args: tuple, out: Any) -> Any:
    """``out=``: written directly where shapes, dtypes and memory allow."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    if len(outs) != len(entry.results):
        raise TypeError(
            f"{entry.name}(): argument 'out' must be {len(entry.results)} tensors, not {len(outs)}"
        )
    check_out(entry.name, outs, [_input(args[i]) for i in entry.tensors])
    p = plan(entry, args)
    if is_elsewhere(p.where):
        with at(p.where):
            return run_out(entry, args, out)
    fits = all(
        o.shape == p.shape and o.dtype is r and o.device is p.where
        for o, r in zip(outs, p.results, strict=True)
    )
    arrays = [o.array for o in outs]
    if fits and not clash(arrays, p.operands):
        fill(entry, p, arrays)
        for o in outs:
            rebase_history(o, None)
        return out
    ys = allocate(p)
    fill(entry, p, ys)
    store_out(entry.name, outs, [wrap(y, p.where) for y in ys])
    return out


def run_inplace(entry: Pointwise, args: tuple) -> Any:
    """``name_``: write the result over the first argument, whose shape and device stay."""
    x = args[0]
    check_inplace(entry.name + "_", x)
    ready = replay.inplace(entry, args)
    p = None if ready is not None and ready.is_recorded else plan_inplace(entry, args)
    if p is not None and is_elsewhere(p.where):
        with at(p.where):
            return run_inplace(entry, args)
    inputs = [_input(args[i]) for i in entry.tensors]
    node = None
    if mode.enabled and entry.rules and any(t is not None and t.tracked for t in inputs):
        node = node_class(entry)(
            entry,
            [t.edge() if t is not None and t.tracked else None for t in inputs],
            [(x.array.shape, x.array.dtype, x.device)],
        )
        node.save_inputs(args, inputs, overwritten=x)
    if ready is None or not ready.run(p, fill):
        overwrite(entry, p or plan_inplace(entry, args), x)
    rebase_history(x, node)
    if node is not None:
        node.save_outputs([x])
    return x


def plan_inplace(entry: Pointwise, args: tuple) -> Plan:
    """The plan of ``name_``, whose result must fit the first argument."""
    x = args[0]
    p = plan(entry, args)
    if p.where is not x.device:
        raise RuntimeError(
            f"{entry.name}_: Expected all tensors to be on the same device, but found at least two "
            f"devices, {x.device} and {p.where}!"
        )
    check_fits(entry.name + "_", Spec(p.shape, p.results[0]), x)
    return p


def overwrite(entry: Pointwise, p: Plan, x: Variable) -> None:
    if clash([x.array], p.operands[1:]):
        ys = allocate(p)
        fill(entry, p, ys)
        copy_array(x, ys[0])
    else:
        fill(entry, p, [x.array])


def clash(ys: Sequence[Any], operands: Sequence[Any]) -> bool:
    """Whether writing ``ys`` element by element could change what is yet to be read.

    One output may be an operand itself, but not one of several: the next is computed after it.
    """
    return any(
        overlaps(y, a) and (len(ys) > 1 or not is_same(y, a))
        for k, y in enumerate(ys)
        for a in (*operands, *ys[:k])
    )


def overlaps(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return np.may_share_memory(a, b)
    return isinstance(b, CudaArray) and a.owner is b.owner


def is_same(a: Any, b: Any) -> bool:
    """Whether two arrays of one device are the same elements in the same order."""
    return a.shape == b.shape and a.strides == b.strides and _address(a) == _address(b)


def _address(a: Any) -> int:
    return a.ptr if isinstance(a, CudaArray) else a.__array_interface__["data"][0]


def inplace_method(entry: Pointwise) -> Callable[..., Any] | None:
    """The ``name_`` function of a pointwise op; None where it has several outputs."""
    if entry.inplace is None:
        return None
    binary = entry.arity == 2 and not entry.params

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) + 1 == entry.arity and entry.is_plain:
            if binary and replay.over(entry, self, args[0]):
                return self
            return run_inplace(entry, (self, *args))
        chosen, ready, _ = entry.arguments((self, *args), kwargs)
        return run_inplace(chosen, ready)

    method.__name__ = method.__qualname__ = entry.name + "_"
    method.__doc__ = f"In-place form of :func:`{entry.name}`."
    return method
