"""Linear algebra on LAPACK: inverse, solve, determinants, Cholesky, singular values.

LAPACK runs on the host: these are the ops that CUDA tensors take through the fallback. Their
gradients are written with ``matmul`` and each other, so they differentiate any number of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.matmul import _adjoint, check_tensor, column, matmul
from tgrad.ops.reduction import with_out
from tgrad.pointwise import broadcast
from tgrad.return_types import slogdet as _SignAndLog

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class LinAlgError(RuntimeError):
    """A matrix that is singular, or not positive-definite, where it must not be."""


LinAlgError.__module__ = "tgrad.linalg"


# ---- checks --------------------------------------------------------------------------------------


def check_lapack(name: str, x: Tensor, argument: str = "A") -> None:
    """Raise RuntimeError unless ``x`` is matrices of float32, float64 or complex."""
    check_tensor(name, argument, x)
    if x.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got {x.ndim}"
        )
    if x.dtype.category < dtypes.FLOAT:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}"
        )
    if x.dtype.itemsize < 4:
        raise NotImplementedError(f"{name}: Low precision dtypes not supported. Got {x.dtype.name}")


def check_square(name: str, x: Tensor) -> None:
    """Raise RuntimeError unless ``x`` is square matrices of float32, float64 or complex."""
    check_lapack(name, x)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by "
            f"{x.shape[-1]} matrices"
        )


def _raise_where(info: Tensor, message: str) -> None:
    """Raise LinAlgError for the first matrix whose ``info`` is not 0; {} becomes that number."""
    found = info.host()
    if not found.any():
        return
    index = np.flatnonzero(found)[0]
    name, _, text = message.partition(": ")
    where = f"(Batch element {index}): " if found.ndim else ""
    raise LinAlgError(f"{name}: {where}{text.format(found.reshape(-1)[index])}")


# ---- inverse and solve ---------------------------------------------------------------------------


@op(spaces=())
def _inv_ex(x: Tensor) -> tuple[Spec, Spec]:
    """(inverse, info): info is 0, or the 1-based pivot that is zero. By LU (LAPACK gesv)."""
    return Spec(x.shape, x.dtype), Spec(x.shape[:-2], dtypes.int32)


@gradient(_inv_ex)
def _(g0, y0):
    # d(A^-1) = -A^-1 dA A^-1
    back = _adjoint(y0)
    return -matmul(back, matmul(g0, back))


def _inverse(name: str, A: Tensor) -> Tensor:
    check_square(name, A)
    y, info = _inv_ex(A)
    _raise_where(
        info,
        f"{name}: The diagonal element {{}} is zero, the inversion could not be completed because "
        "the input matrix is singular.",
    )
    return y


@composite(spaces=("linalg",))
@with_out
def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix.

    Shape: (..., N, N) -> (..., N, N).
    Raises: LinAlgError where a matrix is singular, RuntimeError for other shapes and dtypes.
    """
    return _inverse("linalg.inv", A)


@composite
@with_out
def inverse(input: Tensor) -> Tensor:
    """The inverse of each matrix. See :func:`tgrad.linalg.inv`."""
    return _inverse("linalg.inv", input)


@op(spaces=())
def _solve_ex(x: Tensor, b: Tensor) -> tuple[Spec, Spec]:
    """(X, info) with x X = b for (..., N, N) and (..., N, K) of one batch shape. By LU (gesv)."""
    return Spec(b.shape, b.dtype), Spec(x.shape[:-2], dtypes.int32)


@gradient(_solve_ex)
def _(g0, x, y0, needs):
    # dB = A^-H g, dA = -dB X^H
    db = _solve_ex(_adjoint(x), g0)[0]
    return -matmul(db, _adjoint(y0)) if needs[0] else None, db


def _is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether ``B`` is one right-hand side per matrix rather than matrices of them."""
    return B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])


def _check_system(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Raise RuntimeError unless A X = B (or X A = B) has dtypes and sizes that agree."""
    check_square(name, A)
    check_lapack(name, B, "B")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {A.dtype.name} "
            f"and B of type {B.dtype.name} instead"
        )
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX' if left else 'XA'} = B "
            f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )


