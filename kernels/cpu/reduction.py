"""Reductions."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel


@kernel("_sum", "cpu")
def _sum(y, x, dim, keepdim, dtype):
    wide = np.float32 if y.dtype.itemsize < 4 and y.dtype.kind not in "iub" else y.dtype
    with np.errstate(all="ignore"):
        y[...] = x.sum(dim, keepdims=keepdim, dtype=wide)
