"""Batch norm: sums over samples and positions, in pieces of samples."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import BUSY, as_wide, each_piece, ones
from tgrad.runtime import memory, threads


def as_channels(x: np.ndarray) -> np.ndarray:
    """x as (N, C, L)."""
    return x.reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:]))


def spatial_sums(x: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
    """Sum of x, or of x * z, over the first and last axis of (N, C, L)."""
    if x.shape[2] < 8:
        return np.add.reduce(x if z is None else x * z, axis=(0, 2))
    return np.add.reduce(np.vecdot(x, ones(x.shape[2], x.dtype) if z is None else z), axis=0)


@kernel("_batch_norm", "cpu")
def _batch_norm(y, mean, var, x, weight, bias, eps):
    wide = mean.dtype
    xs, out = as_channels(x), as_channels(y)
    samples, channels, length = xs.shape
    count = samples * length
    partial = np.zeros((2, threads.get_num_threads(), channels), wide)
    with np.errstate(all="ignore"):

        def add(start: int, stop: int, worker: int) -> None:
            partial[0, worker] += spatial_sums(as_wide(xs[start:stop], wide))

        def spread(start: int, stop: int, worker: int) -> None:
            part = as_wide(xs[start:stop], wide)
            centred = memory.empty(part.shape, wide)
            np.subtract(part, mean[:, None], out=centred)
            partial[1, worker] += spatial_sums(centred, centred)

        def finish(start: int, stop: int, worker: int) -> None:
            part = out[start:stop]
            result = part if part.dtype == wide else memory.empty(part.shape, wide)
            np.subtract(as_wide(xs[start:stop], wide), mean[:, None], out=result)
            np.multiply(result, scale, out=result)
            if shift is not None:
                np.add(result, shift, out=result)
            if result is not part:
                np.copyto(part, result, casting="unsafe")

        each_piece(add, samples, channels * length, BUSY, length)
        np.divide(np.add.reduce(partial[0], axis=0), count, out=mean)
        each_piece(spread, samples, channels * length, BUSY, length)
        np.divide(np.add.reduce(partial[1], axis=0), count, out=var)
        r = 1 / np.sqrt(var + wide.type(eps))
        scale = (r if weight is None else r * weight.astype(wide, copy=False))[:, None]
        shift = None if bias is None else bias.astype(wide, copy=False)[:, None]
        each_piece(finish, samples, channels * length, BUSY, length)


@kernel("batch_norm_backward", "cpu")
def batch_norm_backward(dx, dw, db, g, x, weight, mean, var, eps):
    wide = mean.dtype
    gs, xs, out = as_channels(g), as_channels(x), as_channels(dx)
    samples, channels, length = xs.shape
    if x.size == 0:
        dw[...] = db[...] = 0
        return
    partial = np.zeros((2, threads.get_num_threads(), channels), wide)
    with np.errstate(all="ignore"):

        def add(start: int, stop: int, worker: int) -> None:
            gi = as_wide(gs[start:stop], wide)
            centred = memory.empty(gi.shape, wide)
            np.subtract(as_wide(xs[start:stop], wide), mean[:, None], out=centred)
            partial[0, worker] += spatial_sums(gi)
            partial[1, worker] += spatial_sums(gi, centred)

        def finish(start: int, stop: int, worker: int) -> None:
            centred = memory.empty(gs[start:stop].shape, wide)
            np.subtract(as_wide(xs[start:stop], wide), mean[:, None], out=centred)
            np.multiply(centred, slope, out=centred)
            np.subtract(as_wide(gs[start:stop], wide), centred, out=centred)
            np.subtract(centred, level, out=centred)
            np.multiply(centred, scale, out=out[start:stop], casting="unsafe")

        each_piece(add, samples, channels * length, BUSY, length)
        total, product = np.add.reduce(partial, axis=1)
        r = 1 / np.sqrt(var + wide.type(eps))
        scale = (r if weight is None else r * weight.astype(wide, copy=False))[:, None]
        level = (total / (samples * length))[:, None]
        slope = (product / (samples * length) * r * r)[:, None]
        dw[...] = product * r
        db[...] = total
        each_piece(finish, samples, channels * length, BUSY, length)
