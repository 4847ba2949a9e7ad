"""Rows of tensors as matrices, condition numbers and older norms."""

import numpy as np

from tests.rows.linalg import SINGLE, well
from tests.table import own, row, s, t, value


def square(rows, cols):
    """Well-conditioned maps from ``cols`` to ``rows``."""
    n = int(np.prod(rows))
    return value(np.asarray(well(n, n).value).reshape(*rows, *cols))


def except_dim(v, pow=2, dim=0):
    if dim == -1:
        return np.linalg.norm(v.ravel(), pow)
    over = tuple(k for k in range(v.ndim) if k != dim)
    return (np.abs(v) ** pow).sum(over, keepdims=True) ** (1 / pow)


def tensorsolve(a, b, dims=None):
    return np.linalg.tensorsolve(a, b, dims)


def frobenius(x, dim, keepdim=False):
    return np.sqrt((x * x).sum(tuple(dim) if isinstance(dim, tuple) else dim, keepdims=keepdim))


ROWS = [
    row("linalg.cond", *[s(well(3, 3), p) for p in (2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc")],
        s(well(2, 3, 3)), own("NumPy has no other", s(well(4, 2))),
        ref=lambda a, p=None: np.linalg.cond(a, p), dtypes=SINGLE, fallback=True, gradgrad=False,
        why_no_torch_grad="torch's inverse is overwritten: its gradient raises"),
    row("linalg.tensorinv", s(square((2, 3), (3, 2))), s(square((2, 3), (6,)), ind=2),
        s(square((4,), (2, 2)), 1), ref=np.linalg.tensorinv, dtypes=SINGLE, fallback=True),
    row("linalg.tensorsolve", s(square((2, 3), (3, 2)), t(2, 3)), s(square((4,), (2, 2)), t(4)),
        s(square((3, 2), (2, 3)), t(2, 3), dims=(1, 0)),
        ref=tensorsolve, dtypes=SINGLE, fallback=True),
    row("nuclear_norm", s(well(3, 2)), s(well(2, 3, 2), (0, 1), True),
        ref=lambda a, dim=(-2, -1), keepdim=False: np.linalg.norm(a, "nuc", dim, keepdims=keepdim),
        dtypes=SINGLE, fallback=True),
    row("frobenius_norm", s(t(3, 4), 1), s(t(2, 3, 4), (0, 2), True), ref=frobenius),
    row("norm_except_dim", s(t(3, 4)), s(t(2, 3, 4), 2, 1), s(t(2, 3), 3, 1), s(t(5)),
        s(t(2, 3), 2, -1), ref=except_dim),
]  # fmt: skip
