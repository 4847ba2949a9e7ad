"""The node of a registered op: gradient rules, and what they asked to have saved."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad.autograd.graph import (
    Edge,
    Meta,
    Node,
    SavedInput,
    SavedOutput,
    SavedPacked,
    save_input,
    save_output,
)
from tgrad.autograd.naming import class_name, node_name
from tgrad.autograd.variable import Variable
from tgrad.dtypes import FROM_NUMPY

if TYPE_CHECKING:
    from tgrad.dispatch import Op


SAVED = (SavedInput, SavedOutput, SavedPacked)
_KEPT = ("input", "output", "list")


class InputSpec(NamedTuple):
    """What a rule sees of an input that it does not need the values of."""

    shape: tuple[int, ...]
    dtype: Any
    device: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Rule:
    """A backward rule and, worked out once from its parameter names, what it needs.

    ``targets`` are the positions (among the op's tensor arguments) that it gives gradients of.
    """

    def __init__(self, function: Callable[..., Any], targets: list[int] | None, op: Op):
        self.function = function
        self.targets = list(range(len(op.tensors))) if targets is None else targets
        self.names = list(inspect.signature(function).parameters)
        self.plan = [self._source(name, op) for name in self.names]
        # What recording does for this rule: slots to fill from the call, and from its results.
        self.fetch: list[tuple[int, str, Any]] = [
            (k, kind, i) for k, (kind, i) in enumerate(self.plan) if kind not in ("grad", "output")
        ]
        self.outputs = [(k, i) for k, (kind, i) in enumerate(self.plan) if kind == "output"]
        self.keeps = any(kind in _KEPT for kind, _ in self.plan)
        self.empty: list[Any] = [None] * len(self.plan)
        self.saves = bool(self.fetch or self.outputs)
        self.only = self.targets[0] if len(self.targets) == 1 else None

    def _source(self, name: str, op: Op) -> tuple[str, Any]:
        """(kind, index) of one parameter: where its value comes from at backward time."""
        if name == "needs":
            return "needs", None
        if name[:2] == "gg" and (name[2:].isdecimal() or len(name) == 2):
            return "grad", int(name[2:] or 0)
        if name in op.index:
            i = op.index[name]
            if i in op.lists:
                return "list", i
            return ("input", i) if i in op.tensors else ("param", i)
        if name.endswith("_spec") and name[:-5] in op.index:
            i = op.index[name[:-5]]
            return ("list_spec" if i in op.lists else "spec"), i
        if name[0] in "gy" and (name[1:].isdecimal() or len(name) == 1):
            return ("grad" if name[0] == "g" else "output"), int(name[1:] or 0)
        raise TypeError(
            f"gradient of {op.name}: unknown name {name!r} among {op.names}, g, y, needs"
        )

    def chosen(self, edges: Sequence[Edge | None]) -> list[Rule]:
        """What runs for a call whose inputs have these edges."""
        return [self] if any(edges[t] is not None for t in self.targets) else []


class Together(Rule):
    """A rule of several gradients at once: ``part(k)`` is the function of the k-th alone.

    It runs where all of them are needed, else the parts that are: each saves what it needs alone.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        targets: list[int],
        op: Op,
        part: Callable[[int], Callable[..., Any]],
    ):
        super().__init__(function, targets, op)
        self.op, self.part = op, part
        self.parts: dict[int, Rule] = {}

    def alone(self, k: int) -> Rule:
        found = self.parts.get(k)
        if found is None:
            found = self.parts[k] = Rule(self.part(k), [self.targets[k]], self.op)
        return found

    def chosen(self, edges: Sequence[Edge | None]) -> list[Rule]:
        wanted = [k for k, t in enumerate(self.targets) if edges[t] is not None]
        return [self] if len(wanted) == len(self.targets) else [self.alone(k) for k in wanted]


