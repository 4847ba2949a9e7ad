"""Distances, and products of vectors with vectors along a dim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import OPS, composite, gradient
from tgrad.ops.matmul import check_tensor, matmul
from tgrad.ops.norms import vector_norm
from tgrad.ops.reduction import with_out
from tgrad.ops.statistics import std_backward
from tgrad.ops.view import normalize_dim
from tgrad.pointwise import broadcast, pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

MATMUL_ROWS = 25  # from here on Euclidean distances of two sets go by one matrix product


@composite
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other, over all elements. Shape: broadcasts -> ()."""
    return vector_norm(input - other, p)


@pointwise(spaces=(), accepts="float")
def _root(a, b, c):
    """sqrt(max(a + b - c, 0)), whose gradient at 0 is 0."""
    return xp.sqrt(xp.maximum(a + b - c, 0))


@gradient(_root)
def _(g, y):
    d = std_backward(g, y)
    return d, d, -d


@composite
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The p-norm of the difference of each row of ``x1`` and each row of ``x2``.

    For p = 2 and more than 25 rows in either (or with ``compute_mode``
    "use_mm_for_euclid_dist") by |a|^2 + |b|^2 - 2 a.b, one matrix product, which loses digits where
    rows nearly agree; "donot_use_mm_for_euclid_dist" keeps to differences.

    Shape: (..., P, M), (..., R, M) -> (..., P, R), batches broadcast.
    Raises: RuntimeError for fewer than 2 dims, unequal M, p < 0 or dtypes that are not floating.
    """
    for k, x in enumerate((x1, x2), 1):
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, X{k} got: {x.ndim}D")
        if not x.dtype.is_floating_point:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, X{k} got: {x.dtype.name}"
            )
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    modes = {
        None: None,
        "use_mm_for_euclid_dist_if_necessary": None,
        "use_mm_for_euclid_dist": True,
        "donot_use_mm_for_euclid_dist": False,
    }
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    by_matmul = modes[compute_mode]
    if by_matmul is None:
        by_matmul = x1.shape[-2] > MATMUL_ROWS or x2.shape[-2] > MATMUL_ROWS
    if p == 2 and by_matmul and x1.shape[-1]:
        a, b = x1.square().sum(-1, keepdim=True), x2.square().sum(-1, keepdim=True)
        return _root(a, b.transpose(-1, -2), matmul(x1 * 2, x2.transpose(-1, -2)))
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@composite(inplace=True)
@with_out
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along ``dim``, each scaled down where its p-norm exceeds ``maxnorm``.

    Raises: RuntimeError unless p and maxnorm are not negative and the input has 2 dims.
    """
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    d = normalize_dim("renorm", dim, input.ndim)
    others = tuple(k for k in range(input.ndim) if k != d)
    norm = vector_norm(input, p, others, keepdim=True)
    scale = OPS["where"].function(norm > maxnorm, maxnorm / (norm + 1e-7), 1.0)
    return input * scale.to(input.dtype)


# ---- products ------------------------------------------------------------------------------------


@composite(spaces=("linalg",))
@with_out
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """sum(conj(x) * y) along ``dim``. Shape: (..., N), (..., N) -> (...), broadcast."""
    check_tensor("linalg.vecdot", "x", x)
    check_tensor("linalg.vecdot", "y", y)
    x = x.conj() if x.dtype.is_complex else x
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, got {x.dtype.name} and "
            f"{y.dtype.name}"
        )
    return (x * y).sum(dim)


def _cross(name: str, x: Tensor, y: Tensor, dim: int) -> Tensor:
    if x.ndim != y.ndim:
        raise RuntimeError(
            f"{name}: inputs must have the same number of dimensions, got {x.ndim} and {y.ndim}"
        )
    d = normalize_dim(name, dim, x.ndim)
    if x.shape[d] != 3 or y.shape[d] != 3:
        raise RuntimeError(
            f"{name}: inputs dimension {dim} must have length 3. Got {x.shape[d]} and {y.shape[d]}"
        )
    shape = broadcast(name, (x.shape, y.shape))
    x, y = x.expand(shape), y.expand(shape)
    return x.roll(-1, d) * y.roll(-2, d) - x.roll(-2, d) * y.roll(-1, d)


