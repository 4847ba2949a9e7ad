"""Running a pointwise expression with NumPy: step by step on chunks that stay in the L2 cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.dtypes import Scalar
from tgrad.kernels.cpu import maths
from tgrad.pointwise import Symbol

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.pointwise import Pointwise, Program

CHUNK = 32768  # elements


@functools.cache
def steps(program: Program) -> list[tuple[Callable, tuple]]:
    """The program's steps with their NumPy functions; arguments are value numbers or constants."""
    return [
        (getattr(maths, s.name), tuple(a if isinstance(a, Symbol) else (a,) for a in s.args))
        for s in program.steps
    ]


def single(entry: Pointwise) -> Callable | None:
    """The one function that the expression is, applied to its arguments in order; else None."""
    program = entry.program
    if len(program.steps) != 1:
        return None
    args = program.steps[0].args
    in_order = all(isinstance(a, Symbol) and a.index == i for i, a in enumerate(args))
    return steps(program)[0][0] if in_order and len(args) == program.n else None


def small(entry: Pointwise, operands: list) -> np.ndarray:
    """The result as a new array; float arrays of one shape and Python numbers."""
    try:
        function = entry.single  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        function = entry.single = single(entry)  # pyright: ignore[reportAttributeAccessIssue]
    with np.errstate(all="ignore"):
        y = evaluate(entry.program, operands) if function is None else function(*operands)
    return y if type(y) is np.ndarray else np.asarray(y)


def evaluate(program: Program, operands: list, out: np.ndarray | None = None) -> Any:
    """Run the steps on whole arrays; the last one into ``out`` where its dtype is right."""
    values = list(operands)
    todo = steps(program)
    for i, (function, args) in enumerate(todo):
        call = [values[a.index] if isinstance(a, Symbol) else a[0] for a in args]
        last = i == len(todo) - 1 and out is not None
        values.append(function(*call, out=out) if last else function(*call))
    return values[program.result]


def launch(entry: Pointwise, y: np.ndarray, operands: list, compute: dtype) -> None:
    """y = expression(*operands), computed in ``compute`` and converted on the way out."""
    values = [compute_scalar(a) if isinstance(a, Scalar) else a for a in operands]
    with np.errstate(all="ignore"):
        arrays = [a for a in values if isinstance(a, np.ndarray) and a.ndim]
        if y.size <= CHUNK:
            chunk(entry.program, y, values, compute.numpy)
        elif y.flags.c_contiguous and all(
            a.shape == y.shape and a.flags.c_contiguous for a in arrays
        ):
            flat = [a.reshape(-1) if isinstance(a, np.ndarray) and a.ndim else a for a in values]
            pieces(entry.program, y.reshape(-1), flat, compute.numpy, CHUNK)
        else:
            full = [
                np.broadcast_to(a, y.shape) if isinstance(a, np.ndarray) and a.ndim else a
                for a in values
            ]
            strided(entry.program, y, full, compute.numpy)


def compute_scalar(s: Scalar) -> Any:
    return s.dtype.numpy.type(s.value)


def strided(program: Program, y: np.ndarray, values: list, compute: np.dtype) -> None:
    """Split along leading axes until a piece fits the cache."""
    if y.size <= 2 * CHUNK or y.ndim == 0:
        chunk(program, y, values, compute)
        return
    inner = y.size // y.shape[0]
    if inner <= CHUNK:
        pieces(program, y, values, compute, max(1, CHUNK // inner))
        return
    for i in range(y.shape[0]):
        row = [a[i] if isinstance(a, np.ndarray) and a.ndim else a for a in values]
        strided(program, y[i], row, compute)


def pieces(program: Program, y: np.ndarray, values: list, compute: np.dtype, step: int) -> None:
    for i in range(0, y.shape[0], step):
        part = [a[i : i + step] if isinstance(a, np.ndarray) and a.ndim else a for a in values]
        chunk(program, y[i : i + step], part, compute)


def chunk(program: Program, y: np.ndarray, values: list, compute: np.dtype) -> None:
    cast = [
        a.astype(compute) if isinstance(a, np.ndarray) and a.dtype != compute else a for a in values
    ]
    # Straight into y only where that is the dtype computed in: a ufunc would else cast its input.
    direct = y if y.dtype == compute else None
    result = evaluate(program, cast, direct)
    if result is not y:
        np.copyto(y, result, casting="unsafe")
