"""LAPACK by way of NumPy, whose loops over a batch are in C; SciPy finds what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad.dispatch import kernel


def lapack(routine: str, x: np.ndarray) -> Any:
    """SciPy's LAPACK function for ``x``'s dtype."""
    from scipy.linalg import lapack

    return lapack.get_lapack_funcs(routine, (x,))


def infos(routine: str, x: np.ndarray, **options: int) -> np.ndarray:
    """LAPACK's last result, ``info``, for each matrix."""
    function = lapack(routine, x)
    flat = x.reshape(-1, *x.shape[-2:])
    found = [function(a, **options)[-1] for a in flat]
    return np.array(found, np.int32).reshape(x.shape[:-2])


@kernel("_inv_ex", "cpu")
def _inv_ex(y, info, x):
    info[...] = 0
    try:
        y[...] = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        info[...] = infos("getrf", x)
        y[...] = 0
        good = info == 0
        y[good] = np.linalg.inv(x[good])


@kernel("_solve_ex", "cpu")
def _solve_ex(y, info, x, b):
    info[...] = 0
    try:
        y[...] = np.linalg.solve(x, b)
    except np.linalg.LinAlgError:
        info[...] = infos("getrf", x)
        y[...] = 0
        good = info == 0
        y[good] = np.linalg.solve(x[good], b[good])


@kernel("_solve_triangular", "cpu")
def _solve_triangular(y, x, b, upper, unitriangular):
    if y.size == 0:
        return
    trtrs = lapack("trtrs", x)
    n, k = b.shape[-2:]
    many = zip(x.reshape(-1, n, n), b.reshape(-1, n, k), y.reshape(-1, n, k), strict=True)
    for a, right, out in many:
        # LAPACK reads columns first: a transposed view of row-major memory costs no copy.
        found, info = trtrs(a.T, right, lower=upper, trans=1, unitdiag=unitriangular)
        if info > 0:  # a zero on the diagonal
            out[...] = _substitute(a, right, upper)
        else:
            out[...] = found


def _substitute(a: np.ndarray, b: np.ndarray, upper: bool) -> np.ndarray:
    """Substitution that divides by zeros, as IEEE has it."""
    x = np.array(b)
    n = len(a)
    with np.errstate(all="ignore"):
        for i in range(n - 1, -1, -1) if upper else range(n):
            rest = slice(i + 1, n) if upper else slice(0, i)
            x[i] = (x[i] - a[i, rest] @ x[rest]) / a[i, i]
    return x


@kernel("det", "cpu")
def det(y, x):
    with np.errstate(all="ignore"):
        y[...] = np.linalg.det(x)


@kernel("_cofactors", "cpu")
def _cofactors(y, x):
    """With A = U S V^H: det(U) det(V^H) U diag(prod of the other s) V^H."""
    if y.size == 0:
        return
    with np.errstate(all="ignore"):
        u, s, vh = np.linalg.svd(x)
        others = np.ones_like(s)
        np.cumprod(s[..., :-1], axis=-1, out=others[..., 1:])
        after = np.cumprod(s[..., :0:-1], axis=-1)[..., ::-1]
        others[..., :-1] *= after
        sign = (np.linalg.det(u) * np.linalg.det(vh)).conj()
        y[...] = (sign[..., None, None] * u * others[..., None, :]) @ vh


@kernel("_slogdet", "cpu")
def _slogdet(sign, log, x):
    with np.errstate(all="ignore"):
        sign[...], log[...] = np.linalg.slogdet(x)


@kernel("_cholesky_ex", "cpu")
def _cholesky_ex(y, info, x):
    info[...] = 0
    try:
        y[...] = np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        info[...] = infos("potrf", x, lower=1)
        y[...] = 0
        good = info == 0
        y[good] = np.linalg.cholesky(x[good])


@kernel("_svd", "cpu")
def _svd(u, s, vh, x):
    try:
        u[...], s[...], vh[...] = np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError:  # some matrix is not finite: the caller sees it by its NaN
        for y in (u, s, vh):
            y[...] = np.nan
