"""Calls of ops' kernels as data: written down from a running program, made again for a race.

A call is what the dispatcher hands a kernel: arrays (shape, dtype, steps, offset from a 16-byte
boundary) and parameters, without values. Its text is one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

import tgrad
from tgrad import dtypes
from tgrad.dtypes import Scalar
from tgrad.registry import OPS
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.launcher import DIVISOR
from tgrad.runtime.precision import conv_level, get_float32_matmul_precision, held

SHOWN = 8  # shapes in a line about a call
PERIOD = 65537  # random numbers after which they repeat: prime, so that no two rows are alike


class Array(NamedTuple):
    """An array of a call. ``steps`` are in elements, ``offset`` in bytes from a boundary."""

    shape: tuple[int, ...]
    dtype: str
    steps: tuple[int, ...]
    offset: int = 0

    @property
    def numpy(self) -> np.dtype:
        return getattr(tgrad, self.dtype).numpy

    @property
    def span(self) -> tuple[int, int]:
        """Elements that lie before the first one in memory, and all from first to last."""
        reach = [s * (n - 1) for s, n in zip(self.steps, self.shape, strict=True)]
        if 0 in self.shape:
            return 0, 0
        low = -sum(r for r in reach if r < 0)
        return low, low + sum(r for r in reach if r > 0) + 1

    @property
    def nbytes(self) -> int:
        return self.span[1] * self.numpy.itemsize

    def host(
        self, rng: np.random.Generator, below: int = 2, scale: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """(all its memory, the array as a view of it) with values of :func:`filled`."""
        low, count = self.span
        base = filled(rng, count, self.numpy, below, scale)
        strides = [s * base.itemsize for s in self.steps]
        return base, as_strided(base[low:], self.shape, strides)

    def device(self, base: np.ndarray | None = None) -> CudaArray:
        """The array on the GPU, with the memory's values where they are given."""
        low, count = self.span
        size = self.numpy.itemsize
        ahead = -(-self.offset // size)
        whole = cuda.empty((count + ahead,), self.numpy)
        if base is not None:
            cuda.active().copy_from_host(whole[ahead:], base)
        strides = tuple(s * size for s in self.steps)
        return whole.restride(self.shape, strides, (ahead + low) * size)


def filled(
    rng: np.random.Generator, count: int, dtype: np.dtype, below: int = 2, scale: float = 1.0
) -> np.ndarray:
    """Normal numbers times ``scale``; integers are 0 or 1, which are indices into anything that has
    two rows, or under a larger ``below`` where they are wide enough to be indices.
    """
    n = min(count, PERIOD)
    if dtype.kind in "biu":
        some = rng.integers(0, below if dtype.itemsize >= 4 else 2, n).astype(dtype)
    else:
        some = (scale * rng.standard_normal(n)).astype(dtype)
    return np.resize(some, count)


def kernel_of(op: str, device: str) -> Callable[..., None]:
    found = OPS[op].kernel(device)
    assert found is not None, (op, device)
    return found


class Call(NamedTuple):
    """``outputs`` of ``args`` are filled; ``precision`` and ``deterministic`` are settings."""

    op: str
    outputs: int
    args: tuple[Any, ...]
    precision: str = "highest"
    deterministic: bool = False

    def text(self) -> str:
        """One line of JSON, the same for the same call."""
        fields: dict[str, Any] = {"op": self.op, "outputs": self.outputs}
        fields["args"] = [encoded(a) for a in self.args]
        if self.precision != "highest":
            fields["precision"] = self.precision
        if self.deterministic:
            fields["deterministic"] = True
        return json.dumps(fields)

    @property
    def arrays(self) -> list[Array]:
        return list(leaves(self.args))

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self.arrays)

    @property
    def is_update(self) -> bool:
        """Whether it overwrites some of its arguments and has no outputs beside them."""
        return OPS[self.op].kind == "update"

    def written(self, args: Sequence[Any]) -> list[Any]:
        """Those of the arguments that the kernel writes, each an array or a list of arrays."""
        if self.is_update:
            return [args[i] for k, i in enumerate(OPS[self.op].tensors) if k != 1]
        return list(args[: self.outputs])

    @property
    def about(self) -> str:
        """The op with the shapes of its inputs."""
        shapes = ["x".join(map(str, a.shape)) or "1" for a in leaves(self.args[self.outputs :])]
        if len(shapes) > SHOWN:
            shapes = [*shapes[: SHOWN - 1], f"and {len(shapes) - SHOWN + 1} more"]
        return f"{self.op}({', '.join(shapes)}) {self.arrays[0].dtype}"

    def kernel(self, device: str) -> Callable[..., None]:
        return kernel_of(self.op, device)

    def mapped(self, convert: Callable[[Array], Any]) -> list[Any]:
        """The arguments with ``convert(array)`` in the place of each array, in their order."""
        return [replaced(a, convert) for a in self.args]

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Inside, the settings are the call's. Determinism is set past the freeze it means."""
        before = tgrad.are_deterministic_algorithms_enabled()
        tgrad.use_deterministic_algorithms(self.deterministic)
        try:
            with held(self.precision):
                yield
        finally:
            tgrad.use_deterministic_algorithms(before)


