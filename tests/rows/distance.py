"""Rows of distances, vector products and covariances."""

import numpy as np

from tests.table import i, row, s, t, value


def norm(d, p, axis=None):
    if p == 0:
        return (d != 0).sum(axis).astype(np.float64)
    if np.isinf(p):
        return np.abs(d).max(axis)
    return (np.abs(d) ** p).sum(axis) ** (1 / p)


def cdist(a, b, p=2.0, compute_mode=None):
    return norm(a[..., :, None, :] - b[..., None, :, :], p, -1)


def renorm(x, p, dim, maxnorm):
    rows = np.moveaxis(x, dim, 0).reshape(x.shape[dim], -1)
    n = norm(rows, p, 1)
    scale = np.where(n > maxnorm, maxnorm / (n + 1e-7), 1.0)
    return x * scale.reshape([-1 if k == dim % x.ndim else 1 for k in range(x.ndim)])


def cross(a, b, dim=None):
    axis = next(k for k, n in enumerate(a.shape) if n == 3) if dim is None else dim
    a, b = np.broadcast_arrays(a, b)
    return np.cross(a, b, axis=axis)


def cov(x, correction=1, fweights=None, aweights=None):
    return np.cov(x, ddof=correction, fweights=fweights, aweights=aweights)


def cosine(a, b, dim=1, eps=1e-8):
    a, b = np.broadcast_arrays(a, b)
    sizes = [np.maximum(np.sqrt((x * x).sum(dim, keepdims=True)), eps) for x in (a, b)]
    return (a / sizes[0] * (b / sizes[1])).sum(dim)


def pdist(x, p=2.0):
    first, second = np.triu_indices(len(x), 1)
    return norm(x[first] - x[second], p, -1)


def normalize(x, p=2.0, dim=1, eps=1e-12):
    n = (np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p)
    return x / np.maximum(n, eps)


BY_MATMUL = "use_mm_for_euclid_dist"
ROWS = [
    row("dist", s(t(3, 4), t(4)), s(t(5), t(5), 1), s(t(5), t(5), 3.5), s(t(5), t(5), float("inf")),
        ref=lambda a, b, p=2: norm(a - b, p)),
    row(
        "cdist", s(t(3, 4), t(2, 4)), s(t(2, 1, 3, 2), t(3, 4, 2)), s(t(3, 2), t(2, 2), 1.0),
        s(t(3, 2), t(2, 2), 3.0), s(t(3, 2), t(2, 2), float("inf")),
        s(t(3, 4), t(2, 4), 2.0, BY_MATMUL), s(t(27, 3), t(2, 3)), s(t(0, 2), t(3, 2)),
        ref=cdist, tolerance=4.0,  # |a|^2 + |b|^2 - 2 a.b cancels
    ),
    row("renorm", s(t(3, 4), 2, 0, 1.0), s(t(2, 3, 4), 1, -1, 2.5), ref=renorm),
    row("linalg.vecdot", s(t(3, 4), t(3, 4)), s(t(3, 4), t(4)), s(t(3, 4), t(3, 1), dim=0),
        ref=lambda a, b, dim=-1: (a * b).sum(dim)),
    row("cross", s(t(3), t(3)), s(t(2, 3), t(2, 3)), s(t(4, 3, 5), t(4, 3, 5), 1), s(i(3), i(3)),
        ref=cross),
    row("linalg.cross", s(t(2, 3), t(1, 3)), s(t(3, 2), t(3, 2), dim=0),
        ref=lambda a, b, dim=-1: cross(a, b, dim), covers=["linalg_cross"]),
    row(
        "cov", s(t(3, 5)), s(t(6)), s(t(2, 5), correction=0),
        s(t(2, 4), fweights=i(4, low=1, high=5)),
        s(t(2, 4), aweights=t(4, low=0.5, high=2.0, grad=False)),
        s(t(2, 3), fweights=i(3, low=1, high=4), aweights=t(3, low=0.5, high=2.0, grad=False)),
        s(value([[1, 2, 3], [3, 2, 1]], "int")),
        ref=cov, dtypes=("float32",),
    ),
    row("corrcoef", s(t(3, 5)), s(t(4, grad=False)), ref=np.corrcoef, dtypes=("float32",)),
    row("cosine_similarity", s(t(3, 4), t(3, 4)), s(t(2, 3, 4), t(3, 1), 1), s(t(5), t(5), 0),
        ref=cosine),
    row("pairwise_distance", s(t(3, 4), t(3, 4)), s(t(4), t(4), 1.0),
        s(t(2, 3), t(3), keepdim=True),
        ref=lambda a, b, p=2.0, keepdim=False: (lambda y: y[..., None] if keepdim else y)(
            norm(a - b + 1e-6, p, -1))),
    row("pdist", s(t(5, 3)), s(t(4, 2), 1.0), s(t(1, 3)), ref=pdist),
    row("nn.functional.normalize", s(t(3, 4)), s(t(2, 3, 4), 3.0, -1), s(t(2, 3, 4), 2.0, (0, 2)),
        ref=normalize),
]  # fmt: skip
