"""Op calls recorded for replay.

A call that is seen a second time is *recorded*: its kernel runs as ever, on arrays that know which
argument they are, and every launch leaves its packed parameters with the slots that held pointers.
:func:`tgrad.runtime.plan.replay` repeats them on other memory.

What a launch depends on beside the call's key makes a replay wrong, so it is excluded:

* a pointer that is not into an argument, an output or scratch memory of the call (tables that a
  kernel keeps, uploads): :meth:`Recording.launched` refuses the call for good;
* device memory read by the host, copies and waits (:class:`Watched`), and ops called by a card or
  kernel, which would replay themselves unseen (``key_of`` refuses while recording);
* settings: ``forget`` is called when matmul precision, determinism, a kernel or a tuning choice
  changes. The default dtype is part of the key where an input is not floating;
* another GPU than the recorded one, by the key. The stream is asked for at each replay;
* a float that an op takes beside its arrays is part of the key (counters and rates that change at
  every call make the table give up), except where a kernel passes it on as it is: those of
  pointwise ops are slots, as pointers are.

Scratch memory is allocated where it was in the order of launches, and freed after its last launch.
A kernel may not ask whether two inputs share memory: while it is recorded they never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.runtime import plan
from tgrad.runtime.array import CudaArray
from tgrad.runtime.current import here
from tgrad.runtime.plan import BY_VALUE, PATIENCE, REFUSED, SEEN, Fire, Plan, Table


def find(table: Table, key: tuple) -> Plan | Recording | None:
    """The plan under ``key``, or a :class:`Recording` where the call is to make one."""
    found = table.get(key)
    if found.__class__ is Plan:
        return found
    if table.disabled or not plan.State.enabled:
        return None
    if found is None:
        table.unused += 1
        table.disabled = table.unused > PATIENCE
        table.add(key, SEEN)
        return None
    return Recording(table, key) if found is SEEN else None


class Tag:
    """Owner of an array of a recorded call: which one it is, where it begins, and its owner."""

    __slots__ = ("index", "owner", "ptr")

    def __init__(self, index: int, a: CudaArray):
        self.index, self.ptr, self.owner = index, a.ptr, a.owner


class Number32(float):
    """A number of the call on its way to a kernel, which passes it on as it is."""

    place = 0  # among the numbers of the call


class Number64(np.float64):
    place = 0


class PatchedScalar(dtypes.Scalar):
    """A number of a pointwise op's call that is computed in floating point."""

    place = 0

    def argument(self) -> Any:
        value: Any = self.value
        number = (Number64 if self.dtype is dtypes.float64 else Number32)(value)
        number.place = self.place
        return number


class Watched:
    """The runtime as a recorded call sees it: what is more than asking for facts is refused."""

    FACTS = frozenset(("arch", "device_count", "is_emulated", "multiprocessors", "name"))

    def __init__(self, runtime: Any, recording: Recording):
        self.runtime, self.recording = runtime, recording

    def __getattr__(self, name: str) -> Any:
        if name not in self.FACTS:
            self.recording.refuse(name)
        return getattr(self.runtime, name)


class Recording:
    """``with`` this, launches and allocations of the thread are written down.

    Arrays are numbered: inputs first, then outputs, then scratch.
    """

    def __init__(self, table: Table, key: tuple):
        self.table, self.key, self.epoch = table, key, plan.State.epoch
        self.tags: list[Tag] = []
        self.events: list[Any] = []  # Fire, or ("allocate", index, bytes)
        self.reason: str | None = None
        self.numbers = 0  # how many the key holds the class of alone

    def __enter__(self) -> Recording:
        self.place = here.place
        self.place.sink = self
        return self

    def __exit__(self, kind: Any, *exc: object) -> None:
        self.place.sink = None
        if kind is not None:
            self.refuse(str(kind))

    def refuse(self, reason: str) -> None:
        self.reason = self.reason or reason

    def watched(self, runtime: Any) -> Any:
        return Watched(runtime, self)

    def tagged(self, a: Any) -> Any:
        """``a`` as the recorded call is to see it."""
        if a.__class__ is not CudaArray:
            return a
        tag = Tag(len(self.tags), a)
        self.tags.append(tag)
        return CudaArray(tag, a.ptr, a.shape, a.strides, a.dtype, a.device)

    def allocated(self, a: CudaArray) -> CudaArray:
        """Called for memory that the kernel takes."""
        if a.ptr % 16:
            self.refuse("misaligned memory")
        self.events.append(("allocate", len(self.tags), a.nbytes))
        return self.tagged(a)

    def launched(self, function: Any, grid: tuple[int, ...], args: Sequence[Any]) -> None:
        """Called after each launch."""
        fire = Fire(function, grid, args)
        for slot, i in enumerate(function.kept):
            a = args[i]
            if a.__class__ is CudaArray:
                tag = a.owner
                if tag.__class__ is not Tag or not self.owns(tag):
                    self.refuse("a pointer to memory that is not the call's")
                    return
                fire.pointers.append((slot, tag.index, a.ptr - tag.ptr))
            elif a.__class__ is Number32 or a.__class__ is Number64:
                fire.numbers.append((slot, a.place, "<f" if a.__class__ is Number32 else "<d"))
        self.events.append(fire)

    def owns(self, tag: Tag) -> bool:
        return tag.index < len(self.tags) and self.tags[tag.index] is tag

    def finish(self, inputs: int, ys: Sequence[CudaArray], params: dict[str, Any]) -> None:
        """Keep the plan of a call of ``inputs`` arrays that returned ``ys``."""
        if self.epoch != plan.State.epoch:
            return  # a setting changed while the call ran
        if not any(event.__class__ is Fire for event in self.events):
            self.refuse("nothing was launched")
        if self.reason is not None:
            self.table.add(self.key, REFUSED)
            return
        made = Plan(ys, params, with_frees(self.events, inputs + len(ys)), self.place.index)
        if not ys and len(made.steps) > 1:
            # In place: a replay that fails halfway could not be made good by doing it all again.
            self.table.add(self.key, REFUSED)
            return
        self.table.add(self.key, made if made.numbers() >= {*range(self.numbers)} else BY_VALUE)


def with_frees(events: list[Any], kept: int) -> list[Any]:
    """The events with each scratch array freed after its last launch, and those unused left out."""
    last: dict[int, int] = {}
    for n, event in enumerate(events):
        if event.__class__ is Fire:
            last.update((index, n) for _, index, _ in event.pointers if index >= kept)
    steps: list[Any] = []
    for n, event in enumerate(events):
        if event.__class__ is Fire or event[1] in last:
            steps.append(event)
        steps += [("free", index) for index, end in last.items() if end == n]
    return steps
