"""Eigenvalues on LAPACK by way of NumPy; the symmetric factorisation by way of SciPy."""

from __future__ import annotations

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.linalg import lapack


@kernel("_eig", "cpu")
def _eig(values, vectors, x):
    try:
        values[...], vectors[...] = np.linalg.eig(x)
    except np.linalg.LinAlgError:  # not finite: the caller sees it by its NaN
        values[...] = vectors[...] = np.nan


@kernel("_ldl", "cpu")
def _ldl(y, pivots, info, x, hermitian):
    info[...] = 0
    if x.size == 0:
        return
    n = x.shape[-1]
    factor = lapack("hetrf" if hermitian and x.dtype.kind == "c" else "sytrf", x)
    many = zip(x.reshape(-1, n, n), y.reshape(-1, n, n), pivots.reshape(-1, n), strict=True)
    for k, (a, factors, rows) in enumerate(many):
        found, swaps, status = factor(a, lower=1)
        factors[...], rows[...] = np.tril(found), swaps
        info.reshape(-1)[k] = status


@kernel("_ldl_solve", "cpu")
def _ldl_solve(y, x, pivots, b, hermitian):
    if y.size == 0:
        return
    n, k = b.shape[-2:]
    solve = lapack("hetrs" if hermitian and x.dtype.kind == "c" else "sytrs", x)
    many = zip(
        x.reshape(-1, n, n), pivots.reshape(-1, n), b.reshape(-1, n, k), y.reshape(-1, n, k),
        strict=True,
    )  # fmt: skip
    for a, rows, right, out in many:
        out[...] = solve(a, rows, right, lower=1)[0]
