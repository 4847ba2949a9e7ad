"""Rows of the norms family."""

import numpy as np

from tests.rows.reduction import dims
from tests.table import row, s, t, value

INF = float("inf")


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    size, axis = np.abs(x), dims(dim)
    if ord in (INF, -INF):
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdim)
    if ord == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdim).astype(np.float64)
    return np.sum(size**ord, axis=axis, keepdims=keepdim) ** (1 / ord)


def norm(x, p="fro", dim=None, keepdim=False, dtype=None):
    return vector_norm(x, 2 if p is None or isinstance(p, str) else p, dim, keepdim)


def logsumexp(x, dim, keepdim=False):
    shift = np.max(x[np.isfinite(x)], initial=-1e300) if np.isfinite(x).any() else 0.0
    return np.log(np.sum(np.exp(x - shift), axis=dim, keepdims=keepdim)) + shift


ORDERS = (0, 0.5, 1, 1.5, 2, 3, INF, -INF, -1.5)
# A row of zeros: the gradient is 0 there, and there are no finite differences.
ZERO = value([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], grad=False)
NORMS = (
    *(s(t(5, 7, low=0.5, high=2), p, 1) for p in ORDERS), *(s(t(5, 7), p, 0) for p in (1, 2, 3)),
    *(s(ZERO, p, 1) for p in ORDERS), s(t(5, 7)), s(t(5, 7), 2, 1, True), s(t(3, 4, 5), 3, (0, 2)),
    s(t()), s(t(0)), s(t(3, 0), 2, 1), s(t(3, 2311), 2, 1), s(t(531, 19), 1, 0),
    s(t(17041, grad=False), INF, 0), s(t(4, 3), 2, ()),
)  # fmt: skip

ROWS = [
    # The exponents of 2 and its logarithm round several times.
    row("linalg.vector_norm", *NORMS, ref=vector_norm, tolerance=4),
    row("norm", s(t(5, 7)), s(t(5, 7), "fro", 1), s(t(5, 7), "fro", (0, 1), True), s(t(5, 7), None),
        s(t(3, 4, 5), 1, (0, 2)), s(t(5, 7), 0), s(t(5, 7), INF, 0), s(t()), s(t(0)), ref=norm),
    row("logsumexp", s(t(5, 7), 1), s(t(5, 7), 0, True), s(t(3, 4, 5), (0, -1)), s(t(), 0),
        s(t(0, 3), 0), s(t(3, 0), 0), s(t(5, 7, low=500, high=900), 1),
        s(t(3, 2311), 1), s(t(531, 19), 0), s(t(17041, grad=False), 0),
        s(value([[-INF, -INF], [INF, 1], [-INF, 2], [np.nan, 1]], grad=False), 1), ref=logsumexp),
]  # fmt: skip
