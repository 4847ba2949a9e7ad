"""Softmax and log-softmax: pieces of rows, each computed while it is in cache."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import BUSY, as_wide, dots, each_piece, planes, sums, wide_dtype
from tgrad.runtime import memory

NARROW = 16  # neighbours; below, a plane is transposed rather than walked along its inner axis
SAFE = 20.0  # exp of values up to this cannot overflow a sum, and needs no shift by the maximum
VISIBLE = 1e-6  # the least sum of unshifted exponentials whose small terms are still exact


def rowwise(y: np.ndarray, xs: list[np.ndarray], dim: int, step) -> None:
    """Call ``step(out, *inputs)`` on pieces of rows, in the dtype computed in."""
    if y.size == 0:
        return
    wide = wide_dtype(y, *xs)
    out, ins = planes(y, dim, dim + 1), [planes(x, dim, dim + 1) for x in xs]
    target = None
    if out.ndim == 3 and out.shape[2] < NARROW:
        target, shape = out, (out.shape[0] * out.shape[2], out.shape[1])
        ins = [np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(shape) for x in ins]
        out = memory.empty(shape, y.dtype)
    rows, length = out.shape[0], out.size // out.shape[0]

    def work(start: int, stop: int, worker: int) -> None:
        part = out[start:stop]
        result = part if part.dtype == wide else memory.empty(part.shape, wide)
        step(result, *[as_wide(x[start:stop], wide) for x in ins])
        if result is not part:
            np.copyto(part, result, casting="unsafe")

    each_piece(work, rows, length, BUSY, out.shape[2] if out.ndim == 3 else None)
    if target is not None:
        target[...] = out.reshape(target.shape[0], target.shape[2], -1).transpose(0, 2, 1)


def softmax_step(y: np.ndarray, x: np.ndarray) -> None:
    if x.size > 4096 and x.max() <= SAFE:  # false for NaN
        np.exp(x, out=y)
        s = sums(y)
        if s.min() >= VISIBLE:
            np.divide(1, s, out=s)
            np.multiply(y, s, out=y)
            return
    np.subtract(x, x.max(1, keepdims=True), out=y)
    np.exp(y, out=y)
    s = sums(y)
    np.divide(1, s, out=s)
    np.multiply(y, s, out=y)


def log_softmax_step(y: np.ndarray, x: np.ndarray) -> None:
    np.subtract(x, logsumexp(x, y), out=y)


def logsumexp(x: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """log(sum(exp(x))) over axis 1, kept as size 1; ``scratch`` has the shape of x."""
    if x.size > 4096 and x.max() <= SAFE:  # false for NaN
        np.exp(x, out=scratch)
        s = sums(scratch)
        if s.min() >= VISIBLE:
            return np.log(s, out=s)
    m = x.max(1, keepdims=True)
    np.copyto(m, 0, where=np.isinf(m))
    np.subtract(x, m, out=scratch)
    np.exp(scratch, out=scratch)
    s = sums(scratch)
    np.log(s, out=s)
    s += m
    return s


def softmax_backward_step(dx: np.ndarray, g: np.ndarray, y: np.ndarray) -> None:
    np.subtract(g, dots(g, y), out=dx)
    np.multiply(dx, y, out=dx)


def log_softmax_backward_step(dx: np.ndarray, g: np.ndarray, y: np.ndarray) -> None:
    np.exp(y, out=dx)
    np.multiply(dx, sums(g), out=dx)
    np.subtract(g, dx, out=dx)


@kernel("_softmax", "cpu")
def _softmax(y, x, dim, dtype):
    rowwise(y, [x], dim, softmax_step)


@kernel("_log_softmax", "cpu")
def _log_softmax(y, x, dim, dtype):
    rowwise(y, [x], dim, log_softmax_step)


@kernel("softmax_backward", "cpu")
def softmax_backward(dx, g, y, dim):
    rowwise(dx, [g, y], dim, softmax_backward_step)


@kernel("log_softmax_backward", "cpu")
def log_softmax_backward(dx, g, y, dim):
    rowwise(dx, [g, y], dim, log_softmax_backward_step)
