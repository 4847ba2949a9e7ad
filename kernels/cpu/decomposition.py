"""Factorisations with vectors on LAPACK, by way of NumPy and, for least squares, SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu.linalg import lapack


@kernel("_qr", "cpu")
def _qr(q, r, x, complete):
    q[...], r[...] = np.linalg.qr(x, "complete" if complete else "reduced")


@kernel("_eigh", "cpu")
def _eigh(values, vectors, x):
    try:
        values[...], vectors[...] = np.linalg.eigh(x)
    except np.linalg.LinAlgError:  # not finite: the caller sees it by its NaN
        values[...] = vectors[...] = np.nan


@kernel("_svd_full", "cpu")
def _svd_full(u, s, vh, x):
    try:
        u[...], s[...], vh[...] = np.linalg.svd(x)
    except np.linalg.LinAlgError:
        for y in (u, s, vh):
            y[...] = np.nan


@kernel("_pinv", "cpu")
def _pinv(y, x, atol, rtol, hermitian):
    if y.size == 0:
        return
    if hermitian:
        values, u = np.linalg.eigh(x)
        sizes, vh = np.abs(values), np.swapaxes(u, -1, -2).conj()
    else:
        u, values, vh = np.linalg.svd(x, full_matrices=False)
        sizes = values
    bound = np.maximum(atol, rtol * sizes.max(-1))
    kept = sizes > np.broadcast_to(bound, sizes.shape[:-1])[..., None]
    inverse = np.where(kept, 1, 0) / np.where(kept, values, 1)
    y[...] = np.swapaxes(vh, -1, -2).conj() * inverse[..., None, :] @ np.swapaxes(u, -1, -2).conj()


@kernel("_lstsq", "cpu")
def _lstsq(y, rank, values, x, b, rcond, driver):
    m, n = x.shape[-2:]
    rank[...] = n
    if y.size == 0 or m == 0:
        y[...] = 0
        rank[...] = min(m, n)
        return
    flat = zip(x.reshape(-1, m, n), b.reshape(-1, *b.shape[-2:]), strict=True)
    outs = y.reshape(-1, *y.shape[-2:])
    for k, (a, right) in enumerate(flat):
        if driver == "gels":
            outs[k] = _full_rank(a, right)
            continue
        from scipy.linalg import lstsq

        made: Any = lstsq(a, right, cond=rcond, lapack_driver=driver)
        solution, _, found, s = made
        outs[k] = solution
        rank.reshape(-1)[k] = found
        if values.shape[-1]:
            values.reshape(-1, values.shape[-1])[k] = s


def _full_rank(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By QR or LQ, without a look at the rank."""
    m, n = a.shape
    right = np.zeros((max(m, n), b.shape[1]), b.dtype)
    right[:m] = b
    _, solution, _ = lapack("gels", a)(a, right)
    return solution[:n]
