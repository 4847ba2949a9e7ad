"""Joining arrays, and writing windows of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.parts import overlaps
from tgrad.runtime.array import as_strided


@kernel("slice_backward", "cpu")
def slice_backward(y, g, shape, index):
    if y.size != g.size:
        y.fill(0)
    y[index] = g


@kernel("_place_window", "cpu")
def _place_window(y, x, shape, size, stride, offset):
    y.fill(0)
    if x.size == 0:
        return
    item = y.itemsize
    if not overlaps(size, stride):
        window: Any = as_strided(y, size, tuple(s * item for s in stride), offset * item)
        window[...] = x
        return
    places = np.arange(y.size)
    places = np.lib.stride_tricks.as_strided(places[offset:], size, [8 * s for s in stride])
    wide = y if y.itemsize > 2 or y.dtype.kind in "iub" else y.astype(np.float32)
    np.add.at(wide, places.reshape(-1), x.reshape(-1))
    if wide is not y:
        np.copyto(y, wide, casting="unsafe")


@kernel("unfold_backward", "cpu")
def unfold_backward(y, g, shape, dim, size, step):
    half = y.itemsize == 2 and y.dtype.kind not in "iub"
    total = np.zeros(y.shape, np.float32) if half else y
    total.fill(0)
    if not shape:
        total[...] = g.sum()
    elif g.size:
        rows, windows = np.moveaxis(total, dim, 0), np.moveaxis(g, dim, 0)
        count = len(windows)
        # One pass per place in the window: windows' elements at one place never meet.
        for k in range(size):
            rows[k : k + (count - 1) * step + 1 : step] += windows[..., k]
    if half:
        np.copyto(y, total, casting="unsafe")


@kernel("_cat", "cpu")
def _cat(y, tensors, dim, dtype):
    np.concatenate(tensors, dim, out=y, casting="unsafe")


@kernel("_stack", "cpu")
def _stack(y, tensors, dim, dtype):
    index = (*(slice(None),) * dim, None)
    np.concatenate([x[index] for x in tensors], dim, out=y, casting="unsafe")