def _with_batch(name: str, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Both expanded to one batch shape."""
    batch = broadcast(name, (A.shape[:-2], B.shape[:-2]))
    return A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:])


@composite(spaces=("linalg",))
@with_out
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B where not ``left``.

    Shape: (..., N, N), (..., N, K) -> (..., N, K), batches broadcast; or B (..., N) -> (..., N).
    Raises: LinAlgError where a matrix is singular, RuntimeError for other shapes and dtypes.
    """
    name = "linalg.solve"
    check_square(name, A)
    check_tensor(name, "B", B)
    if not B.ndim:
        raise RuntimeError(f"{name}: The input tensor B must have at least 1 dimension, got 0")
    vector = _is_vector(A, B)
    if vector:
        B = column(B)
    _check_system(name, A, B, left or vector)
    if vector and not left:
        raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported")
    a, b = _with_batch(name, A, B)
    x, info = _solve_ex(a, b) if left else _solve_ex(a.transpose(-1, -2), b.transpose(-1, -2))
    _raise_where(info, f"{name}: The solver failed because the input matrix is singular.")
    x = x if left else x.transpose(-1, -2)
    return x.reshape(*x.shape[:-1]) if vector else x


@op(spaces=())
def _solve_triangular(x: Tensor, b: Tensor, upper: bool, unitriangular: bool) -> Spec:
    """X with x X = b, reading one triangle of x; by substitution (LAPACK trtrs)."""
    return Spec(b.shape, b.dtype)


@gradient(_solve_triangular)
def _(g, x, y, upper, unitriangular, needs):
    db = _solve_triangular(_adjoint(x), g, not upper, unitriangular)
    if not needs[0]:
        return None, db
    offset = int(unitriangular)
    dx = -matmul(db, _adjoint(y))
    return dx.triu(offset) if upper else dx.tril(-offset), db


@composite(spaces=("linalg",))
@with_out
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (X A = B where not ``left``) for triangular A; the other triangle is not read.

    ``unitriangular`` takes the diagonal as ones. Singular matrices give infinities, unchecked.

    Shape: (..., N, N), (..., N, K) -> (..., N, K), batches broadcast.
    Raises: RuntimeError for other shapes and dtypes.
    """
    _check_system("linalg.solve_triangular", A, B, left)
    a, b = _with_batch("linalg.solve_triangular", A, B)
    if left:
        return _solve_triangular(a, b, upper, unitriangular)
    x = _solve_triangular(a.transpose(-1, -2), b.transpose(-1, -2), not upper, unitriangular)
    return x.transpose(-1, -2)


# ---- determinants --------------------------------------------------------------------------------


@op(spaces=("tgrad", "Tensor", "linalg"))
def det(x: Tensor) -> Spec:
    """The determinant of each matrix, by LU (LAPACK getrf).

    Shape: (..., N, N) -> (...).
    Raises: RuntimeError unless matrices are square and of a floating dtype.
    """
    check_square("linalg.det", x)
    return Spec(x.shape[:-2], x.dtype)


def _over_matrices(g: Tensor) -> Tensor:
    """One number per matrix, shaped to multiply its elements."""
    return g.reshape(*g.shape, 1, 1)


@gradient(det)
def _(g, x):
    return _over_matrices(g) * _cofactors(x)


@op(spaces=())
def _cofactors(x: Tensor) -> Spec:
    """det(A) A^-H, the gradient of det: by the SVD, so that singular matrices have it too."""
    return Spec(x.shape, x.dtype)


@gradient(_cofactors)
def _(g, x, y):
    # dC = <dA, A^-H> C - C dA^H A^-H; where A is singular there is no such formula.
    back = _adjoint(_inverse("linalg.det", x))
    trace = (g * back).sum((-2, -1), keepdim=True)
    return trace * y - matmul(y, matmul(_adjoint(g), back))


@op(spaces=())
def _slogdet(x: Tensor) -> tuple[Spec, Spec]:
    """(sign, log |det|) of each matrix, by LU (LAPACK getrf)."""
    return Spec(x.shape[:-2], x.dtype), Spec(x.shape[:-2], x.dtype.to_real())


@gradient(_slogdet)
def _(g1, x):
    # The sign is constant; d log|det A| = trace(A^-1 dA).
    return None if g1 is None else _over_matrices(g1) * _adjoint(_inv_ex(x)[0])


@composite(spaces=("tgrad", "Tensor", "linalg"))
def slogdet(A: Tensor) -> _SignAndLog:
    """(sign, logabsdet) of each matrix: 0 and -inf where it is singular.

    Shape: (..., N, N) -> (...), (...).
    Raises: RuntimeError unless matrices are square and of a floating dtype.
    """
    check_square("linalg.slogdet", A)
    return _SignAndLog(*_slogdet(A))


@composite
def logdet(input: Tensor) -> Tensor:
    """log det of each matrix: -inf where that is 0, NaN where it is negative.

    Shape: (..., N, N) -> (...).
    Raises: RuntimeError unless matrices are square and of a floating dtype.
    """
    check_square("logdet", input)
    sign, log = _slogdet(input)
    return OPS["where"].function(sign < 0, float("nan"), log)


# ---- factorisations ------------------------------------------------------------------------------


@op(spaces=())
def _cholesky_ex(x: Tensor) -> tuple[Spec, Spec]:
    """(L, info) with L L^H = x, reading the lower triangle; info as in LAPACK potrf."""
    return Spec(x.shape, x.dtype), Spec(x.shape[:-2], dtypes.int32)


@gradient(_cholesky_ex)
def _(g0, y0):
    # dA = sym(L^-H phi(L^H g) L^-1), phi the lower triangle with its diagonal halved (Murray 2016,
    # arXiv:1602.07527, equation 10).
    back = _adjoint(y0)
    p = matmul(back, g0.tril())
    p = (p.tril() + p.tril(-1)) * 0.5
    p = _solve_triangular(back, p, True, False)
    p = _adjoint(_solve_triangular(back, _adjoint(p), True, False))
    return (p + _adjoint(p)) * 0.5


@composite(spaces=("tgrad", "Tensor", "linalg"))
@with_out
def cholesky(A: Tensor, upper: bool = False) -> Tensor:
    """L with L L^H = A for symmetric positive-definite A, or U with U^H U = A where ``upper``.

    One triangle is read: the lower, or the upper where ``upper``.

    Shape: (..., N, N) -> (..., N, N).
    Raises: LinAlgError where a matrix is not positive-definite, RuntimeError for other shapes and
    dtypes.
    """
    check_square("linalg.cholesky", A)
    y, info = _cholesky_ex(_adjoint(A) if upper else A)
    _raise_where(
        info,
        "linalg.cholesky: The factorization could not be completed because the input is not "
        "positive-definite (the leading minor of order {} is not positive-definite).",
    )
    return _adjoint(y) if upper else y


@op(spaces=())
def _svd(x: Tensor) -> tuple[Spec, Spec, Spec]:
    """(U, S, V^H), U and V^H with min(M, N) columns and rows; by LAPACK gesdd."""
    *batch, m, n = x.shape
    k = min(m, n)
    return (
        Spec((*batch, m, k), x.dtype),
        Spec((*batch, k), x.dtype.to_real()),
        Spec((*batch, k, n), x.dtype),
    )


@gradient(_svd)
def _(g0, g1, g2, y0, y1, y2):
    # Townsend 2016, "Differentiating the singular value decomposition", for real matrices.
    u, s, vh = y0, y1, y2
    k = s.shape[-1]
    row, col = s.reshape(*s.shape[:-1], 1, k), column(s)
    diagonal = OPS["diag_embed"].function
    inner = None if g1 is None else diagonal(g1)
    if g0 is not None or g2 is not None:
        # s_j^2 - s_i^2, and 1 on the diagonal
        gaps = (row - col) * (row + col) + diagonal(s.detach() * 0 + 1)

        def skew(z):
            return (z - _adjoint(z)) / gaps

        if g0 is not None:
            part = skew(matmul(_adjoint(u), g0)) * row
            inner = part if inner is None else inner + part
        if g2 is not None:
            part = col * skew(matmul(vh, _adjoint(g2)))
            inner = part if inner is None else inner + part
    dx = matmul(u, matmul(inner, vh))
    if g0 is not None and u.shape[-2] > k:
        rest = g0 / row
        dx = dx + matmul(rest - matmul(u, matmul(_adjoint(u), rest)), vh)
    if g2 is not None and vh.shape[-1] > k:
        rest = g2 / col
        dx = dx + matmul(u, rest - matmul(matmul(rest, _adjoint(vh)), vh))
    return dx


@composite(spaces=("linalg",))
@with_out
def svdvals(A: Tensor) -> Tensor:
    """The singular values of each matrix, largest first.

    Shape: (..., M, N) -> (..., min(M, N)).
    Raises: RuntimeError for other shapes and dtypes, LinAlgError for NaN and inf.
    """
    check_lapack("linalg.svdvals", A)
    s = _svd(A)[1]
    if np.isnan(s.host()).any():
        raise LinAlgError(
            "linalg.svd: The algorithm failed to converge because the input matrix contained "
            "non-finite values."
        )
    return s
