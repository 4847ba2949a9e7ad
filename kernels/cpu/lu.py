"""LU on LAPACK, a matrix at a time."""

from __future__ import annotations

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.linalg import lapack


@kernel("_lu", "cpu")
def _lu(y, pivots, info, x):
    info[...] = 0
    if x.size == 0:
        return
    getrf = lapack("getrf", x)
    m, n = x.shape[-2:]
    many = zip(x.reshape(-1, m, n), y.reshape(-1, m, n), pivots.reshape(-1, min(m, n)), strict=True)
    for k, (a, factors, exchanged) in enumerate(many):
        found, rows, status = getrf(a)
        factors[...], exchanged[...] = found, rows + 1  # SciPy counts rows from 0
        info.reshape(-1)[k] = status
