"""Norms and log sum exp: a pass that maps into a work buffer, and fast sums of it."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.reduction import accumulator, total, widened
from tgrad.runtime import memory


@kernel("_vector_norm", "cpu")
def _vector_norm(y, x, ord, dim, keepdim):
    with np.errstate(all="ignore"):
        wide = accumulator(y.dtype)
        if x.dtype.kind == "c":
            x = np.abs(x)
        if math.isinf(ord):
            reducer = np.maximum if ord > 0 else np.minimum
            y[...] = reducer.reduce(np.abs(widened(x, wide)), axis=dim, keepdims=keepdim)
            return
        if ord == 0:
            y[...] = np.count_nonzero(x != 0, axis=dim, keepdims=keepdim)
            return
        y[...] = power_sum(widened(x, wide), ord, dim, wide).reshape(y.shape)


def power_sum(x: np.ndarray, p: float, dim: tuple[int, ...], wide: np.dtype) -> np.ndarray:
    """sum(|x|^p)^(1/p)."""
    buffer = memory.empty(x.shape, wide)
    if p == 2:
        np.multiply(x, x, out=buffer)
        return np.sqrt(total(buffer, dim, wide))
    np.abs(x, out=buffer)
    if p == 1:
        return total(buffer, dim, wide)
    np.power(buffer, wide.type(p), out=buffer)
    return np.power(total(buffer, dim, wide), wide.type(1 / p))


@kernel("_logsumexp", "cpu")
def _logsumexp(y, x, dim, keepdim):
    with np.errstate(all="ignore"):
        wide = accumulator(x.dtype)
        x = widened(x, wide)
        shift = np.maximum.reduce(x, axis=dim, keepdims=True, initial=wide.type(-np.inf))
        shift = np.where(np.isinf(shift), wide.type(0), shift)
        buffer = memory.empty(x.shape, wide)
        np.subtract(x, shift, out=buffer)
        np.exp(buffer, out=buffer)
        y[...] = (np.log(total(buffer, dim, wide).reshape(shift.shape)) + shift).reshape(y.shape)
