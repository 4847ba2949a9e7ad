"""Compile-time choices of kernels: what there is to choose, and what a tuner chose.

A *config* is one set of choices, a *case* what they depend on. Each kernel declares the *space* of
its configs in its own file. Tables map the bucket of a case to a config: the user's, which
``tgrad tune`` writes (``runtime/tuned.py``), before the one that is shipped, before the kernel's
own rule. They are read once a process; where there are none, a launch pays one look-up in a set.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import triton

from tgrad.runtime import cuda, plan, tuned
from tgrad.runtime.current import here
from tgrad.runtime.settings import are_deterministic_algorithms_enabled


class Config(NamedTuple):
    """The choices of one launch of a matrix kernel. ``tma`` and what follows need sm_90."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int = 4
    num_stages: int = 3
    split_k: int = 1
    group_m: int = 8  # rows of tiles that are visited together
    tma: bool = False  # operands come by the copy engine
    persistent: bool = False  # one program for each multiprocessor
    warp_specialize: bool = False
    subtiles: int = 1  # parts in which a tile is stored


class Case(NamedTuple):
    """What a choice depends on. ``layout`` names the contiguous axes, "" where only pointers go."""

    kernel: str
    kind: str  # of arithmetic: for products the row of a table of tiles, else what is stored
    arch: int  # 90 for sm_90, 0 for the emulator
    sizes: tuple[int, ...]
    layout: str = ""


def bucket(case: Case) -> Case:
    """The case that stands for all of its neighbourhood: every size up to the next power of two.

    A batch that grows by one then asks for no new tuning and no new binary.
    """
    return case._replace(sizes=tuple(triton.next_power_of_2(max(n, 1)) for n in case.sizes))


def storage_kind(itemsize: int, wide: bool = False) -> str:
    """The ``kind`` of kernels that are bound by memory: bits of an element, and of the sums."""
    return f"{8 * itemsize}-bit" + (" in 64" if wide and itemsize < 8 else "")


# ---- spaces --------------------------------------------------------------------------------------


def array(*shape: int, dtype: str | None = None) -> dict[str, Any]:
    """An array of an :func:`example`, of the dtype that it is run in unless said."""
    return {"shape": list(shape)} if dtype is None else {"shape": list(shape), "dtype": dtype}


def example(call: str, *args: Any, backward: bool = False, **kwargs: Any) -> dict[str, Any]:
    """A call as ``tgrad tune --shapes`` takes it: a function's name, and arguments."""
    return {"call": call, "args": list(args), "kwargs": kwargs, "backward": backward}


def nothing(case: Case) -> Sequence[Any]:
    return ()


def as_they_come(c: Any, case: Case) -> float:
    return 0.0


def away(value: float, ideal: float) -> float:
    """Powers of two between two positive numbers: what orders are made of."""
    return abs(math.log2(value / ideal))


class Space(NamedTuple):
    """What a kernel's config may be: values by field, and which of their products are no use.

    ``refusal(config, case)`` says why a config cannot be good, from facts that are known without
    compiling, and is "" where it may be. ``known(case)`` are configs that are shipped, tried first;
    the others follow by ``order(config, case)``, the smallest first, so that what is likely comes
    before what is not. ``cost(config, case)`` estimates microseconds, where there is a model.

    ``tiny`` is a call that asks for such a config, of a size that the interpreter can run. Of a
    call that is raced, ``below(call)`` is what its integers may reach, where they are places in an
    array (only two of its rows would be found in cache), and ``scale(call)`` the size of its
    numbers. ``private`` are positions of outputs that each device lays out as it likes, which
    nobody compares; ``ready(device, args)`` fills such inputs by the kernel that makes them.
    """

    kernel: str
    values: Mapping[str, tuple]
    refusal: Callable[[Any, Case], str]
    config: Callable[..., Any] = Config  # a NamedTuple
    known: Callable[[Case], Sequence[Any]] = nothing
    order: Callable[[Any, Case], float] = as_they_come
    cost: Callable[[Any, Case], float] | None = None
    tiny: Mapping[str, Any] | None = None
    below: Callable[[Any], int] | None = None
    scale: Callable[[Any], float] | None = None
    private: tuple[int, ...] = ()
    ready: Callable[[str, Sequence[Any]], None] | None = None

    def all(self) -> Iterator[Any]:
        for choice in itertools.product(*self.values.values()):
            yield self.config(**dict(zip(self.values, choice, strict=True)))

    def candidates(self, case: Case) -> list[Any]:
        """The configs that are not refused, those shipped first."""
        known = list(self.known(case))
        more = [c for c in self.all() if c not in known and not self.refusal(c, case)]
        more.sort(key=lambda c: self.order(c, case))
        return known + more

    def accepts(self, c: Any, case: Case) -> bool:
        """Whether a config that was read from a file is one that the kernel can run."""
        inside = all(getattr(c, name) in values for name, values in self.values.items())
        return (inside and not self.refusal(c, case)) or c in self.known(case)


