"""The op test table: a row per op, samples as descriptions of tensors that any device can make.

A row says which public function it tests, with what arguments, and what the right answer is in
float64 NumPy. ``tests/test_ops.py`` runs every row on every device, dtype and layout;
``tests/reference/test_torch.py`` runs the same rows against torch.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tgrad
from tgrad.testing import spread

# Largest error relative to the largest magnitude of the right answer, by dtype.
TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


@dataclass(frozen=True)
class Arg:
    """A tensor to be made. ``kind``: "float" takes the test's dtype, "int" and "bool" their own."""

    shape: tuple[int, ...]
    kind: str = "float"
    low: float | None = None  # uniform in [low, high) where given, else standard normal
    high: float | None = None
    distinct: bool = False  # no two elements are close: for sort, max and their gradients
    grad: bool = True
    value: Any = None  # exact contents instead of random ones

    def array(self, seed: int) -> np.ndarray:
        """The contents in float64, int64 or bool."""
        rng = np.random.default_rng(seed)
        if self.value is not None:
            kinds = {"float": np.float64, "int": np.int64, "int32": np.int32, "bool": np.bool_}
            return np.array(self.value, kinds[self.kind])
        if self.kind == "bool":
            return rng.random(self.shape) < 0.5
        if self.kind == "int":
            return rng.integers(int(self.low or 0), int(self.high or 10), self.shape)
        if self.distinct:
            n = int(np.prod(self.shape))
            return (rng.permutation(n).reshape(self.shape) - n / 2) * (4 / max(n, 1))
        if self.low is None:
            return rng.standard_normal(self.shape)
        return rng.uniform(self.low, 1.0 if self.high is None else self.high, self.shape)


def t(*shape: int, low: float | None = None, high: float | None = None, **more: Any) -> Arg:
    """A random floating tensor."""
    return Arg(shape, "float", low, high, **more)


def i(*shape: int, low: int = 0, high: int = 10, **more: Any) -> Arg:
    """A random int64 tensor with elements in [low, high)."""
    return Arg(shape, "int", low, high, grad=False, **more)


def b(*shape: int) -> Arg:
    """A random bool tensor."""
    return Arg(shape, "bool", grad=False)


def value(data: Any, kind: str = "float", grad: bool = True) -> Arg:
    """A tensor with exactly these elements."""
    return Arg(np.shape(data), kind, grad=grad and kind == "float", value=data)


@dataclass
class Sample:
    args: tuple
    kwargs: dict[str, Any]
    why_no_torch: str = ""  # why this call is not compared with torch's


def own(why: str, sample: Sample) -> Sample:
    """A call that torch rejects, leaves undefined or gets less exactly, and why."""
    return Sample(sample.args, sample.kwargs, why)


def s(*args: Any, **kwargs: Any) -> Sample:
    """One call: :class:`Arg` objects (also inside lists) become tensors, all else is passed on."""
    return Sample(args, kwargs)


@dataclass
class Row:
    """One public op. ``name`` is dotted as in PyTorch; a leading "Tensor." means a method."""

    name: str
    samples: Sequence[Sample]
    ref: Callable[..., Any] | None  # float64 NumPy; None only with `why_no_ref`
    why_no_ref: str = ""
    grad: bool = True  # first order is checked where an input is floating
    gradgrad: bool = True  # second order too
    torch: str | Callable | None = "same"  # torch's function, None where torch has none
    why_no_torch_grad: str = ""  # why gradients are not compared with torch's
    dtypes: Sequence[str] = ("float32", "float16", "bfloat16")  # beside float64
    tolerance: float = 1.0  # multiplies TOLERANCE, with the reason in a comment at the row
    covers: Sequence[str] = field(default_factory=tuple)  # other registry names it exercises
    fallback: bool = False  # on cuda it runs on the host, with a FallbackWarning

    def function(self) -> Callable[..., Any]:
        return resolve(tgrad, self.name)

    def torch_function(self, torch: Any) -> Callable[..., Any] | None:
        if callable(self.torch):
            return self.torch
        return None if self.torch is None else resolve(
            torch, self.name if self.torch == "same" else self.torch
        )  # fmt: skip


def resolve(library: Any, dotted: str) -> Any:
    return functools.reduce(getattr, dotted.split("."), library)


def row(name: str, *samples: Sample, ref: Callable[..., Any] | None = None, **more: Any) -> Row:
    made = Row(name, samples, ref, **more)
    assert ref is not None or made.why_no_ref, f"{name}: a row without ref must say why"
    return made


