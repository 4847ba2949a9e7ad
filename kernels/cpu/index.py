"""Reading and writing where index arrays say."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu import places
from tgrad.runtime import memory


@kernel("_index", "cpu")
def _index(y, x, indices, start):
    count = len(indices)
    if y.size == 0:
        return
    if not x.flags.c_contiguous and (count > 1 or not x[(0,) * (start + 1)].flags.c_contiguous):
        y[...] = x[(*(slice(None),) * start, *indices)]
        return
    if count > 1:
        shape = x.shape[start : start + count]
        flat = places.rows(indices, shape)
        x = x.reshape((*x.shape[:start], math.prod(shape), *x.shape[start + count :]))
    else:
        flat = indices[0].astype(np.intp, copy=False)
    # "wrap" reads negative indices as they are meant, and unlike "raise" needs no buffer for out.
    np.take(x, flat, start, out=y, mode="wrap")


@kernel("index_backward", "cpu")
def index_backward(y, g, indices, shape, start):
    y.fill(0)
    places.add_rows(
        y, start, places.rows(indices, shape[start : start + len(indices)]), g, len(indices)
    )


@kernel("_index_put", "cpu")
def _index_put(y, x, indices, values, start, accumulate):
    if y is not x:
        np.copyto(y, x)
    if not accumulate:
        y[(*(slice(None),) * start, *indices)] = values
        return
    count = len(indices)
    flat = places.rows(indices, y.shape[start : start + count])
    total = y if y.flags.c_contiguous else memory.empty(y.shape, y.dtype)
    if total is not y:
        np.copyto(total, y)
    places.add_rows(total, start, flat, values, count)
    if total is not y:
        np.copyto(y, total)


@kernel("_index_fill", "cpu")
def _index_fill(y, x, indices, start, value):
    if y is not x:
        np.copyto(y, x)
    y[(*(slice(None),) * start, *indices)] = value


@kernel("_nonzero_offsets", "cpu")
def _nonzero_offsets(y, x, chunk):
    y[0], y[1] = 0, np.count_nonzero(x)


@kernel("_nonzero", "cpu")
def _nonzero(y, x, offsets, chunk, count):
    if x.ndim == 1:
        y[:, 0] = np.flatnonzero(x)
    elif x.ndim:
        for k, where in enumerate(np.nonzero(x)):
            y[:, k] = where
