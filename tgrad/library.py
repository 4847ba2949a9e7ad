"""Ops of your own: the registry's declarations, for files outside tgrad.

Declare the op with :func:`op` (a card that checks and returns a :class:`Spec`), add a NumPy and a
Triton kernel with :func:`kernel` and its derivative with :func:`gradient`; or, for an elementwise
formula, one :func:`pointwise` expression. Dispatch, autograd, emulation and
:func:`tgrad.testing.check_op` then work as for built-in ops. The README has a whole example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tgrad import dispatch
from tgrad.dispatch import OPS, FallbackWarning, Op, Spec, gradient
from tgrad.expression import xp
from tgrad.pointwise import pointwise as _pointwise
from tgrad.runtime import cuda, memory
from tgrad.runtime.array import Array, CudaArray, is_contiguous
from tgrad.runtime.cuda import launch
from tgrad.runtime.current import on

A = TypeVar("A", np.ndarray, CudaArray)

__all__ = ["OPS", "Array", "CudaArray", "FallbackWarning", "Op", "Spec", "contiguous", "empty",
           "gradient", "kernel", "launch", "op", "pointwise", "unregister", "xp"]  # fmt: skip


def op(card: Callable | None = None, *, spaces: Sequence[str] = (), **options: Any) -> Any:
    """Declare an op named after its card. See :func:`tgrad.dispatch.op`.

    Raises: ValueError if the name is taken.
    """
    declare = dispatch.op(spaces=spaces, **options)
    return declare if card is None else declare(card)


def pointwise(
    expression: Callable | None = None, *, spaces: Sequence[str] = (), **options: Any
) -> Any:
    """Declare an elementwise op by its formula. See :func:`tgrad.pointwise.pointwise`.

    Raises: ValueError if the name is taken.
    """
    declare = _pointwise(spaces=spaces, **options)
    return declare if expression is None else declare(expression)


def kernel(of: str | Callable, device: str) -> Callable[[Callable], Callable]:
    """Register ``fill(y, *args)`` as the kernel of an op, or of the op of that name, on a device.

    Raises: KeyError for an unknown op, ValueError for a device other than "cpu" or "cuda".
    """
    name = of if isinstance(of, str) else of.op.name  # pyright: ignore[reportFunctionMemberAccess]
    if name not in OPS:
        raise KeyError(f"kernel: no op {name!r} is declared")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"kernel: expected device 'cpu' or 'cuda', got {device!r}")
    return dispatch.kernel(name, device)


def unregister(of: str | Callable) -> None:
    """Forget an op, so that a notebook cell that declares it can run again."""
    name = of if isinstance(of, str) else of.op.name  # pyright: ignore[reportFunctionMemberAccess]
    OPS.pop(name, None)


def empty(like: Array, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Array:
    """Scratch memory on the device of ``like``, uninitialised and contiguous."""
    shape = like.shape if shape is None else shape
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    if isinstance(like, np.ndarray):
        return memory.empty(shape, dtype)
    with on(like.device):
        return cuda.empty(shape, dtype)


def contiguous(a: A) -> A:
    """``a`` itself if its elements lie in row-major order, else a copy that does."""
    if is_contiguous(a):
        return a
    copy = OPS["copy"].kernel("cpu" if isinstance(a, np.ndarray) else "cuda")
    out = empty(a)
    assert copy is not None
    copy(out, a)
    return out  # pyright: ignore[reportReturnType]
