"""From samples to the distinct kernels that they would launch on a GPU."""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import tgrad.kernels.cuda
from tgrad.kernels.samples import Sample
from tgrad.kernels.samples.costs import Cost, cost
from tgrad.registry import OPS, Op
from tgrad.runtime.array import CudaArray
from tgrad.runtime.launcher import specialise
from tgrad.runtime.recorder import Launch, recording

SMALL = 1 << 20  # bytes of the largest array, below which a launch takes longer than the memory
GRID = (2**31 - 1, 65535, 65535)  # programs along each axis that CUDA can launch


class Variant(NamedTuple):
    """A kernel as it is compiled once. ``family``, ``op`` and ``about`` are of the first sample
    that needs it; ``narrow`` is empty if any sample wants its loads to be 16 bytes wide.
    """

    arch: int
    family: str
    op: str
    about: str
    dtype: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    divisible: tuple[str, ...]
    num_warps: int
    num_stages: int
    grid: tuple[int, ...]
    narrow: str

    @property
    def name(self) -> str:
        return self.kernel.__name__

    @property
    def arguments(self) -> str:
        """Types at run time; "!" marks a pointer that may lie off 16 bytes."""
        return " ".join(
            kind + ("!" if kind[0] == "*" and name not in self.divisible else "")
            for name, kind in self.signature.items()
        )

    @property
    def config(self) -> str:
        """The constants that were chosen, not those that follow from the arguments, and options."""
        values = (f"{k}={show(v)}" for k, v in self.constants.items() if k.isupper())
        return " ".join([*values, f"warps={self.num_warps}", f"stages={self.num_stages}"])


def show(value: Any) -> str:
    return value.__name__ if hasattr(value, "cache_key") else str(value)


@contextlib.contextmanager
def watched_ops(watch: Callable[[Op, Sequence[Any], Sequence[Any]], None]) -> Iterator[None]:
    """Have ``watch(op, outputs, inputs)`` called before each op's CUDA kernel runs.

    Together they are what the kernel is called with; of a pointwise op, whose outputs are one list
    and whose operands another, as of any.
    """

    def watching(entry: Op, fill: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(fill)
        def call(*args: Any) -> None:
            if entry.kind == "update":  # writes its inputs, but for the gradients
                written = [args[i] for k, i in enumerate(entry.tensors) if k != 1]
                watch(entry, written, args)
            elif entry.kind == "pointwise":
                watch(entry, args[:1], args[1:])
            else:
                outputs = len(args) - entry.arity
                watch(entry, args[:outputs], args[outputs:])
            fill(*args)

        return call

    before: dict[int, tuple[dict[str, Callable[..., None]], Callable[..., None]]] = {}
    for module in pkgutil.iter_modules(tgrad.kernels.cuda.__path__):
        importlib.import_module(f"tgrad.kernels.cuda.{module.name}")
    for entry in OPS.values():
        if entry.kind in ("view", "composite") or entry.kernel("cuda") is None:
            continue
        table = entry.kernels
        if "cuda" not in table:
            table = entry.launchers  # pyright: ignore[reportAttributeAccessIssue]
        if id(table) not in before:  # aliases share theirs
            before[id(table)] = table, table["cuda"]
            table["cuda"] = watching(entry, table["cuda"])
    try:
        yield
    finally:
        for table, fill in before.values():
            table["cuda"] = fill


def costs(sample: Sample, dtype: str) -> list[Cost]:
    """What each op costs that the sample runs."""
    found: list[Cost] = []
    with recording(), watched_ops(lambda op, ys, xs: found.append(cost(op.name, ys, xs))):
        sample.call(dtype)
    return found


def variants(
    samples: Iterable[Sample], arch: int = 90, dtypes: Collection[str] = ()
) -> list[Variant]:
    """The distinct kernels of the samples on sm_``arch``, in their order; of some ``dtypes``."""
    found: dict[tuple, Variant] = {}

    def name(op: Op, *arrays: Any) -> None:
        recorder.op = op.name

    with recording(arch) as recorder, watched_ops(name):
        for sample in samples:
            for dtype in sample.dtypes:
                if dtypes and dtype not in dtypes:
                    continue
                recorder.launches.clear()
                recorder.op = sample.name
                sample.call(dtype)
                for launch in recorder.launches:
                    add(found, arch, sample, dtype, launch)
    return list(found.values())


def finds_arrays(op: str) -> bool:
    """Whether the op's kernels find its arrays by a table of pointers, their only argument."""
    return op in OPS and OPS[op].kind == "update"


def add(found: dict[tuple, Variant], arch: int, sample: Sample, dtype: str, launch: Launch) -> None:
    """Put a launch's variant into ``found``, or its sample's claims on one that is there."""
    narrow = sample.narrow
    largest = max(a.nbytes for a in launch.args if isinstance(a, CudaArray))
    if not narrow and largest < SMALL and not finds_arrays(launch.op):
        narrow = "small arrays"
    kernel = launch.kernel
    signature, constants, divisible = specialise(kernel, launch.args, launch.constants)
    key = (
        kernel,
        *signature.items(),
        *divisible,
        *((k, type(v), v) for k, v in sorted(constants.items())),
        launch.num_warps,
        launch.num_stages,
    )
    have = found.get(key)
    if have is None:
        found[key] = Variant(
            arch, sample.family, launch.op, sample.about, dtype, kernel, signature,
            constants, divisible, launch.num_warps, launch.num_stages, launch.grid, narrow,
        )  # fmt: skip
    elif have.narrow and not narrow:
        found[key] = have._replace(narrow="", about=sample.about)
