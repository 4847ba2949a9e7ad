"""Rows of linear algebra on LAPACK, which CUDA tensors reach through the host."""

from typing import Any

import numpy as np

from tests.table import row, s, t, value

SINGLE = ("float32",)  # LAPACK has no half precision


def well(*shape):
    """Matrices far from singular."""
    rng = np.random.default_rng(len(shape) + shape[-1])
    n = min(shape[-2:])
    return value(rng.standard_normal(shape) + 3 * n**0.5 * np.eye(*shape[-2:]))


def positive(*shape):
    """Symmetric positive-definite matrices."""
    a = np.asarray(well(*shape).value)
    return value(a @ np.swapaxes(a, -1, -2))


def rank_one():
    return value(np.outer([1.0, -2.0, 0.5], [3.0, 1.0, -1.0]))


def cholesky(a, upper=False):
    return np.linalg.cholesky(a, upper=upper)


def solve(a, b, left=True):
    if not left:
        return np.swapaxes(solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    vector = b.ndim == 1 or b.shape == a.shape[:-1]
    return np.linalg.solve(a, b[..., None])[..., 0] if vector else np.linalg.solve(a, b)


def solve_triangular(a, b, upper, left=True, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        n = a.shape[-1]
        a = a * (1 - np.eye(n)) + np.eye(n)
    return solve(a, b, left)


def logdet(a):
    sign, log = np.linalg.slogdet(a)
    return np.where(sign < 0, np.nan, log)


def matrix_norm(a, ord: Any = "fro", dim=(-2, -1), keepdim=False):
    return np.linalg.norm(a, ord, dim, keepdim)


def norm(a, ord: Any = None, dim=None, keepdim=False):
    if ord is None and dim is None:
        return np.linalg.norm(a.reshape(-1)).reshape((1,) * a.ndim if keepdim else ())
    return np.linalg.norm(a, ord, dim, keepdim)


ROWS = [
    row(
        "linalg.inv", s(well(4, 4)), s(well(2, 1, 2, 2)), s(t(0, 0)), s(t(2, 0, 3, 3)), s(t(1, 1)),
        ref=np.linalg.inv, dtypes=SINGLE, fallback=True,
    ),
    row("inverse", s(well(3, 3)), ref=np.linalg.inv, dtypes=SINGLE, fallback=True),
    row(
        "linalg.solve",
        s(well(4, 4), t(4, 2)), s(well(4, 4), t(4)), s(well(2, 3, 3), t(2, 3)),
        s(well(2, 1, 2, 2), t(3, 2, 1)), s(well(3, 3), t(2, 3), left=False),
        s(well(2, 3, 3), t(4, 3), left=False),
        ref=solve, dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.solve_triangular",
        s(well(4, 4), t(4, 2), upper=True), s(well(4, 4), t(4, 2), upper=False),
        s(well(2, 3, 3), t(3, 2), upper=False, unitriangular=True),
        s(well(3, 3), t(2, 4, 3), upper=True, left=False),
        s(t(0, 0), t(0, 2), upper=True),
        ref=solve_triangular, dtypes=SINGLE, fallback=True,
    ),
    row(
        "det", s(well(4, 4)), s(well(2, 3, 3)), s(t(0, 0)), s(t(1, 1)), s(t(0, 2, 2)),
        ref=np.linalg.det, dtypes=SINGLE, fallback=True,
    ),
    # A singular matrix has a gradient (its cofactors), but the second one goes by the inverse.
    row(
        "linalg.det", s(rank_one()), s(t(2, 2, 2)),
        ref=np.linalg.det, gradgrad=False, dtypes=SINGLE, fallback=True,
    ),
    row(
        "slogdet", s(well(4, 4)), s(t(2, 3, 3)), s(t(0, 0)),
        ref=lambda a: tuple(np.linalg.slogdet(a)), dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.slogdet", s(well(2, 2)),
        ref=lambda a: tuple(np.linalg.slogdet(a)), dtypes=SINGLE, fallback=True,
    ),
    row(
        "logdet", s(positive(3, 3)), s(positive(2, 2, 2)),
        ref=logdet, dtypes=SINGLE, fallback=True,
    ),
    # One triangle is read: the gradient, made symmetric, is tested through a @ a.mT.
    row(
        "linalg.cholesky", s(positive(4, 4)), s(positive(2, 3, 3), upper=True), s(t(0, 0)),
        ref=cholesky, grad=False, dtypes=SINGLE, fallback=True,
    ),
    row(
        "cholesky", s(positive(3, 3), True),
        ref=cholesky, grad=False, dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.svdvals", s(t(4, 3)), s(t(2, 2, 3)), s(t(0, 3)),
        ref=lambda a: np.linalg.svd(a, compute_uv=False), dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.matrix_norm",
        s(t(4, 3)), s(t(2, 4, 3), 1, (0, 2)), s(t(4, 3), -1),
        s(t(4, 3), float("inf"), keepdim=True),
        s(t(2, 4, 3), -float("inf"), (-1, 0), True), s(t(0, 3)),
        ref=matrix_norm,
    ),
    row(
        "linalg.matrix_norm",
        s(t(4, 3), 2), s(t(2, 4, 3), -2, (0, 1)), s(t(4, 3), "nuc", keepdim=True),
        ref=matrix_norm, dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.norm",
        s(t(2, 3, 4)), s(t(5), 3), s(t(4, 3), "fro"), s(t(4, 3), 1), s(t(2, 3, 4), 1, 1),
        s(t(2, 3, 4), float("inf"), (0, 2)), s(t(2, 3, 4), None, 2, True),
        ref=norm, covers=["linalg_norm"],
    ),
]  # fmt: skip
