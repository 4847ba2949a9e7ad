"""Layer and RMS norm: pieces of rows, each computed while it is in cache."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.rows import BUSY, as_wide, dots, each_piece, sums
from tgrad.runtime import memory, threads


def as_rows(x: np.ndarray, dims: int) -> np.ndarray:
    """x as (rows, n), its last ``dims`` dims being one row."""
    n = math.prod(x.shape[x.ndim - dims :])
    return x.reshape(math.prod(x.shape[: x.ndim - dims]), n)


def flat(w: np.ndarray | None, wide: np.dtype) -> np.ndarray | None:
    return None if w is None else w.astype(wide, copy=False).reshape(-1)


@kernel("_layer_norm", "cpu")
def _layer_norm(y, mean, rstd, x, weight, bias, dims, eps, centered):
    wide = mean.dtype
    out, rows = as_rows(y, dims), as_rows(x, dims)
    means, rstds = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    w, b = flat(weight, wide), flat(bias, wide)
    n = rows.shape[1]

    def work(start: int, stop: int, worker: int) -> None:
        part = out[start:stop]
        result = part if part.dtype == wide else memory.empty(part.shape, wide)
        a, m, r = as_wide(rows[start:stop], wide), means[start:stop], rstds[start:stop]
        if centered:
            np.divide(sums(a), n, out=m)
            np.subtract(a, m, out=result)
            a = result
        else:
            m[...] = 0
        np.divide(dots(a, a), n, out=r)
        r += eps
        np.sqrt(r, out=r)
        np.divide(1, r, out=r)
        np.multiply(a, r, out=result)
        if w is not None:
            np.multiply(result, w, out=result)
        if b is not None:
            np.add(result, b, out=result)
        if result is not part:
            np.copyto(part, result, casting="unsafe")

    each_piece(work, len(rows), n, BUSY)


@kernel("layer_norm_backward", "cpu")
def layer_norm_backward(dx, dw, db, g, x, weight, mean, rstd, dims, eps, centered, wanted):
    wide = mean.dtype
    gs, xs = as_rows(g, dims), as_rows(x, dims)
    out = as_rows(dx, dims) if wanted[0] else None
    means, rstds = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    w = flat(weight, wide)
    rows, n = xs.shape
    # One row of partial sums a thread; each thread walks a fixed share of the rows.
    partial = np.zeros((2, threads.get_num_threads(), n), wide)

    def work(start: int, stop: int, worker: int) -> None:
        gi, r = as_wide(gs[start:stop], wide), rstds[start:stop]
        x_hat = memory.empty(gi.shape, wide)
        if centered:
            np.subtract(as_wide(xs[start:stop], wide), means[start:stop], out=x_hat)
            np.multiply(x_hat, r, out=x_hat)
        else:
            np.multiply(as_wide(xs[start:stop], wide), r, out=x_hat)
        if wanted[1]:
            partial[0, worker] += np.einsum("ij,ij->j", gi, x_hat)
        if wanted[2]:
            partial[1, worker] += np.add.reduce(gi, axis=0)
        if out is None:
            return
        part = out[start:stop]
        result = part if part.dtype == wide else memory.empty(gi.shape, wide)
        gw = gi
        if w is not None:
            gw = np.multiply(gi, w, out=result)
        np.multiply(x_hat, dots(gw, x_hat) / n, out=x_hat)
        mean = sums(gw) / n if centered else None
        np.subtract(gw, x_hat, out=result)
        if mean is not None:
            np.subtract(result, mean, out=result)
        np.multiply(result, r, out=part, casting="unsafe")

    each_piece(work, rows, n, BUSY)
    for d, need, sum_ in ((dw, wanted[1], partial[0]), (db, wanted[2], partial[1])):
        if need:
            d[...] = np.add.reduce(sum_, axis=0).reshape(d.shape)
