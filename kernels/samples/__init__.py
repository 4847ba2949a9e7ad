"""Calls of every op at the sizes of real models: what is compiled, tuned and timed.

A sample is a description; :meth:`Sample.call` makes its tensors on a device and runs it, forward
and backward, through the ordinary dispatcher. A table per group of families stands in a module
here; :func:`samples` joins them. Bytes and flops follow from the shapes, so that whoever times a
sample reports the same numbers.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tgrad
from tgrad.registry import OPS

HALF = ("float16", "bfloat16")
FLOAT = (*HALF, "float32", "float64")
INT = ("uint8", "int8", "int16", "int32", "int64")
NUMBER = (*FLOAT, *INT)
ALL = (*NUMBER, "bool")

# As arguments: the device and the dtype that a sample runs in.
DEVICE: Any = object()
DTYPE: Any = object()
MODULES = ("pointwise", "rows", "matrix", "moves", "order", "sequences")  # each has a list TABLES


class T(NamedTuple):
    """A tensor to be made, contiguous on a 16-byte boundary unless ``layout`` says otherwise.

    ``dtype`` None is the sample's. Layouts: "transposed" (the last two axes exchanged in memory),
    "heads" (axes 1 and 2 exchanged in memory), "channels_last" (axis 1 innermost), "strided" (every
    other element of the last axis), "misaligned" (one element after a boundary), "expanded" (axis 0
    of stride 0).
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    layout: str = "contiguous"

    def make(self, dtype: str, device: str) -> Any:
        element = getattr(tgrad, self.dtype or dtype)
        new = functools.partial(tgrad.empty, dtype=element, device=device)
        shape = self.shape
        if self.layout == "transposed":
            return new((*shape[:-2], shape[-1], shape[-2])).transpose(-1, -2)
        if self.layout == "heads":
            return new((shape[0], shape[2], shape[1], shape[3])).transpose(1, 2)
        if self.layout == "channels_last":
            return new((shape[0], *shape[2:], shape[1])).movedim(-1, 1)
        if self.layout == "strided":
            return new((*shape[:-1], 2 * shape[-1]))[..., ::2]
        if self.layout == "misaligned":
            return new((math.prod(shape) + 1,))[1:].view(*shape)
        if self.layout == "expanded":
            return new((1, *shape[1:])).expand(shape)
        assert self.layout == "contiguous", self.layout
        return new(shape)


def t(*shape: int, dtype: str | None = None, layout: str = "contiguous") -> T:
    """A floating tensor of the sample's dtype."""
    return T(shape, dtype, layout)


def i(*shape: int, layout: str = "contiguous") -> T:
    """An int64 tensor."""
    return T(shape, "int64", layout)


def b(*shape: int) -> T:
    """A bool tensor."""
    return T(shape, "bool")


class Sample(NamedTuple):
    """One call of ``name`` (dotted as in PyTorch, or a name of the registry) per dtype.

    ``narrow`` says why its loads need not be 16 bytes wide; empty where they must be.
    """

    family: str
    name: str
    args: tuple
    kwargs: dict[str, Any]
    dtypes: Sequence[str]
    backward: bool
    narrow: str = ""
    precision: str = "highest"  # of float32 products
    deterministic: bool = False
    run: Callable[..., Any] | None = None  # in the place of the function that ``name`` names

    @property
    def about(self) -> str:
        """The call with shapes, as the tables name it."""
        given = [*map(show, self.args), *(f"{k}={show(v)}" for k, v in self.kwargs.items())]
        precision = "" if self.precision == "highest" else f" [{self.precision}]"
        return f"{self.name}({', '.join(given)}){precision}"

    def function(self) -> Callable[..., Any]:
        if self.run is not None:
            return self.run
        if self.name in OPS and "." not in self.name:
            return OPS[self.name].function
        return functools.reduce(getattr, self.name.split("."), tgrad)

    def call(self, dtype: str, device: str = "cuda") -> list[tgrad.Tensor]:
        """Run it, and where asked the gradients of all its floating inputs; return its outputs."""
        before = tgrad.get_float32_matmul_precision(), tgrad.are_deterministic_algorithms_enabled()
        tgrad.set_float32_matmul_precision(self.precision)
        tgrad.use_deterministic_algorithms(self.deterministic)
        try:
            leaves: list[tgrad.Tensor] = []
            args = [self.made(a, dtype, device, leaves) for a in self.args]
            kwargs = {k: self.made(v, dtype, device, leaves) for k, v in self.kwargs.items()}
            outs = list(tensors(self.function()(*args, **kwargs)))
            ends = [y for y in outs if y.requires_grad]
            if ends and leaves:
                seeds = [tgrad.empty(y.shape, dtype=y.dtype, device=device) for y in ends]
                tgrad.autograd.grad(ends, leaves, seeds, allow_unused=True)
            return outs
        finally:
            tgrad.set_float32_matmul_precision(before[0])
            tgrad.use_deterministic_algorithms(before[1])

    def made(self, a: Any, dtype: str, device: str, leaves: list[tgrad.Tensor]) -> Any:
        if isinstance(a, T):
            x = a.make(dtype, device)
            if self.backward and x.is_floating_point():
                leaves.append(x.requires_grad_())
            return x
        if isinstance(a, list):
            return [self.made(v, dtype, device, leaves) for v in a]
        return device if a is DEVICE else getattr(tgrad, dtype) if a is DTYPE else a


def show(a: Any) -> str:
    if isinstance(a, T):
        text = "x".join(map(str, a.shape)) or "0-d"
        marks = [a.dtype] if a.dtype else []
        marks += [a.layout] if a.layout != "contiguous" else []
        return f"{text}:{':'.join(marks)}" if marks else text
    if isinstance(a, list):
        return f"[{', '.join(map(show, a))}]"
    return repr(a)


def tensors(y: Any) -> Iterator[tgrad.Tensor]:
    """The tensors of a result, flat."""
    if isinstance(y, tgrad.Tensor):
        yield y
    elif isinstance(y, (list, tuple)):
        for part in y:
            yield from tensors(part)


class Table:
    """Collects the samples of one family: ``s = Table("softmax"); s("softmax", t(8, 64), 1)``."""

    def __init__(self, family: str, dtypes: Sequence[str] = FLOAT):
        self.family, self.dtypes = family, dtypes
        self.samples: list[Sample] = []

    def __call__(
        self,
        name: str,
        *args: Any,
        dtypes: Sequence[str] | None = None,
        backward: bool = True,
        narrow: str = "",
        precision: str = "highest",
        deterministic: bool = False,
        run: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add one; what is not named here is an argument of the op."""
        self.samples.append(
            Sample(
                self.family, name, args, kwargs, dtypes or self.dtypes, backward, narrow,
                precision, deterministic, run,
            )
        )  # fmt: skip


def samples() -> list[Sample]:
    """The samples of every table."""
    found: list[Sample] = []
    for name in MODULES:
        for table in importlib.import_module(f"{__name__}.{name}").TABLES:
            found += table.samples
    return found