SPACES: dict[str, Space] = {}


def declare(space: Space) -> Space:
    """Make a kernel's space known to tuners."""
    SPACES[space.kernel] = space
    return space


# ---- tables --------------------------------------------------------------------------------------

_tables: dict[str, dict[Case, Any]] = {"user": {}, "shipped": {}}  # for every GPU
_read: dict[str, tuple[dict[Case, dict[str, Any]], ...]] = {}  # by GPU: from files, in this order
_caches: list[Callable[[], None]] = []  # choices kept elsewhere, to be forgotten
_quiet: set[tuple[Any, int]] = set()  # GPUs of runtimes for which there is no entry at all


class _Watch:
    """Who is told of the cases that kernels ask about."""

    call: Callable[[Case], None] | None = None


def override(entries: Mapping[Case, Any], table: str = "user") -> None:
    """Use these configs from now on; "user" comes before "shipped", both before heuristics.

    Raises: RuntimeError where deterministic algorithms are required: another tile adds in another
    order.
    """
    if are_deterministic_algorithms_enabled():
        raise RuntimeError(
            "kernels' configs are frozen while deterministic algorithms are required "
            "(tgrad.use_deterministic_algorithms): another config may round otherwise"
        )
    _tables[table].update({bucket(case): c for case, c in entries.items()})
    forget()


def clear(table: str = "user") -> None:
    """Empty a table of what :func:`override` put there."""
    _tables[table].clear()
    forget()


@contextlib.contextmanager
def choosing(case: Case, config: Any) -> Iterator[None]:
    """Inside, ``case`` gets this config, or what the kernel's rule says where it is None."""
    key, user = bucket(case), _tables["user"]
    before = user.get(key)
    user[key] = RULE if config is None else config
    forget()
    try:
        yield
    finally:
        del user[key]
        if before is not None:
            user[key] = before
        forget()


RULE = object()  # in a table: the kernel's own rule, whatever later tables say


@contextlib.contextmanager
def watching(call: Callable[[Case], None]) -> Iterator[None]:
    """Inside, ``call`` is told of every case that a kernel asks about."""
    before, _Watch.call = _Watch.call, call
    forget()
    try:
        yield
    finally:
        _Watch.call = before
        forget()


def reread() -> None:
    """Ask the files again: they have changed."""
    _read.clear()
    forget()


def forget() -> None:
    _quiet.clear()
    plan.forget()
    for clear_cache in _caches:
        clear_cache()


def remembers(clear_cache: Callable[[], None]) -> None:
    """Have ``clear_cache`` called when tables change."""
    _caches.append(clear_cache)


def is_quiet() -> bool:
    """Whether no table has an entry for the current GPU, so that there is nothing to ask."""
    return (cuda._active, here.place.index) in _quiet


def ask(kernel: str, kind: str, sizes: tuple[int, ...], layout: str = "") -> Any:
    """:func:`lookup` for the current GPU's architecture; cheap where no table has an entry."""
    if (cuda._active, here.place.index) in _quiet:
        return None
    return lookup(Case(kernel, kind, tuned.gpu()[1], sizes, layout))


def lookup(case: Case) -> Any:
    """The config that a table has for a case's bucket on the current GPU, or None."""
    if (cuda._active, here.place.index) in _quiet:
        return None
    if _Watch.call is not None:
        _Watch.call(case)
    name = tuned.gpu()[0]
    files = _read.get(name)
    if files is None:
        files = _read[name] = tuple(map(by_case, tuned.choices(name)))
    if not (_Watch.call or any(_tables.values()) or any(files)):
        _quiet.add((cuda._active, here.place.index))
        return None
    key = bucket(case)
    for table, file in zip(_tables.values(), files, strict=True):
        found = table.get(key)
        if found is None and key in file:
            found = checked(file, key)
        if found is not None:
            return None if found is RULE else found
    return None


def by_case(rows: Sequence[tuned.Choice]) -> dict[Case, dict[str, Any]]:
    return {Case(*row.case): row.config for row in rows if row.config is not None}


def checked(file: dict[Case, dict[str, Any]], key: Case) -> Any:
    """The entry as a config. One that the kernel no longer has is dropped, with a warning."""
    fields = file[key]
    space = SPACES[key.kernel]
    try:
        config = space.config(**fields)
        usable = space.accepts(config, key)
    except TypeError:  # other fields than today's
        usable, config = False, None
    if usable:
        return config
    del file[key]
    warnings.warn(
        f"tuned config {fields} of {key.kernel} is none that this version has and is not used; "
        f"tgrad tune {key.kernel} finds another",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
