"""Pointwise calls on a GPU by plans: numbers among the operands are slots, as pointers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.autograd.variable import Variable
from tgrad.execute import record
from tgrad.registry import wrap
from tgrad.runtime import cuda, plan
from tgrad.runtime import recording as recorded
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import here
from tgrad.runtime.plan import BY_VALUE, Plan, layout_of, parameter
from tgrad.runtime.recording import PatchedScalar, Recording

if TYPE_CHECKING:
    from tgrad.pointwise import Pointwise


IN_PLACE = "in place"  # ends the key of a call that writes over its first array


class Call:
    """What a key is made of, and what a replay needs."""

    __slots__ = ("arrays", "key", "numbers", "tracked", "where")


def call_of(args: tuple) -> Call | None:
    """The call of a pointwise op with these arguments; None where it must not be planned now."""
    place = here.place
    if place.heap is None or place.sink is not None:
        if place.sink is not None:
            place.sink.refuse("an op inside an op")
        return None
    key: list[Any] = []
    arrays, numbers, where, tracked = [], [], None, False
    low, floating = 0, True
    for a in args:
        if isinstance(a, Variable):
            x: Any = a.array
            if x.__class__ is not CudaArray:
                return None
            layout = x.layout or layout_of(x)
            key.append(layout)
            arrays.append(x)
            low |= x.ptr
            floating = floating and layout.floating
            where = a.device
            tracked = tracked or a.tracked
        elif a.__class__ is float or a.__class__ is int:
            key.append(a.__class__)
            numbers.append(a)
        elif not parameter(a, key):
            return None
    if low & 15:
        key.append(tuple([x.ptr & 15 == 0 for x in arrays]))
    if not floating:
        key.append(dtypes.get_default_dtype())
    made = Call()
    made.key, made.arrays, made.numbers = tuple(key), arrays, numbers
    made.where, made.tracked = where, tracked
    return made


def find(entry: Pointwise, call: Call) -> Any:
    """The plan of a call, or the recording that is to make it."""
    table = entry.plans
    if table.get(call.key) is BY_VALUE:
        values: list[Any] = [*call.key]
        if not all(parameter(n, values) for n in call.numbers):
            return None
        return recorded.find(table, tuple(values))
    found = recorded.find(table, call.key)
    if found.__class__ is Recording:
        found.numbers = len(call.numbers)
    return found


def operands(p: Any, recording: Recording, args: tuple) -> list[Any]:
    """The operands of a call that is recorded; numbers computed in floating point are tagged."""
    made, count = [], 0
    for a, operand in zip(args, p.operands, strict=True):
        if a.__class__ is float or a.__class__ is int:
            if recording.numbers and operand.dtype.category == dtypes.FLOAT:
                operand = PatchedScalar(*operand)
                operand.place = count
            count += 1
        made.append(recording.tagged(operand))
    return made


def run(entry: Pointwise, args: tuple, make: Any, fill: Any) -> Any:
    """What a call returns by its plan, replayed or recorded now; None where it has none.

    ``make(entry, args)`` plans the call in full, ``fill(entry, p, ys)`` runs its kernel.
    """
    call = call_of(args)
    found = find(entry, call) if call is not None else None
    if found is None or call is None:
        return None
    if found.__class__ is Plan:
        made = plan.replay(found, call.arrays, call.numbers)
        if made is None:
            return None
        ys = (made,) if made.__class__ is CudaArray else made
    else:
        p = make(entry, args)
        if p.where is not call.where or p.where.index != here.place.index:
            return None
        ys = [cuda.empty(p.shape, r.numpy) for r in p.results]
        with found:
            p.operands = operands(p, found, args)
            fill(entry, p, [found.tagged(y) for y in ys])
        found.finish(len(call.arrays), ys, {})
    results = [wrap(y, call.where) for y in ys]
    if call.tracked and mode.enabled and entry.rules:
        inputs = [args[i] if isinstance(args[i], Variable) else None for i in entry.tensors]
        record(entry, args, inputs, results)
    elif mode.inference:
        for t in results:
            t.inference = True
    return tuple(results) if len(results) > 1 else results[0]


# ---- in place ------------------------------------------------------------------------------------


class InPlace:
    """A call that writes over its first array, with the plan or recording that it has."""

    __slots__ = ("args", "call", "entry", "found")

    def __init__(self, entry: Pointwise, args: tuple, call: Call, found: Any):
        self.entry, self.args, self.call, self.found = entry, args, call, found

    @property
    def is_recorded(self) -> bool:
        return self.found.__class__ is Plan

    def run(self, p: Any, fill: Any) -> bool:
        """Replay or record it; False where that did not work and nothing was written.

        ``p`` is the call planned in full, which only recording needs.
        """
        if self.is_recorded:
            return plan.replay(self.found, self.call.arrays, self.call.numbers) is not None
        recording: Any = self.found
        with recording:
            p.operands = operands(p, recording, self.args)
            fill(self.entry, p, [p.operands[0]])
        recording.finish(len(self.call.arrays), [], {})
        return True


def inplace(entry: Pointwise, args: tuple) -> InPlace | None:
    """What a plan knows of ``name_`` on these arguments; None where it is to be done in full."""
    if here.place.heap is None or (call := call_of(args)) is None:
        return None
    first, *others = call.arrays
    if any(b.owner is first.owner for b in others) or first.device != here.place.index:
        return None
    call.key = (*call.key, IN_PLACE)
    found = find(entry, call)
    return None if found is None else InPlace(entry, args, call, found)


# ---- short ways ----------------------------------------------------------------------------------


def one(entry: Pointwise, args: tuple, x: Variable, a: Any) -> Any:
    """Op of one aligned floating tensor, if it has a plan; else None. Half the general time."""
    if a.ptr & 15:
        return None
    found: Any = entry.plans.get((a.layout,))
    if found.__class__ is not Plan:
        return None
    y = plan.replay(found, (a,), ())
    return None if y is None else finish(entry, args, args, y, x, x.tracked)


def two(entry: Pointwise, args: tuple, x: Variable, a: Any, z: Any) -> Any:
    """The same for two tensors, or one and a Python number."""
    cls = z.__class__
    if cls is float or cls is int:
        if a.ptr & 15:
            return None
        found: Any = entry.plans.get((a.layout, cls))
        if found.__class__ is not Plan:
            return None
        y = plan.replay(found, (a,), (z,))
        return None if y is None else finish(entry, args, (x, None), y, x, x.tracked)
    if not isinstance(z, Variable):
        return None
    b: Any = z.array
    if b.__class__ is not CudaArray or (a.ptr | b.ptr) & 15:
        return None
    found: Any = entry.plans.get((a.layout, b.layout))
    if found.__class__ is not Plan:
        return None
    y = plan.replay(found, (a, b), ())
    return None if y is None else finish(entry, args, args, y, x, x.tracked or z.tracked)


def over(entry: Pointwise, x: Variable, z: Any) -> bool:
    """Do ``x.name_(z)`` by its plan, outside any graph; False where it is to be done in full."""
    a: Any = x.array
    if a.__class__ is not CudaArray or a.ptr & 15 or x.tracked or x.inference:
        return False
    cls = z.__class__
    if cls is float or cls is int:
        arrays, numbers, key = (a,), (z,), (a.layout, cls, IN_PLACE)
    elif isinstance(z, Variable):
        b: Any = z.array
        if b.__class__ is not CudaArray or b.ptr & 15 or b.owner is a.owner or z.tracked:
            return False
        arrays, numbers, key = (a, b), (), (a.layout, b.layout, IN_PLACE)
    else:
        return False
    found: Any = entry.plans.get(key)
    if found.__class__ is not Plan or plan.replay(found, arrays, numbers) is None:
        return False
    x.version_counter()[0] += 1
    return True


def finish(entry: Pointwise, args: tuple, inputs: Any, y: Any, x: Variable, tracked: bool) -> Any:
    t = wrap(y, x.device)
    if tracked and mode.enabled and entry.rules and y.layout.floating:
        record(entry, args, inputs, (t,))
    elif mode.inference:
        t.inference = True
    return t