def all_rows() -> list[Row]:
    """The rows of every module in tests/rows, each of which has a list ROWS.

    ``TGRAD_TEST_FAMILIES=conv,pool`` restricts a run to those modules.
    """
    rows: list[Row] = []
    package = importlib.import_module("tests.rows")
    chosen = os.environ.get("TGRAD_TEST_FAMILIES", "")
    for module in pkgutil.iter_modules(package.__path__):
        if chosen and module.name not in chosen.split(","):
            continue
        rows += importlib.import_module(f"tests.rows.{module.name}").ROWS
    return rows


# ---- making arguments ----------------------------------------------------------------------------


def arrays(row: Row, sample: Sample) -> Sample:
    """The sample with NumPy arrays (float64, int64, bool) in the place of tensors."""
    seed = zlib.crc32(row.name.encode())
    count = iter(range(1000))

    def make(a: Any) -> Any:
        if isinstance(a, Arg):
            return a.array(seed + next(count))
        if isinstance(a, (list, tuple)):
            return type(a)(make(x) for x in a)
        return a

    return Sample(
        tuple(make(a) for a in sample.args), {k: make(v) for k, v in sample.kwargs.items()}
    )


def tensors(
    row: Row, sample: Sample, device: str, dtype: str = "float64", layout: str = "contiguous",
    grad: bool = False,
) -> Sample:  # fmt: skip
    """The sample with tensors of ``dtype`` on ``device``, float ones requiring grad on request."""
    made = arrays(row, sample)
    element = getattr(tgrad, dtype)

    def make(a: Any, spec: Any) -> Any:
        if isinstance(a, np.ndarray):
            x = tgrad.from_numpy(np.ascontiguousarray(a).reshape(a.shape))
            x = x.to(device)
            if spec.kind == "float":
                x = x.to(element)
            if layout == "strided" and a.ndim:
                x = spread(x)
            return x.requires_grad_(grad and spec.grad and spec.kind == "float")
        if isinstance(a, (list, tuple)) and any(isinstance(q, (Arg, list, tuple)) for q in spec):
            return type(a)(make(x, q) for x, q in zip(a, spec, strict=True))
        return a

    return Sample(
        tuple(make(a, q) for a, q in zip(made.args, sample.args, strict=True)),
        {k: make(v, sample.kwargs[k]) for k, v in made.kwargs.items()},
    )


def leaves(sample: Sample) -> list[Any]:
    """The tensors of a made sample that require grad, in order."""
    found: list[Any] = []

    def visit(a: Any) -> None:
        if isinstance(a, tgrad.Tensor):
            if a.requires_grad:
                found.append(a)
        elif isinstance(a, (list, tuple)):
            for x in a:
                visit(x)

    for a in (*sample.args, *sample.kwargs.values()):
        visit(a)
    return found


def outputs(y: Any) -> list[Any]:
    """The tensors of a result, flat."""
    if isinstance(y, (list, tuple)):
        return [z for part in y for z in outputs(part)]
    return [y]


def to_numpy(y: Any) -> np.ndarray:
    """Values as float64 where floating."""
    if isinstance(y, tgrad.Tensor):
        y = y.detach().cpu()
        if y.dtype.is_floating_point:
            y = y.to(tgrad.float64)
        return y.numpy()
    return np.asarray(y)


def assert_close(got: Any, want: Any, dtype: str, tolerance: float = 1.0, what: str = "") -> None:
    """Every output within TOLERANCE of ``want``, relative to its largest finite magnitude."""
    gots, wants = outputs(got), outputs(want)
    assert len(gots) == len(wants), f"{what}: {len(gots)} outputs, expected {len(wants)}"
    for g, w in zip(gots, wants, strict=True):
        g, w = to_numpy(g), to_numpy(w)
        assert g.shape == w.shape, f"{what}: shape {g.shape}, expected {w.shape}"
        if w.dtype.kind in "fc" or g.dtype.kind in "fc":
            finite = np.abs(w[np.isfinite(w)])
            scale = max(float(finite.max()) if finite.size else 0.0, 1.0)
            bound = TOLERANCE[dtype] * tolerance
            np.testing.assert_allclose(g, w, rtol=bound, atol=bound * scale, err_msg=what)
        else:
            np.testing.assert_array_equal(g, w, err_msg=what)
