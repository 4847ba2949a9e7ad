"""Update rules: what an optimiser does to one element, written once and read three ways.

A rule is a Python function of a parameter's element ``p``, its gradient ``g``, state, numbers and
flags, which returns the new ``p`` and state. Traced once for each set of flags and absent state,
it becomes a :class:`Variant`: NumPy runs that in place on pieces of the tensors, Triton compiles it
into one launch over all tensors of a model, and with ``differentiable`` the function itself runs
on Tensors. Steps that involve numbers alone (``1 - beta2**step``) are left to the host, which
computes them in double precision once a step.
"""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable, Sequence
from typing import Any

from tgrad.autograd import no_grad
from tgrad.autograd.graph import rebase_history
from tgrad.dispatch import OPS, Op, copy_array, register
from tgrad.execute import check_devices, execute
from tgrad.expression import Program, Step, Symbol, TensorMaths, TraceMaths, bind
from tgrad.runtime.array import is_contiguous

HOST = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
        "neg": operator.neg, "pow": operator.pow}  # fmt: skip


class Variant:
    """A rule traced for the roles that are present and the settings that choose its steps.

    ``program`` is what the devices run: its arguments are the ``roles`` that are present and
    ``numbers`` numbers from the host, its results replace the roles in ``written``, in order.
    """

    def __init__(self, entry: Update, present: tuple[bool, ...], settings: tuple):
        self.name = entry.name
        self.roles = sum(present)
        traced = Program.__new__(Program)
        traced.n, traced.steps = self.roles + settings.count(NUMBER), []
        values = iter([Symbol(traced, k) for k in range(traced.n)])
        call: list[Any] = [None] * entry.arity
        for i, there in zip(entry.tensors, present, strict=True):
            call[i] = next(values) if there else None
        for i, s in zip(entry.settings, settings, strict=True):
            call[i] = next(values) if s is NUMBER else s
        made = bind(entry.card, TraceMaths(traced))(*call)
        made = made if isinstance(made, tuple) else (made,)
        place = iter(range(self.roles))
        places = [next(place) if there else None for there in present]
        del places[1]  # the gradient is only read
        pairs = [(k, y) for k, y in zip(places, made, strict=True) if k is not None]
        self.written = [k for k, _ in pairs]
        traced.results = [y.index for _, y in pairs]
        self.split(traced)

    def split(self, traced: Program) -> None:
        """Part the steps of numbers alone, done by the host, from the device's."""
        alone = set(range(self.roles, traced.n))
        self.host: list[tuple[int, Step]] = []
        device: list[tuple[int, Step]] = []
        for v, step in enumerate(traced.steps, traced.n):
            used = [a.index for a in step.args if isinstance(a, Symbol)]
            if step.name in HOST and alone.issuperset(used):
                self.host.append((v, step))
                alone.add(v)
            else:
                device.append((v, step))
        needed = {a.index for _, s in device for a in s.args if isinstance(a, Symbol)}
        self.needed = sorted(needed & alone)
        self.program = program = Program.__new__(Program)
        self.numbers = len(self.needed)
        program.n, program.steps = self.roles + self.numbers, []
        new = {v: Symbol(program, k) for k, v in enumerate([*range(self.roles), *self.needed])}
        for v, step in device:
            args = [new[a.index] if isinstance(a, Symbol) else a for a in step.args]
            new[v] = program.step(step.name, *args)
        program.results = [new[v].index for v in traced.results]

    def on_host(self, given: Sequence[float]) -> list[float]:
        """The numbers that the device needs, from those of the call."""
        values: dict[int, Any] = dict(enumerate(given, self.roles))
        for v, step in self.host:
            args = [values[a.index] if isinstance(a, Symbol) else a for a in step.args]
            values[v] = HOST[step.name](*args)
        return [values[v] for v in self.needed]


NUMBER = "number"  # in the place of a setting: its value does not choose steps


