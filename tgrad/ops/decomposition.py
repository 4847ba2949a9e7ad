"""Matrix factorisations with vectors, and what is made of them: QR, eigen, SVD, pseudo-inverse.

Like the rest of linear algebra they run on LAPACK, and their gradients are written in ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes, return_types
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.linalg import (
    LinAlgError,
    _adjoint,
    _cholesky_ex,
    _inv_ex,
    _solve_triangular,
    _svd,
    _with_batch,
    check_lapack,
    check_square,
)
from tgrad.ops.matmul import check_tensor, column, matmul
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def _diagonal(x: Tensor) -> Tensor:
    """Vectors as diagonal matrices."""
    return OPS["diag_embed"].function(x)


def _check_finite(name: str, values: Tensor) -> None:
    """Raise LinAlgError where LAPACK gave up, which its kernel shows by NaN."""
    if np.isnan(values.host()).any():
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix contained "
            "non-finite values."
        )


# ---- QR ------------------------------------------------------------------------------------------


@op(spaces=())
def _qr(x: Tensor, complete: bool) -> tuple[Spec, Spec]:
    """(Q, R) with Q R = x, Q^H Q = 1 and R upper triangular; by Householder (LAPACK geqrf)."""
    *batch, m, n = x.shape
    k = m if complete else min(m, n)
    return Spec((*batch, m, k), x.dtype), Spec((*batch, k, n), x.dtype)


@gradient(_qr)
def _(g0, g1, x, y0, y1, complete):
    # With M = R gR^H - gQ^H Q: dA = (gQ + Q (tril(M) + tril(M, -1)^H)) R^-H (Walter & Lehmann 2010,
    # "Algorithmic differentiation of linear algebra functions", 4.2). A wide A = [X Y] has Q and
    # the square part of R from X alone, and R = [U V] with V = Q^H Y (Liao et al. 2019,
    # arXiv:1903.09650).
    m, n = x.shape[-2:]
    if complete and m > n:
        raise RuntimeError(
            "linalg.qr: the gradient of a complete QR needs matrices that are not taller than wide"
        )
    q, r, beside = y0, y1[..., :, : min(m, n)], None
    if m < n and g1 is not None:
        g1, g_v = g1[..., :, :m], g1[..., :, m:]
        beside = matmul(q, g_v)
        more = matmul(x[..., :, m:], _adjoint(g_v))
        g0 = more if g0 is None else g0 + more
    inner = None if g1 is None else matmul(r, _adjoint(g1))
    if g0 is not None:
        turned = matmul(_adjoint(g0), q)
        inner = -turned if inner is None else inner - turned
    assert inner is not None  # one of the two gradients is there
    inner = matmul(q, inner.tril() + _adjoint(inner.tril(-1)))
    inner = inner if g0 is None else g0 + inner
    dx = _adjoint(_solve_triangular(r, _adjoint(inner), True, False))
    if m >= n:
        return dx
    beside = dx.new_zeros((*dx.shape[:-1], n - m)) if beside is None else beside
    return OPS["cat"].function([dx, beside], -1)


@composite(spaces=("linalg",))
@with_out
def linalg_qr(A: Tensor, mode: str = "reduced") -> return_types.linalg_qr:
    """(Q, R) with A = Q R, Q with orthonormal columns, R upper triangular.

    ``mode`` "reduced" gives min(M, N) columns, "complete" all M, "r" an empty Q.

    Shape: (..., M, N) -> (..., M, K), (..., K, N).
    Raises: RuntimeError for another mode, other shapes and dtypes.
    """
    check_lapack("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    q, r = _qr(A, mode == "complete")
    if mode == "r":
        q = A.new_empty((0,))
    return return_types.linalg_qr(q, r)


@composite
def qr(input: Tensor, some: bool = True) -> return_types.qr:
    """(Q, R). See :func:`tgrad.linalg.qr`; ``some`` False is its mode "complete"."""
    check_lapack("linalg.qr", input)
    return return_types.qr(*_qr(input, not some))


# ---- eigenvalues of symmetric matrices -----------------------------------------------------------


@op(spaces=())
def _eigh(x: Tensor) -> tuple[Spec, Spec]:
    """(eigenvalues ascending, eigenvectors), reading the lower triangle; LAPACK syevd."""
    return Spec(x.shape[:-1], x.dtype.to_real()), Spec(x.shape, x.dtype)


@gradient(_eigh)
def _(g0, g1, y0, y1):
    # dA = V (diag(dl) + (V^H dV) / E) V^H, E_ij = l_j - l_i (Giles 2008, "An extended collection of
    # matrix derivative results", 3.1), made symmetric: one triangle stands for both.
    inner = None if g0 is None else _diagonal(g0)
    if g1 is not None:
        row, col = y0.reshape(*y0.shape[:-1], 1, y0.shape[-1]), column(y0)
        gaps = row - col + _diagonal(y0.new_ones(y0.shape))
        part = matmul(_adjoint(y1), g1) / gaps
        part = part - _diagonal(part.diagonal(0, -2, -1))
        inner = part if inner is None else inner + part
    dx = matmul(y1, matmul(inner, _adjoint(y1)))
    return (dx + _adjoint(dx)) * 0.5


def _triangle(name: str, A: Tensor, UPLO: str) -> Tensor:
    """A with its meant triangle below the diagonal."""
    check_square(name, A)
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return A if UPLO.upper() == "L" else _adjoint(A)


@composite(spaces=("linalg",))
@with_out
def eigh(A: Tensor, UPLO: str = "L") -> return_types.linalg_eigh:
    """(eigenvalues in ascending order, eigenvectors as columns) of each symmetric matrix.

    One triangle is read, the lower ("L") or the upper. The gradient by the eigenvectors is finite
    only where the eigenvalues differ.

    Shape: (..., N, N) -> (..., N), (..., N, N).
    Raises: LinAlgError for NaN and inf, RuntimeError for other shapes and dtypes.
    """
    values, vectors = _eigh(_triangle("linalg.eigh", A, UPLO))
    _check_finite("linalg.eigh", values)
    return return_types.linalg_eigh(values, vectors)


@composite(spaces=("linalg",))
@with_out
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of :func:`eigh` alone."""
    values, _ = _eigh(_triangle("linalg.eigvalsh", A, UPLO))
    _check_finite("linalg.eigvalsh", values)
    return values


