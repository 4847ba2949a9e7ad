"""Rows of factorisations on LAPACK, which CUDA tensors reach through the host."""

from typing import Any

import numpy as np

from tests.rows.linalg import SINGLE, positive, rank_one, well
from tests.table import row, s, t


def tall(*shape):
    return well(*shape)


def symmetric(a, UPLO: Any = "L"):
    return np.linalg.eigh(a, UPLO)


def eigenvalues(a, UPLO: Any = "L"):
    return np.linalg.eigvalsh(a, UPLO)


def qr(a, mode: Any = "reduced"):
    return tuple(np.linalg.qr(a, mode))


def svd(a):
    u, w, vh = np.linalg.svd(a, False)
    return u, w, vh.T


def rank(a):  # NumPy before 2.4 knows no rank of empty matrices
    return np.linalg.matrix_rank(a) if a.size else np.zeros(a.shape[:-2], np.int64)


def pinv(a, rcond=None, hermitian=False, atol=None, rtol=None):
    return np.linalg.pinv(a, rcond or 1e-15, hermitian)


# torch=None: each library chooses the signs of its vectors. tests/test_decomposition.py compares
# what does not depend on them.
ROWS = [
    row(
        "linalg.qr", s(tall(4, 3)), s(well(3, 3)), s(well(2, 2, 4)), s(well(3, 3), "complete"),
        s(tall(2, 3, 2)),
        ref=qr,
        dtypes=SINGLE, fallback=True, covers=["linalg_qr"],
    ),
    row("qr", s(tall(4, 2)), ref=qr, dtypes=SINGLE, fallback=True),
    # One triangle is read: the symmetric gradient is tested in tests/test_decomposition.py.
    row(
        "linalg.eigh", s(positive(3, 3)), s(positive(2, 2, 2), UPLO="U"), s(t(0, 0)),
        ref=symmetric, grad=False, dtypes=SINGLE, fallback=True, torch=None,
    ),
    row(
        "linalg.eigvalsh", s(positive(4, 4)), s(positive(2, 3, 3), UPLO="U"),
        ref=eigenvalues,
        grad=False, dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.svd", s(well(3, 3)), s(tall(4, 2), full_matrices=False), s(t(2, 2, 3), False),
        ref=lambda a, full_matrices=True: tuple(np.linalg.svd(a, full_matrices)),
        dtypes=SINGLE, fallback=True, covers=["linalg_svd"], torch=None,
    ),
    row(
        "svd", s(tall(4, 2)),
        ref=svd,
        dtypes=SINGLE, fallback=True, torch=None,
    ),
    row(
        "linalg.pinv", s(tall(4, 3)), s(well(2, 4)), s(well(2, 3, 3)), s(t(0, 3)),
        ref=pinv, dtypes=SINGLE, fallback=True, gradgrad=False,
        covers=["lstsq"],  # of several results: tests/test_decomposition.py
    ),
    row("pinverse", s(tall(3, 2)), ref=pinv, dtypes=SINGLE, fallback=True, gradgrad=False),
    row(
        "linalg.matrix_rank", s(rank_one()), s(well(2, 3, 4)), s(t(3, 0)),
        ref=rank, grad=False, dtypes=(), fallback=True,
    ),
    row(
        "linalg.inv_ex", s(well(3, 3)), ref=lambda a: (np.linalg.inv(a), np.int32(0)),
        dtypes=SINGLE, fallback=True,
    ),
    row(
        "linalg.cholesky_ex", s(positive(3, 3)),
        ref=lambda a: (np.linalg.cholesky(a), np.int32(0)),
        grad=False, dtypes=SINGLE, fallback=True,
    ),
]  # fmt: skip
