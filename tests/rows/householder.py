"""Rows of products of reflections. Their vectors are read below the diagonal alone."""

import numpy as np

from tests.rows.linalg import SINGLE, well
from tests.table import row, s, t, value


def reflections(x, tau):
    """The square Q = H_1 ... H_K."""
    q = np.eye(x.shape[-2])
    for k, scale in enumerate(tau):
        v = np.where(np.arange(len(x)) < k, 0, x[:, k])
        v[k] = 1
        q = q - scale * np.outer(q @ v, v)
    return q


def product(x, tau):
    if x.ndim > 2:
        return np.stack([product(a, b) for a, b in zip(x, tau, strict=True)])
    return reflections(x, tau)[:, : x.shape[1]]


def ormqr(x, tau, other, left=True, transpose=False):
    q = reflections(x, tau)
    q = q.T if transpose else q
    return q @ other if left else other @ q


def raw(x):
    h, tau = np.linalg.qr(x, "raw")
    return np.swapaxes(h, -1, -2), tau


def low(*shape):
    """Vectors below the diagonal, with a gradient where they are read."""
    return value(np.tril(np.random.default_rng(shape[0]).standard_normal(shape), -1))


ROWS = [
    row("geqrf", s(well(4, 3)), s(well(2, 2, 3)), s(t(0, 2)), ref=raw, grad=False, dtypes=SINGLE,
        fallback=True, covers=["_geqrf"]),
    row("linalg.householder_product", s(low(4, 3), t(3)), s(low(3, 3), t(2)),
        s(low(2, 4, 2), t(2, 2)),
        ref=product, dtypes=SINGLE),
    row("orgqr", s(low(4, 2), t(2)), ref=product, dtypes=SINGLE),
    row("ormqr", s(low(4, 3), t(3), t(4, 2)), s(low(4, 2), t(2), t(3, 4), False),
        s(low(3, 2), t(2), t(3, 1), True, True), s(low(3, 3), t(3), t(2, 3), False, True),
        ref=ormqr, dtypes=SINGLE),
]  # fmt: skip