def described(op: str, outputs: Sequence[Any], inputs: Sequence[Any]) -> Call:
    """The call that a kernel gets. Raises: TypeError for arguments that JSON cannot hold."""
    args = tuple(description(a) for a in (*outputs, *inputs))
    level = conv_level() if "convolution" in op else get_float32_matmul_precision()
    return Call(op, len(outputs), args, level, tgrad.are_deterministic_algorithms_enabled())


def description(a: Any) -> Any:
    if isinstance(a, CudaArray):
        name = dtypes.FROM_NUMPY[a.dtype].name
        return Array(a.shape, name, a.steps, a.ptr % DIVISOR)
    if isinstance(a, Scalar):  # one that is recorded has a class of its own
        return Scalar(a.value, a.dtype)
    if isinstance(a, (list, tuple)):
        return type(a)(map(description, a))
    if a is None or isinstance(a, (bool, int, float, str, dtypes.dtype)):
        return a
    raise TypeError(f"a call's argument is a {type(a).__name__}")


def replaced(a: Any, convert: Callable[[Array], Any]) -> Any:
    if isinstance(a, Array):
        return convert(a)
    if isinstance(a, Scalar):
        return a
    return type(a)(replaced(x, convert) for x in a) if isinstance(a, (list, tuple)) else a


def leaves(a: Any) -> Iterator[Array]:
    if isinstance(a, Array):
        yield a
    elif isinstance(a, (list, tuple)) and not isinstance(a, Scalar):
        for x in a:
            yield from leaves(x)


# ---- text ----------------------------------------------------------------------------------------


def encoded(a: Any) -> Any:
    if isinstance(a, Array):
        fields: dict[str, Any] = {"shape": list(a.shape), "dtype": a.dtype}
        if a.steps != dense(a.shape):
            fields["steps"] = list(a.steps)
        if a.offset:
            fields["offset"] = a.offset
        return fields
    if isinstance(a, Scalar):
        return {"value": a.value, "in": a.dtype.name}
    if isinstance(a, dtypes.dtype):
        return {"dtype": a.name}
    if isinstance(a, list):
        return {"list": [encoded(x) for x in a]}
    return [encoded(x) for x in a] if isinstance(a, tuple) else a


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """The steps of a contiguous array."""
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))


def parsed(text: str) -> Call:
    """The call of a line. Raises: ValueError."""
    try:
        fields = json.loads(text)
        op, args = fields["op"], tuple(decoded(a) for a in fields["args"])
        made = Call(op, int(fields["outputs"]), args, fields.get("precision", "highest"),
                    fields.get("deterministic", False))  # fmt: skip
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"no call of a kernel: {text.strip()[:80]} ({e})") from None
    if op not in OPS:
        raise ValueError(f"no op is called {op!r}")
    return made


def decoded(a: Any) -> Any:
    if isinstance(a, list):
        return tuple(map(decoded, a))
    if not isinstance(a, dict):
        return a
    if "list" in a:
        return [decoded(x) for x in a["list"]]
    if "value" in a:
        return Scalar(a["value"], getattr(tgrad, a["in"]))
    if "shape" not in a:
        return getattr(tgrad, a["dtype"])
    shape = tuple(map(int, a["shape"]))
    steps = tuple(map(int, a["steps"])) if "steps" in a else dense(shape)
    return Array(shape, a["dtype"], steps, a.get("offset", 0))
