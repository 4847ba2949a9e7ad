"""Plans of op calls: memory, pointers, launch, and none of the Python between.

The launches of an op call depend on its arrays' shapes, strides, dtypes and alignment and on its
other arguments, which make up its key. ``recording.py`` writes down what a call launched, here as a
:class:`Plan`; the next call of that key allocates, writes pointers and fires (:func:`replay`).
"""

from __future__ import annotations

import math
import struct
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from tgrad import dtypes
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import here

LIMIT = 256  # plans of one op
PATIENCE = 512  # new keys of one op in a row after which it is not planned any more
LAYOUTS = 1 << 14  # of arrays, in all

new = CudaArray.__new__


# ---- keys ----------------------------------------------------------------------------------------


class Layout:
    """All of an array but its memory: one object for each shape, strides, dtype and GPU."""

    __slots__ = ("device", "dtype", "floating", "nbytes", "shape", "size", "strides")

    def __init__(self, a: CudaArray):
        self.shape, self.strides, self.dtype, self.device = a.shape, a.strides, a.dtype, a.device
        self.size, self.nbytes = a.size, a.nbytes  # of a contiguous array
        self.floating = dtypes.FROM_NUMPY[a.dtype].is_floating_point


_layouts: dict[tuple, Layout] = {}


def layout_of(a: CudaArray) -> Layout:
    """The layout of ``a``, which keeps it."""
    key = a.shape, a.strides, a.dtype, a.device
    found = _layouts.get(key)
    if found is None:
        if len(_layouts) >= LAYOUTS:
            forget()  # plans hold layouts, which could not be found again
            _layouts.clear()
        found = _layouts.setdefault(key, Layout(a))
    a.layout = found
    return found


class Table(dict):
    """The plans of one op by key. SEEN: called once; REFUSED: not to be recorded; BY_VALUE: the
    key with the values of numbers is to be asked for."""

    __slots__ = ("__weakref__", "disabled", "unused")

    def __init__(self) -> None:
        self.unused = 0  # new keys since a plan was last found to be of use
        self.disabled = False
        _tables.append(weakref.ref(self))

    def add(self, key: tuple, value: Any) -> None:
        """Keep ``value``; the oldest plan that was not used lately makes room."""
        with _lock:
            while len(self) >= LIMIT:
                oldest = next(iter(self))
                plan = self.pop(oldest)
                if plan.__class__ is Plan and plan.used:
                    plan.used = False
                    self[oldest] = plan
                    self.unused = 0
            self[key] = value


SEEN, REFUSED, BY_VALUE = "seen", "refused", "by value"
_tables: list[weakref.ref[Table]] = []
_lock = threading.Lock()


class State:
    epoch = 0  # grows with every forget()
    enabled = True


def enable(on: bool) -> bool:
    """Whether calls are recorded from now on; off, every call is made in full. Returns what was."""
    before, State.enabled = State.enabled, on
    forget()
    return before


def forget() -> None:
    """Record everything anew: something that kernels ask for has changed."""
    with _lock:
        State.epoch += 1
        for reference in _tables:
            table = reference()
            if table is not None:
                table.clear()
                table.disabled, table.unused = False, 0


PLAIN = frozenset((int, bool, type(None), str, dtypes.dtype))


def parameter(v: Any, key: list) -> bool:
    """Append what tells ``v`` from other arguments, its type included; False where nothing does."""
    cls = v.__class__
    if cls in PLAIN:
        key.append(v)
    elif cls is float:
        if v != v:
            return False
        key.append(v or str(v))  # -0.0 == 0.0
    elif cls is tuple:
        kinds = tuple(map(type, v))
        key.append(kinds)
        if not PLAIN.issuperset(kinds):
            return all(parameter(x, key) for x in v)
        key.append(v)
    else:
        return False
    key.append(cls)
    return True


def key_of(arrays: Sequence[Any]) -> tuple | None:
    """The key of an op's call with these arguments; None where it must not be planned now."""
    place = here.place
    if place.heap is None or place.sink is not None:
        if place.sink is not None:
            place.sink.refuse("an op inside an op")
        return None
    key: list[Any] = []
    low = others = 0
    for a in arrays:
        if a.__class__ is CudaArray:
            layout = a.layout or layout_of(a)
            key.append(layout)
            low |= a.ptr
            others |= not layout.floating
        elif not parameter(a, key):
            return None
    if low & 15:
        key.append(tuple([a.ptr & 15 == 0 for a in arrays if a.__class__ is CudaArray]))
    if others:
        key.append(dtypes.get_default_dtype())
    return tuple(key)


# ---- plans ---------------------------------------------------------------------------------------


class Fire:
    """One launch: what the driver is given, and where in its parameters what is written."""

    __slots__ = ("block", "fixed", "free", "function", "launch", "numbers", "pointers", "scratch",
                 "slot")  # fmt: skip

    def __init__(self, function: Any, grid: tuple[int, ...], args: Sequence[Any]):
        from tgrad.runtime import driver

        self.launch = driver.cu.cuLaunchKernel
        self.function, self.block = function, function.block()
        function.write(self.block, args)
        self.fixed = (function.handle, *grid, *function.threads, function.shared)
        self.scratch = function.scratch * grid[0] * grid[1] * grid[2]
        self.slot = len(function.kept)  # of the pointer to scratch
        self.free = [self.block]
        self.pointers: list[tuple[int, int, int]] = []  # slot, array, offset in bytes
        self.numbers: list[tuple[int, int, str]] = []  # slot, number, format


