"""Dropout: mask and scale in one pass over cache-sized chunks."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.random import by_chunks, narrow
from tgrad.runtime import memory


@kernel("_dropout", "cpu")
def _dropout(y, x, p, key, counter):
    if not x.flags.c_contiguous:
        dense = memory.empty(x.shape, x.dtype)
        dense[...] = x
        x = dense
    flat = x.reshape(-1)
    threshold = np.uint32(min(int(p * 2.0**32 + 0.5), 2**32 - 1))
    wide = np.float64 if x.dtype == np.float64 else np.float32
    scale = wide(1 / (1 - p))

    def fill(piece: np.ndarray, start: int) -> None:
        factor = (narrow(key, counter, start, piece.size) >= threshold).astype(wide)
        factor *= scale
        np.multiply(flat[start : start + piece.size], factor, out=piece, casting="unsafe")

    by_chunks(y, fill)
