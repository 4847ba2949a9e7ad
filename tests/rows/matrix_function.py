"""Rows of functions of matrices."""

import numpy as np
import scipy.linalg

from tests.rows.linalg import SINGLE, well
from tests.table import i, row, s, t


def power(a, n):
    return np.linalg.matrix_power(a, n)


def vander(x, N=None, increasing=False):
    return np.vander(x, N, increasing)


def ascending(x, N=None):
    return x[..., None] ** np.arange(x.shape[-1] if N is None else N)


ROWS = [
    row("matrix_power", s(t(3, 3), 3), s(t(2, 2, 2), 0), s(t(2, 2), 1), s(i(2, 2), 5), ref=power),
    row("linalg.matrix_power", s(well(3, 3), -2), ref=power, dtypes=SINGLE, fallback=True),
    row(
        "matrix_exp", s(t(3, 3)), s(t(2, 2, 2)), s(t(0, 0)),
        ref=scipy.linalg.expm, dtypes=SINGLE, fallback=True, covers=["linalg.matrix_exp"],
    ),
    row("linalg.vander", s(t(4)), s(t(2, 3), N=5), s(i(3)), ref=ascending,
        covers=["linalg_vander"], dtypes=("float32",)),
    row("vander", s(t(4)), s(t(3), 2, True), s(i(3), 0), ref=vander, dtypes=("float32",),
        why_no_torch_grad="torch's own raises: it overwrites what its backward needs"),
    row("linalg.diagonal", s(t(2, 3, 4)), s(t(3, 4), offset=1, dim1=0, dim2=1),
        ref=lambda a, offset=0, dim1=-2, dim2=-1: np.diagonal(a, offset, dim1, dim2),
        covers=["linalg_diagonal"]),
]  # fmt: skip
