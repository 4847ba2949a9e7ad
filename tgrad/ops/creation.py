"""Filling tensors: with a number, with a sequence, with the identity. ``creation.py`` calls these
on fresh memory; ``fill_`` and ``zero_`` on tensors that exist.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, gradient, op, run_inplace

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor

Number = int | float | complex


def checked_number(name: str, value: object, dtype: dtype) -> Number:
    """``value`` as a Python number that ``dtype`` holds (negative ones wrap in uint8).

    Raises: TypeError unless it is a number, RuntimeError where it does not fit.
    """
    if isinstance(value, (np.generic, Variable)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (int, float, complex)):
        raise TypeError(f"{name}(): argument 'value' must be Number, not {type(value).__name__}")
    if dtype.category == dtypes.COMPLEX:
        return value
    fits = True
    if isinstance(value, complex):
        fits = value.imag == 0
        value = value.real
    if dtype.category == dtypes.INT:
        info = np.iinfo(dtype.numpy)
        low = info.min if dtype.is_signed else -info.max
        fits = fits and math.isfinite(value) and low <= int(value) <= info.max
    elif dtype.category == dtypes.FLOAT:
        fits = fits and (not math.isfinite(value) or abs(value) <= dtypes.finfo(dtype).max)
    if not fits:
        raise RuntimeError(
            f"{name}: value cannot be converted to type {dtype.name} without overflow: {value}"
        )
    return value


@op(spaces=(), inplace="direct")
def _fill(x: Tensor, value: Number) -> Spec:
    """x with every element replaced by ``value``."""
    return Spec(x.shape, x.dtype)


@gradient(_fill)
def _(g):
    return _fill(g, 0)


@op(spaces=(), inplace="direct")
def _arange(x: Tensor, start: Number, step: Number) -> Spec:
    """start + i * step in float64 or int64, then converted; x is 1-d and only lends its shape."""
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _linspace(x: Tensor, start: Number, end: Number, base: float | None) -> Spec:
    """start + i * d below the middle and end - (n - 1 - i) * d above it, with d = (end - start) /
    (n - 1), in float64; ``base`` to that power where one is given.
    """
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _eye(x: Tensor) -> Spec:
    """1 on the main diagonal of a matrix, 0 elsewhere."""
    return Spec(x.shape, x.dtype)


@composite(spaces=("tgrad",))
def fill(input: Tensor, value: Number | Tensor) -> Tensor:
    """A tensor of the input's shape and dtype whose every element is ``value``.

    Raises: RuntimeError for a tensor with dims, or a number that the dtype cannot hold.
    """
    if isinstance(value, Variable):
        return _fill(input, 0).fill_(value)
    return _fill(input, checked_number("fill", value, input.dtype))


@composite(spaces=("Tensor",))
def fill_(input: Tensor, value: Number | Tensor) -> Tensor:
    """Set every element to ``value``, a number or 0-d tensor (which then gets a gradient).

    Raises: RuntimeError for a tensor with dims, or a number that the dtype cannot hold.
    """
    if isinstance(value, Variable):
        if value.ndim:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.ndim} dimensions."
            )
        return input.copy_(value)
    return run_inplace(OPS["_fill"], (input, checked_number("fill_", value, input.dtype)))


@composite(spaces=("Tensor",))
def fill_diagonal_(input: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Set the elements whose indices are all equal; ``wrap`` starts again below the bottom of the
    square in a tall matrix, leaving one row between.

    Raises: RuntimeError for fewer than two dims, or more than two of unequal sizes.
    """
    if input.ndim < 2 or (input.ndim > 2 and len(set(input.shape)) > 1):
        raise RuntimeError(
            "fill_diagonal_: expected a matrix or a tensor with all dims equal, got "
            f"{list(input.shape)}"
        )
    if input.ndim > 2:
        step = sum(input.stride())
        input.as_strided((input.shape[0],), (step,)).fill_(fill_value)
        return input
    n, m = input.shape
    for start in range(0, n if wrap else min(n, 1), m + 1):
        input.narrow(0, start, min(m, n - start)).diagonal().fill_(fill_value)
    return input


@composite(spaces=("Tensor",))
def zero_(input: Tensor) -> Tensor:
    """Set every element to 0."""
    return run_inplace(OPS["_fill"], (input, 0))