@composite(spaces=("linalg",))
@with_out
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along ``dim``, whose size is 3. Shape: broadcasts.

    Raises: RuntimeError for another size there, or another number of dims.
    """
    return _cross("linalg.cross", input, other, dim)


@composite
@with_out
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along ``dim``, by default the first of size 3. See ``linalg.cross``."""
    if dim is None:
        dim = next((k for k, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"no dimension of size 3 in input, got {list(input.shape)}")
    return _cross("linalg.cross", input, other, dim)


# ---- covariance ----------------------------------------------------------------------------------


def _weights(name: str, w: Tensor, count: int, integral: bool) -> Tensor:
    if w.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions")
    right = w.dtype.category < dtypes.FLOAT if integral else w.dtype.is_floating_point
    if not right or w.dtype is dtypes.bool_:
        kind = "integral" if integral else "floating point"
        raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {w.dtype.name}")
    if w.numel() != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the "
            f"input, got {w.numel()} != {count}"
        )
    if w.numel() and bool((w < 0).any()):
        raise RuntimeError(f"cov(): {name} cannot be negative")
    return w.reshape(-1)


@composite
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariances of variables in rows, observations in columns.

    sum_k w_k (x_ik - mean_i)(x_jk - mean_j) / (sum w - correction sum(w a) / sum w), w the product
    of the counts ``fweights`` and the reliabilities a = ``aweights``.

    Shape: (V, N) -> (V, V); (N) -> ().
    Raises: RuntimeError for more than 2 dims, bool, or weights that do not fit.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    if x.dtype.category < dtypes.FLOAT:
        x = x.to(dtypes.get_default_dtype())
    count = x.shape[1]
    w = None if fweights is None else _weights("fweights", fweights, count, True)
    if aweights is not None:
        a = _weights("aweights", aweights, count, False)
        w = a if w is None else w * a
    if w is None:
        total, mean, free = count, x.mean(1, keepdim=True), float(max(count - correction, 0))
    else:
        total = w.sum()
        mean = (x * w).sum(1, keepdim=True) / total
        share = 1.0 if aweights is None else (w * aweights.reshape(-1)).sum() / total
        free = (total - correction * share).clamp(min=0)
    centred = x - mean
    weighted = centred if w is None else centred * w
    weighted = weighted.conj() if weighted.dtype.is_complex else weighted
    c = matmul(centred, weighted.transpose(0, 1).to(centred.dtype))
    c = c * (1 / free if free else math.inf) if isinstance(free, float) else c / free
    return c.reshape(()) if input.ndim < 2 else c


@composite
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables in rows: :func:`cov` over both standard deviations.

    Shape: (V, N) -> (V, V); (N) -> (). Raises: RuntimeError for more than 2 dims.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = cov(input)
    if not c.ndim:
        return c / c
    deviation = c.diagonal().sqrt()
    c = c / deviation.reshape(-1, 1) / deviation
    return c if c.dtype.is_complex else c.clamp(-1, 1)


# ---- rows of two matrices ------------------------------------------------------------------------

ROWS = ("nn.functional",)


@composite(spaces=("tgrad", "nn.functional"))
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1.x2 / (max(|x1|, eps) max(|x2|, eps)) along ``dim``. Shape: broadcasts, without ``dim``.

    Raises: RuntimeError unless the common dtype is floating, IndexError for ``dim``.
    """
    common = dtypes.promote_types(x1.dtype, x2.dtype)
    if not common.is_floating_point:
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {common.name}"
        )
    shape = broadcast("cosine_similarity", (x1.shape, x2.shape))
    d = normalize_dim("cosine_similarity", dim, len(shape))
    x1, x2 = x1.to(common).expand(shape), x2.to(common).expand(shape)
    lengths = [vector_norm(x, 2, d, keepdim=True).clamp_min(eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(d)


@composite(spaces=("tgrad", "nn.functional"))
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dim. Shape: (..., D), (..., D) -> (...)."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim=keepdim)


@composite(spaces=("tgrad", "nn.functional"))
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm of the difference of every two rows, in the order of the upper triangle.

    Shape: (N, D) -> (N (N - 1) / 2). Raises: RuntimeError for other ranks and dtypes, or p < 0.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.dtype.is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    n = input.shape[0]
    first, second = np.triu_indices(n, 1)
    index = [input.new_tensor(at, dtype=dtypes.int64) for at in (first, second)]
    return vector_norm(input[index[0]] - input[index[1]], p, -1)


@composite(spaces=ROWS)
def normalize(
    input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12
) -> Tensor:
    """input / max(|input|_p, eps) along ``dim``. Shape: any."""
    return input / vector_norm(input, p, dim, keepdim=True).clamp_min(eps)
