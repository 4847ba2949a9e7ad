"""Filling arrays with numbers and sequences."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel

CHUNK = 65536  # elements; bounds the float64 scratch of a sequence


@kernel("_fill", "cpu")
def _fill(y, x, value):
    if y.dtype.kind == "u":  # NumPy refuses negative numbers, PyTorch wraps them
        value = np.array(int(value)).astype(y.dtype)
    y[...] = value


@kernel("_arange", "cpu")
def _arange(y, x, start, step):
    wide = np.int64 if y.dtype.kind in "iu" else np.float64
    with np.errstate(all="ignore"):
        for i in range(0, y.size, CHUNK):
            steps = np.arange(i, min(i + CHUNK, y.size), dtype=wide)
            steps *= wide(step)
            steps += wide(start)
            np.copyto(y[i : i + CHUNK], steps, casting="unsafe")


@kernel("_linspace", "cpu")
def _linspace(y, x, start, end, base):
    n = y.size
    wide = np.complex128 if y.dtype.kind == "c" else np.float64
    d = (wide(end) - wide(start)) / max(n - 1, 1)
    with np.errstate(all="ignore"):
        for i in range(0, n, CHUNK):
            k = np.arange(i, min(i + CHUNK, n), dtype=np.float64)
            values = np.where(k < n // 2 if n > 1 else True, start + k * d, end - (n - 1 - k) * d)
            if base is not None:
                values = np.power(wide(base), values)
            np.copyto(y[i : i + CHUNK], values, casting="unsafe")


@kernel("_eye", "cpu")
def _eye(y, x):
    y[...] = 0
    np.fill_diagonal(y, 1)