# ---- SVD -----------------------------------------------------------------------------------------


@op(spaces=())
def _svd_full(x: Tensor) -> tuple[Spec, Spec, Spec]:
    """(U, S, V^H) with square U and V^H; by LAPACK gesdd."""
    *batch, m, n = x.shape
    return (
        Spec((*batch, m, m), x.dtype),
        Spec((*batch, min(m, n)), x.dtype.to_real()),
        Spec((*batch, n, n), x.dtype),
    )


@gradient(_svd_full)
def _(g0, g1, g2, y0, y2):
    if g0 is not None or g2 is not None:
        raise RuntimeError(
            "linalg.svd: U and Vh of full_matrices=True have no gradient, since they are not "
            "unique; use full_matrices=False"
        )
    k = g1.shape[-1]
    return matmul(y0[..., :, :k] * g1.reshape(*g1.shape[:-1], 1, k), y2[..., :k, :])


@composite(spaces=("linalg",))
@with_out
def linalg_svd(A: Tensor, full_matrices: bool = True) -> return_types.linalg_svd:
    """(U, S, Vh) with A = U diag(S) Vh, S descending, U and V with orthonormal columns.

    The gradient by U and Vh needs ``full_matrices`` False where A is not square, and singular
    values that differ.

    Shape: (..., M, N) -> (..., M, M), (..., K), (..., N, N) with K = min(M, N); without
    ``full_matrices`` (..., M, K), (..., K), (..., K, N).
    Raises: LinAlgError for NaN and inf, RuntimeError for other shapes and dtypes.
    """
    check_lapack("linalg.svd", A)
    full = full_matrices and A.shape[-1] != A.shape[-2]
    u, s, vh = _svd_full(A) if full else _svd(A)
    _check_finite("linalg.svd", s)
    return return_types.linalg_svd(u, s, vh)


