"""Losses over classes: one number picked per row, and its logsumexp where logits are given."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import as_wide, each_piece
from tgrad.kernels.cpu.softmax import logsumexp
from tgrad.runtime import memory


def as_rows(x: np.ndarray) -> np.ndarray:
    """(N, C, *) as (N, C), or (N, C, L) where there is more than one position."""
    length = math.prod(x.shape[2:])
    return x.reshape(x.shape[:2]) if length == 1 else x.reshape(*x.shape[:2], length)


def targets(target: np.ndarray, shape: tuple[int, ...], ignore_index: int):
    """(classes with axis 1 of size 1, ignored ones as 0; where they are ignored, or None)."""
    t = target.reshape(shape[0], 1, *shape[2:])
    ignored = t == ignore_index
    if not ignored.any():
        return t.astype(np.int64, copy=False), None
    return np.where(ignored, 0, t), ignored


def weights_of(weight, t: np.ndarray, ignored, wide: np.dtype) -> np.ndarray:
    """weight[t], 0 where ignored, in the shape of t."""
    w = np.ones(t.shape, wide) if weight is None else weight.astype(wide, copy=False)[t]
    if ignored is not None:
        w[ignored] = 0
    return w


def reduce(loss, total, losses: np.ndarray, w: np.ndarray, ignored, reduction: str) -> None:
    """Weigh the rows' losses (in place) and reduce them."""
    losses *= w
    if ignored is not None:
        losses[ignored] = 0
    total[...] = np.add.reduce(w, axis=None)
    if reduction == "none":
        loss[...] = losses.reshape(loss.shape)
    else:
        s = np.add.reduce(losses, axis=None)
        loss[...] = s / total if reduction == "mean" else s


@kernel("_nll_loss", "cpu")
def _nll_loss(loss, total, x, target, weight, ignore_index, reduction):
    wide = total.dtype
    rows = as_rows(x)
    with np.errstate(all="ignore"):
        t, ignored = targets(target, rows.shape, ignore_index)
        picked = -np.take_along_axis(rows, t, 1).astype(wide)
        reduce(loss, total, picked, weights_of(weight, t, ignored, wide), ignored, reduction)


@kernel("_cross_entropy", "cpu")
def _cross_entropy(loss, lse, total, x, target, weight, ignore_index, reduction):
    wide = total.dtype
    rows = as_rows(x)
    kept = lse.reshape(rows.shape[0], 1, *rows.shape[2:])

    def work(start: int, stop: int, worker: int) -> None:
        part = as_wide(rows[start:stop], wide)
        kept[start:stop] = logsumexp(part, memory.empty(part.shape, wide))

    with np.errstate(all="ignore"):
        if rows.size:
            each_piece(work, rows.shape[0], rows.size // rows.shape[0])
        t, ignored = targets(target, rows.shape, ignore_index)
        losses = kept - np.take_along_axis(rows, t, 1)
        reduce(loss, total, losses, weights_of(weight, t, ignored, wide), ignored, reduction)


def scales(g, target, weight, total, shape, ignore_index, reduction):
    """(classes, g weight[t]): the factor of each row, 0 where ignored."""
    wide = total.dtype
    t, ignored = targets(target, shape, ignore_index)
    w = weights_of(weight, t, ignored, wide)
    if reduction == "none":
        s = w * g.reshape(t.shape).astype(wide, copy=False)
    else:
        s = w * (g.astype(wide) / total if reduction == "mean" else g.astype(wide))
    if ignored is not None:
        s[ignored] = 0  # g may be infinite, the total 0
    return t, s


@kernel("nll_loss_backward", "cpu")
def nll_loss_backward(dx, g, target, weight, total, shape, ignore_index, reduction):
    dx[...] = 0
    rows = as_rows(dx)
    with np.errstate(all="ignore"):
        t, s = scales(g, target, weight, total, rows.shape, ignore_index, reduction)
        if rows.size:
            np.put_along_axis(rows, t, (-s).astype(dx.dtype), 1)


@kernel("cross_entropy_backward", "cpu")
def cross_entropy_backward(dx, g, x, target, weight, lse, total, ignore_index, reduction):
    wide = total.dtype
    rows, out = as_rows(x), as_rows(dx)
    if not rows.size:
        return
    kept = lse.reshape(rows.shape[0], 1, *rows.shape[2:])
    with np.errstate(all="ignore"):
        t, s = scales(g, target, weight, total, rows.shape, ignore_index, reduction)

    def work(start: int, stop: int, worker: int) -> None:
        part, factor = out[start:stop], s[start:stop]
        result = part if part.dtype == wide else memory.empty(part.shape, wide)
        np.subtract(as_wide(rows[start:stop], wide), kept[start:stop], out=result)
        np.exp(result, out=result)
        np.multiply(result, factor, out=result)
        at = t[start:stop]
        np.put_along_axis(result, at, np.take_along_axis(result, at, 1) - factor, 1)
        if result is not part:
            np.copyto(part, result, casting="unsafe")

    each_piece(work, rows.shape[0], rows.size // rows.shape[0])