class OpNode(Node):
    """Saved values live in ``saved``, one list per rule, in the order of the rule's names."""

    __slots__ = ("op", "rules", "saved")
    label: str | None = None  # of the classes of nodes that a composite names

    def __init__(self, op: Op, edges: Sequence[Edge | None], meta: list[Meta]):
        super().__init__(edges, meta)
        self.op = op
        self.rules: list[Rule] = op.rules
        self.saved: list[list[Any]] | None = None

    def name(self) -> str:
        """What PyTorch calls it (``naming``)."""
        return self.label or node_name(self.op.name, self.edges, self.meta, self.saved)

    def save_inputs(
        self, args: Sequence[Any], inputs: Sequence[Any], overwritten: Any = None
    ) -> None:
        """Keep what the rules that will run have named.

        ``overwritten`` is the tensor that an in-place op is about to write: its old value is
        copied where a rule needs it.
        """
        edges, rules = self.edges, self.rules
        if len(rules) > 1 or rules[0].__class__ is Together:
            rules = []
            for rule in self.rules:
                i = rule.only
                if i is None:
                    rules += rule.chosen(edges)
                elif edges[i] is not None:
                    rules.append(rule)
            self.rules = rules
        self.saved = saved = []
        old = None
        for rule in rules:
            if not rule.saves:
                saved.append(rule.empty)
                continue
            values = rule.empty.copy()
            for k, kind, i in rule.fetch:
                x: Any = args[i] if i is not None else None
                if kind == "input":
                    if x is overwritten and x is not None:
                        x = old = x.detach().clone() if old is None else old
                    # Python numbers stand where a pointwise op takes tensors.
                    values[k] = save_input(x) if isinstance(x, Variable) else x
                elif kind == "param":
                    values[k] = x
                elif kind == "spec":
                    if isinstance(x, Variable):  # made an InputSpec when a rule asks for it
                        values[k] = (x.array.shape, x.array.dtype, x.device)
                elif kind == "list":
                    values[k] = [save_input(t) for t in x]
                elif kind == "list_spec":
                    values[k] = [_spec(t) for t in x]
                else:  # needs
                    values[k] = tuple([e is not None for e in edges])
            saved.append(values)

    def save_outputs(self, results: Sequence[Any]) -> None:
        for n, rule in enumerate(self.rules):
            for k, i in rule.outputs:
                self.saved[n][k] = save_output(results[i], i)  # pyright: ignore[reportOptionalSubscript]

    def apply(self, gs: list[Any]) -> Sequence[Any]:
        saved, op = self.saved, self.op
        if saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                f"tensors after they have already been freed), at {self.name()}. Specify "
                "retain_graph=True if you need to backward through the graph a second time."
            )
        dxs: list[Any] = [None] * len(self.edges)
        for rule, values in zip(self.rules, saved, strict=True):
            call = []
            for name, (kind, i), value in zip(rule.names, rule.plan, values, strict=True):
                if kind == "grad":
                    call.append(gs[i])
                elif kind == "list":
                    call.append([v.get(self, name) for v in value])
                elif kind in ("input", "output"):
                    call.append(value.get(self, name) if isinstance(value, SAVED) else value)
                elif kind == "spec" and value is not None:
                    shape, dtype, where = value
                    call.append(InputSpec(shape, FROM_NUMPY[dtype], where))
                else:
                    call.append(value)
            result = rule.function(*call)
            if op.lists:
                dxs = _flatten(op, rule, result)
            elif len(rule.targets) == 1:
                dxs[rule.targets[0]] = result
            else:
                for t, dx in zip(rule.targets, result, strict=True):
                    dxs[t] = dx
        return dxs

    def release(self) -> None:
        for rule in self.rules:
            if rule.keeps:
                self.saved = None
                return


def node_class(op: Op) -> type[OpNode]:
    """The class of ``op``'s nodes, of its own so that ``type(y.grad_fn).__name__`` says the op."""
    made = op.node_class
    if made is None:
        made = op.node_class = type(class_name(op.name), (OpNode,), {"__slots__": ()})
    return made


@functools.cache
def _labelled(name: str) -> type[OpNode]:
    return type(name, (OpNode,), {"__slots__": (), "label": name})


def named(y: Variable, name: str) -> Any:
    """``y``, whose node is now ``name``'s: for what composites compute in several ops."""
    node = y.node
    if isinstance(node, OpNode):
        node.__class__ = _labelled(name)
    return y


def _spec(x: Any) -> Any:
    return InputSpec(x.shape, x.dtype, x.device) if hasattr(x, "array") else x


def _flatten(op: Op, rule: Rule, result: Any) -> list[Any]:
    """One gradient per tensor of an op that takes lists: list results are spliced in."""
    if len(rule.targets) != len(op.tensors):
        raise TypeError(f"gradient of {op.name}: one rule must cover all inputs of a list op")
    parts = [result] if len(rule.targets) == 1 else result
    flat: list[Any] = []
    for i, part in zip(op.tensors, parts, strict=True):
        flat.extend(part) if i in op.lists else flat.append(part)
    return flat