@composite
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.svd:
    """(U, S, V) with input = U diag(S) V^H. See :func:`tgrad.linalg.svd`.

    ``some`` False gives square U and V; without ``compute_uv`` both are zeros.
    """
    check_lapack("linalg.svd", input)
    if compute_uv:
        u, s, vh = linalg_svd(input, not some)
        return return_types.svd(u, s, _adjoint(vh))
    s = _svd(input)[1]
    _check_finite("linalg.svd", s)
    *batch, m, n = input.shape
    return return_types.svd(input.new_zeros((*batch, m, m)), s, input.new_zeros((*batch, n, n)))


# ---- pseudo-inverse, rank, least squares ---------------------------------------------------------


@op(spaces=())
def _pinv(x: Tensor, atol: Tensor, rtol: Tensor, hermitian: bool) -> Spec:
    """The Moore-Penrose inverse: singular values up to max(atol, rtol * largest) count as 0."""
    return Spec((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


@gradient(_pinv, "x")
def _(g, x, y):
    return _pinv_gradient(g, x, y)


def _pinv_gradient(g: Tensor, x: Tensor, p: Tensor) -> Tensor:
    """The gradient of A by that of its pseudo-inverse P.

    From dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P (Golub & Pereyra 1973, "The
    differentiation of pseudo-inverses and nonlinear least squares problems", theorem 4.3).
    """
    ph, gh = _adjoint(p), _adjoint(g)
    left = matmul(gh, matmul(p, ph))  # (M, N)
    right = matmul(matmul(ph, p), gh)  # (M, N)
    return (
        left
        - matmul(x, matmul(p, left))
        + right
        - matmul(matmul(right, p), x)
        - matmul(ph, matmul(g, ph))
    )


def _tolerances(
    A: Tensor, atol: Tensor | float | None, rtol: Tensor | float | None
) -> tuple[Tensor, Tensor]:
    """Both as tensors; ``rtol`` is max(M, N) eps unless either is given."""
    real = A.dtype.to_real()
    if rtol is None:
        given = atol is not None and bool((A.new_tensor(0.0, dtype=real) + atol).gt(0).any())
        rtol = 0.0 if given else max(A.shape[-2:]) * dtypes.finfo(real).eps
    zero = A.detach().new_zeros((), dtype=real)
    made = [zero + (0.0 if t is None else t) for t in (atol, rtol)]
    return made[0], made[1]


@composite(spaces=("linalg",))
@with_out
def pinv(
    A: Tensor,
    rcond: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """The Moore-Penrose inverse of each matrix.

    Singular values up to max(atol, rtol * the largest) count as 0; ``rtol``, of old ``rcond``, is
    max(M, N) eps where neither is given. ``hermitian`` goes by eigenvalues.

    Shape: (..., M, N) -> (..., N, M). Raises: RuntimeError for other shapes and dtypes.
    """
    check_lapack("linalg.pinv", A)
    if hermitian:
        check_square("linalg.pinv", A)
    atol, rtol = _tolerances(A, atol, rcond if rtol is None else rtol)
    return _pinv(A, atol, rtol, hermitian)


@composite
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse. See :func:`tgrad.linalg.pinv`."""
    return pinv(input, rcond)


@composite(spaces=("linalg",))
@with_out
def matrix_rank(
    A: Tensor,
    tol: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """How many singular values (sizes of eigenvalues) exceed max(atol, rtol * the largest).

    Shape: (..., M, N) -> (...). dtype: int64. Raises: as :func:`pinv`.
    """
    check_lapack("linalg.matrix_rank", A)
    A = A.detach()
    if tol is not None:
        atol, rtol = tol, 0.0
    if hermitian:
        check_square("linalg.matrix_rank", A)
        s = _eigh(A)[0].abs()
    else:
        s = _svd(A)[1]
    absolute, relative = _tolerances(A, atol, rtol)
    if not s.shape[-1]:
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    bound = OPS["maximum"].function(absolute, relative * s.amax(-1))
    return (s > column(bound)).sum(-1)


@op(spaces=())
def _lstsq(x: Tensor, b: Tensor, rcond: float, driver: str) -> tuple[Spec, Spec, Spec]:
    """(X, rank, singular values or nothing) minimising |x X - b|; LAPACK gels, gelsy, gelsd."""
    *batch, m, n = x.shape
    values = min(m, n) if driver in ("gelsd", "gelss") else 0
    return (
        Spec((*batch, n, b.shape[-1]), x.dtype),
        Spec(tuple(batch), dtypes.int64),
        Spec((*batch, values), x.dtype.to_real()),
    )


@gradient(_lstsq)
def _(g0, x, b, y0, needs):
    # X = P B with P the pseudo-inverse.
    p = pinv(x)
    db = matmul(_adjoint(p), g0)
    if not needs[0]:
        return None, db
    return _pinv_gradient(matmul(g0, _adjoint(b)), x, p), db


@composite(spaces=("linalg",))
def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> return_types.linalg_lstsq:
    """X that minimises the Frobenius norm of A X - B, and how well it does.

    Returns (solution, residuals, rank, singular_values): residuals are the squared column norms of
    A X - B where A is tall and of full rank, else empty; singular values come from the drivers
    "gelsd" and "gelss", the rank from all but "gels", which takes full rank for granted. The
    driver is "gelsy" unless given; on CUDA PyTorch has "gels" alone.

    Shape: (..., M, N), (..., M, K) -> (..., N, K); B may be (..., M), then (..., N).
    Raises: RuntimeError for another driver, other shapes and dtypes.
    """
    name = "linalg.lstsq"
    check_lapack(name, A)
    check_tensor(name, "B", B)
    driver = "gelsy" if driver is None else driver
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got {driver}"
        )
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got {A.dtype.name} and "
            f"{B.dtype.name}"
        )
    if not B.ndim:
        raise RuntimeError(f"{name}: other must have at least 1 dimension, but got 0")
    vector = A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape
    b = column(B) if vector else B
    if b.ndim < 2 or A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size(-{1 if vector else 2}), got "
            f"{list(A.shape)} and {list(B.shape)}"
        )
    A, b = _with_batch(name, A, b)
    m, n = A.shape[-2:]
    eps = dtypes.finfo(A.dtype.to_real()).eps
    limit = eps * max(m, n) if rcond is None else float(rcond)
    x, rank, values = _lstsq(A, b, limit, driver)
    full = driver == "gels" or bool((rank == n).all())
    left = (matmul(A, x) - b).abs().square().sum(-2) if m > n and full else A.new_empty((0,))
    if driver == "gels":
        rank = rank.new_empty((0,))
    if vector:
        x = x.reshape(*x.shape[:-1])
    values = values if values.shape[-1] else values.new_empty((0,))
    return return_types.linalg_lstsq(x, left, rank, values)


# ---- factorisations that report instead of raising -----------------------------------------------


@composite(spaces=("linalg",))
@with_out
def inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.linalg_inv_ex:
    """(inverse, info) of each matrix; ``info`` is 0, or the 1-based pivot that is zero.

    Shape: (..., N, N) -> (..., N, N), (...) int32. Raises: LinAlgError with ``check_errors``.
    """
    if check_errors:
        OPS["inv"].function(A)
    check_square("linalg.inv_ex", A)
    return return_types.linalg_inv_ex(*_inv_ex(A))


@composite(spaces=("linalg",))
@with_out
def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False
) -> return_types.linalg_cholesky_ex:
    """(L, info) of each matrix; ``info`` is 0, or the order of the minor that is not positive.

    Shape: (..., N, N) -> (..., N, N), (...) int32. Raises: LinAlgError with ``check_errors``.
    """
    if check_errors:
        OPS["cholesky"].function(A, upper)
    check_square("linalg.cholesky_ex", A)
    y, info = _cholesky_ex(_adjoint(A) if upper else A)
    return return_types.linalg_cholesky_ex(_adjoint(y) if upper else y, info)
