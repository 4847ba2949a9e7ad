"""Compile-time choices of the matrix kernels: what there is to choose, and what a tuner chose.

A *config* is one set of choices, a *case* what they depend on. Tables map the bucket of a case to a
config; the user's table comes before the one that is shipped, and a missing entry costs one look-up
for a shape seen the first time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import triton

from tgrad.runtime import plan


class Config(NamedTuple):
    """The compile-time choices of one launch. ``tma`` and what follows need sm_90."""

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
    kind: str  # of multiplication, the row of a table of tiles
    arch: int  # 90 for sm_90, 0 for the emulator
    sizes: tuple[int, ...]
    layout: str = ""


def bucket(case: Case) -> Case:
    """The case that stands for all of its neighbourhood: every size up to the next power of two.

    A batch that grows by one then asks for no new tuning and no new binary.
    """
    return case._replace(sizes=tuple(triton.next_power_of_2(max(n, 1)) for n in case.sizes))


_tables: dict[str, dict[Case, Config]] = {"user": {}, "shipped": {}}
_caches: list[Callable[[], None]] = []  # choices kept elsewhere, to be forgotten


def override(entries: Mapping[Case, Config], table: str = "user") -> None:
    """Use these configs from now on; "user" comes before "shipped", both before heuristics."""
    _tables[table].update({bucket(case): c for case, c in entries.items()})
    forget()


def clear(table: str = "user") -> None:
    """Empty a table."""
    _tables[table].clear()
    forget()


def forget() -> None:
    plan.forget()
    for clear_cache in _caches:
        clear_cache()


def remembers(clear_cache: Callable[[], None]) -> None:
    """Have ``clear_cache`` called when tables change."""
    _caches.append(clear_cache)


def lookup(case: Case) -> Config | None:
    """The tabled config of a case's bucket."""
    user, shipped = _tables["user"], _tables["shipped"]
    if not user and not shipped:
        return None
    key = bucket(case)
    return user.get(key) or shipped.get(key)


class Space(NamedTuple):
    """What a kernel's config may be: values by field, and the candidates among their products.

    ``candidates(space, kind, arch)`` leaves out what cannot fit or cannot be fast, from facts that
    are known without compiling.
    """

    kernel: str
    values: Mapping[str, tuple]
    candidates: Callable[[Space, str, int], Iterator[Config]]

    def all(self) -> Iterator[Config]:
        for choice in itertools.product(*self.values.values()):
            yield Config(**dict(zip(self.values, choice, strict=True)))


SPACES: dict[str, Space] = {}


def declare(space: Space) -> Space:
    """Make a kernel's space known to tuners."""
    SPACES[space.kernel] = space
    return space
