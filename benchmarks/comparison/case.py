"""What a case is: one computation, its inputs at several sizes, its twin in NumPy's language."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
HALF_AND_SINGLE = ("bfloat16", "float32")


class Case(NamedTuple):
    """One row of the comparison for each of its sizes, dtypes and directions.

    ``run(lib, *tensors)`` is written in PyTorch's names and serves tgrad and torch; ``array(xp,
    *arrays)`` the same in NumPy's, for NumPy, CuPy and JAX, None where they have no such thing.
    ``build(lib, *tensors)`` replaces ``run`` where something is made once (a module, an optimiser):
    it returns the call and the tensors whose gradients are taken. ``sizes`` maps a scale ("cpu",
    "cuda", "small") to named shapes. ``kinds`` has a letter per tensor: "." numbers, "i" int64
    below ``high``, "b" bool, "p" positive numbers, "q" positive definite matrices.
    """

    family: str
    name: str
    run: Callable[..., Any]
    array: Callable[..., Any] | None
    sizes: Mapping[str, Mapping[str, Shapes]]
    kinds: str = ""
    high: int = 10
    backward: bool = False  # whether its gradients are timed too
    dtypes: Mapping[str, Sequence[str]] = {"cpu": ("float32",), "cuda": HALF_AND_SINGLE}
    check: str = "values"  # or "moments": random numbers, by mean and deviation
    moved: Callable[..., float] | None = None  # elements, of the shapes; else all of every tensor
    build: Callable[..., tuple[Callable[[], Any], list[Any]]] | None = None
    layout: str = ""  # "channels_last": how inputs lie in memory
    loose: float = 1.0  # how much more than usual a result may be off, where rounding says so

    def kind(self, k: int) -> str:
        return self.kinds[k : k + 1] or "."


class Job(NamedTuple):
    """One measurement: a case at one size, in one dtype, forwards or backwards."""

    case: Case
    size: str
    shapes: Shapes
    dtype: str
    backward: bool

    @property
    def key(self) -> str:
        way = " backward" if self.backward else ""
        return f"{self.case.name}{way} | {self.size} | {self.dtype}"


def jobs(
    cases: Sequence[Case], scale: str, dtypes: Sequence[str], backward: bool, sizes: Sequence[str]
) -> list[Job]:
    """Every measurement of the cases at a scale; ``dtypes`` and ``sizes`` narrow them down."""
    found = []
    for case in cases:
        allowed = case.dtypes["cuda" if scale == "cuda" else "cpu"]
        for dtype in allowed:
            if dtypes and dtype not in dtypes:
                continue
            for size, shapes in case.sizes.get(scale, case.sizes["cpu"]).items():
                if sizes and not any(s in size for s in sizes):
                    continue
                ways = [False, True] if case.backward and backward else [False]
                found += [Job(case, size, shapes, dtype, way) for way in ways]
    return found


def ceilings(cases: Sequence[Case], work: Sequence[Job], scale: str) -> list[Job]:
    """The largest copy, and the largest product in each dtype, where they are not in ``work``."""
    dtypes = sorted({job.dtype for job in work})
    found = []
    for case in cases:
        if case.name not in ("copy", "matmul"):
            continue
        sizes = case.sizes.get(scale, case.sizes["cpu"])
        size = max(sizes, key=lambda name: sum(math.prod(s) for s in sizes[name]))
        kinds = [d for d in dtypes if case.name == "matmul" or d == dtypes[-1]]
        kinds = ["float32" if case.name == "copy" and d == "tf32" else d for d in kinds]
        found += [Job(case, size, sizes[size], dtype, False) for dtype in kinds]
    keys = {job.key for job in work}
    return [job for job in found if job.key not in keys]