class Plan:
    """What a replay does. ``steps``: a Fire, ("allocate", array, bytes) or ("free", array)."""

    __slots__ = ("device", "layout", "layouts", "only", "params", "steps", "used")

    def __init__(
        self, ys: Sequence[CudaArray], params: dict[str, Any], steps: list[Any], device: int
    ):
        self.used = True
        self.params, self.device = params, device
        self.layouts = [y.layout or layout_of(y) for y in ys]
        self.steps = steps
        # The usual case, for which replay() has a short way: one launch.
        self.layout = self.layouts[0] if len(ys) == 1 else None
        self.only = None
        if len(self.steps) == 1 and self.steps[0].__class__ is Fire:
            fire = self.steps[0]
            if not (fire.scratch or any(offset for *_, offset in fire.pointers)):
                self.only = fire

    def numbers(self) -> set[int]:
        """The numbers of the call that a replay can change."""
        return {n for fire in self.steps if fire.__class__ is Fire for _, n, _ in fire.numbers}


def replay(plan: Plan, arrays: Sequence[CudaArray], numbers: Sequence[float]) -> Any:
    """The outputs (one array, or a list) of a recorded call on other memory.

    None where that did not work here and now, and the call is to be made in full: another GPU is
    current, the thread has none yet, or the driver refused (it will again, and be reported, unless
    another library has changed the thread's context, which the full way sets right).
    """
    place = here.place
    heap = place.heap
    index = plan.device
    if heap is None or place.index != index or here.bound != index or place.sink is not None:
        return None
    plan.used = True
    fire = plan.only
    if fire is None:
        return replay_steps(plan, arrays, numbers, place, heap)
    layout = plan.layout
    if layout is not None:
        made = fresh(heap, layout)
        known = (*arrays, made)
    else:
        made = [fresh(heap, layout) for layout in plan.layouts]
        known = (*arrays, *made)
    try:
        block = fire.free.pop()
    except IndexError:  # another thread is between these lines
        block = fire.block.copy()
    slots = block.slots
    for slot, index, _ in fire.pointers:
        slots[slot] = known[index].ptr
    if numbers:
        for slot, index, form in fire.numbers:
            put_number(slots, slot, numbers[index], form)
    (error,) = fire.launch(*fire.fixed, place.stream, block.address, 0)
    fire.free.append(block)
    return None if error else made


def fresh(heap: Any, layout: Layout) -> CudaArray:
    """Uninitialised memory: what ``cuda.empty`` gives, in a quarter of its time."""
    owner = heap.allocate(layout.nbytes)
    y = new(CudaArray)
    y.owner, y.ptr, y.layout = owner, owner.ptr, layout
    y.shape, y.strides, y.dtype = layout.shape, layout.strides, layout.dtype
    y.device, y.size = layout.device, layout.size
    return y


def replay_steps(
    plan: Plan, arrays: Sequence[CudaArray], numbers: Sequence[float], place: Any, heap: Any
) -> Any:
    """The same for any number of launches, outputs and scratch arrays."""
    ys = [fresh(heap, layout) for layout in plan.layouts]
    pointers = [a.ptr for a in (*arrays, *ys)]
    owners: dict[int, Any] = {}
    for step in plan.steps:
        if step.__class__ is Fire:
            if fire_step(step, pointers, numbers, place, heap):
                return None
        elif step[0] == "free":
            del owners[step[1]]
        else:
            _, index, nbytes = step
            owners[index] = owner = heap.allocate(nbytes)
            pointers += [0] * (index + 1 - len(pointers))
            pointers[index] = owner.ptr
    return ys[0] if len(ys) == 1 else ys


def fire_step(
    fire: Fire, pointers: list[int], numbers: Sequence[float], place: Any, heap: Any
) -> int:
    """Launch; the driver's error."""
    try:
        block = fire.free.pop()
    except IndexError:
        block = fire.block.copy()
    slots = block.slots
    for slot, index, offset in fire.pointers:
        slots[slot] = pointers[index] + offset
    for slot, index, form in fire.numbers:
        put_number(slots, slot, numbers[index], form)
    scratch = None
    if fire.scratch:
        scratch = heap.allocate(fire.scratch)
        slots[fire.slot] = scratch.ptr
    (error,) = fire.launch(*fire.fixed, place.stream, block.address, 0)
    fire.free.append(block)
    return error


def single(value: float) -> float:
    """``value`` where 32 bits hold it, else infinity."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return math.copysign(math.inf, value)
    return value


def put_number(slots: Any, slot: int, value: float, form: str) -> None:
    """Write a number into its slot as the kernel was recorded to take it."""
    struct.pack_into(form, slots, 8 * slot, single(value) if form == "<f" else value)