class Update(Op):
    """An op that overwrites lists of tensors by a rule. Role 0 is the parameter, 1 the gradient."""

    def __init__(self, rule: Callable):
        super().__init__(rule, "update", ())
        self.lists = set(self.tensors)  # the card speaks of an element, a call of lists
        self.settings = [i for i in range(self.arity) if i not in self.tensors]
        annotations = [str(p.annotation) for p in self.signature.parameters.values()]
        self.flags = {i for i in self.settings if annotations[i] == "bool"}
        self.optional = {i for i in self.settings if "None" in annotations[i]}
        self.variants: dict[tuple, Variant] = {}
        self.launchers: dict[str, Callable] = {}

    def seen(self, i: int, value: Any) -> Any:
        """A setting as the rule sees it: an optional number that is 0 is None."""
        return None if i in self.optional and not value else value

    def variant(self, args: Sequence[Any]) -> tuple[Variant, list[float]]:
        """The traced rule for a call, and the numbers that its device steps need."""
        present = tuple([bool(args[i]) for i in self.tensors])
        seen = [self.seen(i, args[i]) for i in self.settings]
        kinds = tuple(
            [x if i in self.flags or x is None else NUMBER
             for i, x in zip(self.settings, seen, strict=True)]
        )  # fmt: skip
        found = self.variants.get((present, kinds))
        if found is None:
            found = self.variants[present, kinds] = Variant(self, present, kinds)
        numbers = [float(x) for x, kind in zip(seen, kinds, strict=True) if kind is NUMBER]
        return found, found.on_host(numbers)

    def kernel(self, kind: str) -> Callable[..., None] | None:
        """A kernel written for this op, or the rule itself."""
        found = self.launchers.get(kind) or super().kernel(kind)
        if found is None:
            module = importlib.import_module(f"tgrad.kernels.{kind}.update")
            found = self.launchers[kind] = functools.partial(module.launch, self)
        return found


def update(rule: Callable) -> Callable[..., None]:
    """Declare the op that applies ``rule`` to lists of tensors in place.

    Roles are annotated ``Tensor`` (``Tensor | None`` where their list may be empty), numbers
    ``float``, flags, which choose the rule's steps, ``bool``. A number annotated ``float | None``
    reaches the rule as None where it is 0. The op's arguments are the rule's, with a list of
    tensors for each role, and ``differentiable``. Tensors of one call share device and dtype;
    half precision is computed in float32, complex numbers as pairs of real ones.
    """
    entry = Update(rule)
    register(entry)

    @functools.wraps(rule)
    def call(*args: Any, differentiable: bool = False, **kwargs: Any) -> None:
        args = entry.bind(args, kwargs)
        where = check_devices(entry, entry.inputs(args))
        check(entry, [args[i] for i in entry.tensors])
        if differentiable:
            on_tensors(entry, args)
            return
        dense = list(args)
        with no_grad():
            for i in entry.tensors:
                dense[i] = [t if is_contiguous(t.array) else t.contiguous() for t in args[i]]
            execute(entry, where, [], dense)
            for k, i in enumerate(entry.tensors):
                if k == 1:
                    continue
                for t, d in zip(args[i], dense[i], strict=True):
                    if d is not t:
                        copy_array(t, d.array)
                    rebase_history(t, None)

    call.op = entry  # pyright: ignore[reportAttributeAccessIssue]
    entry.function = call
    return call


def check(entry: Update, lists: list[list[Any]]) -> None:
    """Raise RuntimeError unless each list is empty or like the parameters in shape and dtype."""
    params = lists[0]
    for tensors in lists:
        if not tensors:
            continue
        for p, t in zip(params, tensors, strict=True):
            a, b = p.array, t.array
            if b.shape != a.shape or b.dtype != a.dtype or a.dtype != params[0].array.dtype:
                raise RuntimeError(
                    f"{entry.name}: expected gradient and state like the parameter, {p.dtype} "
                    f"{list(p.shape)}, got {t.dtype} {list(t.shape)}"
                )


def on_tensors(entry: Update, args: Sequence[Any]) -> None:
    """The rule on Tensors, recorded: gradients flow through the step to what it was made of."""
    rule = bind(entry.card, TensorMaths())
    count = len(args[entry.tensors[0]])
    for k in range(count):
        call = [entry.seen(i, a) if i in entry.settings else None for i, a in enumerate(args)]
        roles: list[Any] = [args[i][k] if args[i] else None for i in entry.tensors]
        if roles[0].is_complex():
            raise RuntimeError(f"{entry.name}: differentiable=True does not take complex tensors")
        for i, t in zip(entry.tensors, roles, strict=True):
            # What is written below may be needed by backward as it was before.
            call[i] = None if t is None else OPS["clone"].function(t)
        made = rule(*call)
        made = made if isinstance(made, tuple) else (made,)
        for t, new in zip([roles[0], *roles[2:]], made, strict=True):
            if t is not None:
                t.copy_(new)
