"""Numbering runs of equal neighbours."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.sort import order_key


@kernel("_differs", "cpu")
def _differs(y, x):
    y[:1] = False
    np.not_equal(x[1:], x[:-1], out=y[1:])


@kernel("_lexsort", "cpu")
def _lexsort(y, x):
    y[...] = np.lexsort([order_key(np.ascontiguousarray(c), False) for c in x.T[::-1]])


@kernel("_run_starts", "cpu")
def _run_starts(y, x, count):
    if count:
        y[0] = 0
        y[1:] = np.flatnonzero(x[1:] != x[:-1]) + 1
