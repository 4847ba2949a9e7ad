"""``tgrad._foreach_*``: one op on each tensor of a list, as optimisers and averages are written.

The names, arguments and errors are PyTorch's. Each tensor's op runs for itself: here are no kernels
over many tensors (those that tgrad's own optimisers use stand in ``kernels/*/optim.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tgrad
from tgrad.tensor import Tensor

PREFIX = "_foreach_"
UNARY = {
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
}  # fmt: skip
BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow", "maximum": "clamp_min",
    "minimum": "clamp_max", "clamp_min": "clamp_min", "clamp_max": "clamp_max",
}  # fmt: skip
TERNARY = {"addcmul", "addcdiv", "lerp"}


def get(name: str) -> Callable[..., Any] | None:
    """The function of the full name ``_foreach_...``; None where there is no such function."""
    op = name.removeprefix(PREFIX)
    stem = op.removesuffix("_")
    if op in ("norm", "max", "copy_", "zero_"):
        return {"norm": norm, "max": largest, "copy_": copy_, "zero_": zero_}[op]
    if stem in UNARY:
        return _named(name, lambda self: _each(name, stem, self))
    if stem in BINARY:
        return _named(name, _binary(name, BINARY[stem]))
    return _named(name, _ternary(name, stem)) if stem in TERNARY else None


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


def _each(name: str, op: str, self: Sequence[Tensor], *others: Sequence[Any], **options: Any):
    """``op`` of each tensor and its part of ``others``: a tuple; in place, ``self``."""
    if not self:
        raise RuntimeError(f"{name}: Tensor list must have at least one tensor.")
    for other in others:
        if len(other) != len(self):
            raise RuntimeError(
                f"{name}: Tensor lists must have the same number of tensors, got {len(self)} and "
                f"{len(other)}"
            )
    rows = list(zip(self, *others, strict=True))
    if not name.endswith("_"):
        return tuple(getattr(x, op)(*rest, **options) for x, *rest in rows)
    for x, *rest in rows:
        getattr(x, f"{op}_")(*rest, **options)
    return self


def _spread(value: Any, count: int) -> Sequence[Any]:
    """A list as it is; a number or a tensor once for each."""
    return value if isinstance(value, (list, tuple)) else [value] * count


def _binary(name: str, op: str) -> Callable[..., Any]:
    def function(self: Sequence[Tensor], other: Any, *, alpha: float | None = None) -> Any:
        options = {} if alpha is None else {"alpha": alpha}
        if op == "pow" and not isinstance(self, (list, tuple)):  # a number to each power
            return tuple(tgrad.pow(self, x) for x in other)
        return _each(name, op, self, _spread(other, len(self)), **options)

    return function


def _ternary(name: str, op: str) -> Callable[..., Any]:
    def lerp(self: Sequence[Tensor], tensors1: Sequence[Tensor], weight: Any) -> Any:
        return _each(name, op, self, tensors1, _spread(weight, len(self)))

    def function(
        self: Sequence[Tensor],
        tensor1: Sequence[Tensor],
        tensor2: Sequence[Tensor],
        value: Any = 1,
        *,
        scalars: Sequence[float] | None = None,
    ) -> Any:
        values = scalars if scalars is not None else _spread(value, len(self))
        values = values.tolist() if isinstance(values, Tensor) else values
        terms = [t * v for t, v in zip(tensor1, values, strict=True)]
        return _each(name, op, self, terms, tensor2)

    return lerp if op == "lerp" else function


def norm(self: Sequence[Tensor], ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The ``ord``-norm of each tensor."""
    return tuple(tgrad.linalg.vector_norm(x, ord, dtype=dtype) for x in self)


def largest(self: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The largest element of each tensor."""
    return tuple(x.max() for x in self)


def copy_(self: Sequence[Tensor], src: Sequence[Tensor], non_blocking: bool = False) -> Any:
    """Write each tensor of ``src`` into its own of ``self``."""
    return _each("_foreach_copy_", "copy", self, src, non_blocking=non_blocking)


def zero_(self: Sequence[Tensor]) -> Any:
    """Every element 0."""
    return _each("_foreach_zero_", "zero", self)
