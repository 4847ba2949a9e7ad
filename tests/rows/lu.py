"""Rows of LU, of systems by factors and of what Cholesky's factor gives."""

import numpy as np
import scipy.linalg

from tests.rows.linalg import SINGLE, positive, well
from tests.table import row, s, t, value


def batched(function):
    """``function`` of matrices for stacks of them."""

    def call(*arrays, **options):
        first = arrays[0]
        if first.ndim == 2:
            return function(*arrays, **options)
        found = [function(*a, **options) for a in zip(*arrays, strict=True)]
        if isinstance(found[0], tuple):
            return tuple(np.stack(column) for column in zip(*found, strict=True))
        return np.stack(found)

    return call


@batched
def lu(a):
    return tuple(scipy.linalg.lu(a))


@batched
def factors(a):
    packed, rows = scipy.linalg.lu_factor(a)
    return packed, (rows + 1).astype(np.int32)


def factors_ex(a):
    return (*factors(a), np.zeros(a.shape[:-2], np.int32))


@batched
def unpacked(packed, pivots):
    m, n = packed.shape
    k = min(m, n)
    p = np.eye(m)
    for i, j in enumerate(pivots):
        p[:, [i, j - 1]] = p[:, [j - 1, i]]
    return p, np.tril(packed[:, :k], -1) + np.eye(m, k), np.triu(packed[:k])


def lu_solve(packed, pivots, b, left=True, adjoint=False):
    p, low, up = unpacked(packed, pivots)
    a = p @ low @ up
    a = np.swapaxes(a, -1, -2) if adjoint else a
    return np.linalg.solve(a, b) if left else b @ np.linalg.inv(a)


def cholesky_solve(b, low, upper=False):
    t = np.swapaxes(low, -1, -2)
    return np.linalg.solve(t @ low if upper else low @ t, b)


def triangular(n):
    """Lower triangles: the other one is not read, nor given a gradient."""
    return value(np.tril(np.random.default_rng(n).uniform(0.5, 2, (n, n))))


def triangular_solve(b, a, upper=True, transpose=False, unitriangular=False):
    used = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        used = used - np.diag(np.diag(used)) + np.eye(len(a))
    return np.linalg.solve(used.T if transpose else used, b), a


PACKED = value(factors(np.asarray(well(3, 3).value))[0])
PIVOTS = value([2, 3, 3], "int32")
READ = "torch gives the triangle that is not read a gradient too"
HOST = {"dtypes": SINGLE, "fallback": True}


def right(vectors: bool, a, b):
    return np.linalg.solve(a, b[..., None])[..., 0] if vectors else np.linalg.solve(a, b)


ROWS = [
    row("linalg.lu_factor_ex", s(well(3, 3)), s(well(4, 2)), s(well(2, 2, 3)), s(t(2, 0, 0)),
        ref=factors_ex, **HOST,
        # of eigenvalues and LDL^H: tests/test_eigen.py
        covers=["_lu", "linalg_eig", "eigvals", "ldl_factor", "ldl_factor_ex", "ldl_solve"]),
    row("linalg.lu_factor", s(well(3, 3)), s(well(3, 2)), ref=factors, **HOST),
    row("lu", s(well(3, 3)), s(well(2, 2, 3)), ref=factors, **HOST),
    row("linalg.lu", s(well(3, 3)), s(well(5, 3)), s(well(2, 3, 4)), ref=lu, **HOST,
        covers=["linalg_lu"]),
    row("lu_unpack", s(PACKED, PIVOTS), s(well(2, 4, 3), value([[1, 3, 3], [4, 4, 3]], "int32")),
        s(well(2, 3), value([2, 2], "int32")), ref=unpacked, dtypes=SINGLE),
    row("linalg.lu_solve", s(PACKED, PIVOTS, t(3, 2)), s(PACKED, PIVOTS, t(2, 3, 1), adjoint=True),
        s(PACKED, PIVOTS, t(4, 3), left=False),
        s(PACKED, PIVOTS, t(4, 3), left=False, adjoint=True),
        ref=lu_solve, covers=["linalg_lu_solve"], **HOST),
    row("lu_solve", s(t(3, 2), PACKED, PIVOTS), ref=lambda b, a, p: lu_solve(a, p, b), **HOST),
    row("linalg.solve_ex", s(well(3, 3), t(3, 2)), s(well(3, 3), t(3)),
        s(well(2, 3, 3), t(4, 3), left=False),
        ref=lambda a, b, left=True: (
            right(b.ndim == 1, a, b) if left else b @ np.linalg.inv(a),
            np.zeros(a.shape[:-2], np.int32)),
        **HOST),
    row("triangular_solve", s(t(3, 2), well(3, 3)), s(t(3, 1), well(3, 3), False, True),
        s(t(3, 2), well(3, 3), True, True, True), ref=triangular_solve, **HOST),
    row("cholesky_solve", s(t(3, 2), triangular(3)), s(t(2, 3, 1), triangular(3)),
        ref=cholesky_solve, why_no_torch_grad=READ, **HOST),
    row("cholesky_inverse", s(triangular(3)), s(value(np.tril(positive(2, 2, 2).value))),
        ref=lambda a: np.linalg.inv(a @ np.swapaxes(a, -1, -2)), why_no_torch_grad=READ, **HOST),
]  # fmt: skip
