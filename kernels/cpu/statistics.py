"""Variance and mean by two passes: the mean, then squares of what is left."""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.reduction import accumulator, total, widened
from tgrad.runtime import memory


@kernel("_var_mean", "cpu")
def _var_mean(y, mean, x, dim, correction, keepdim, root):
    with np.errstate(all="ignore"):
        wide = accumulator(x.dtype)
        x = widened(x, wide)
        n = math.prod(x.shape[i] for i in dim)
        full = [1 if i in dim else m for i, m in enumerate(x.shape)]
        center = (total(x, dim, wide) / wide.type(n)).reshape(full)
        rest = memory.empty(x.shape, wide)
        np.subtract(x, center, out=rest)
        np.multiply(rest, rest, out=rest)
        variance = total(rest, dim, wide) / wide.type(max(n - correction, 0))
        y[...] = (np.sqrt(variance) if root else variance).reshape(y.shape)
        mean[...] = center.reshape(mean.shape)
