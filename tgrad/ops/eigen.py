"""Eigenvalues of any matrices, and the symmetric factorisation L D L^H."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes, return_types
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.linalg import (
    _adjoint,
    _check_system,
    _raise_where,
    _solve_ex,
    _with_batch,
    check_square,
)
from tgrad.ops.matmul import column, matmul
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _eig(x: Tensor) -> tuple[Spec, Spec]:
    """(eigenvalues, eigenvectors as columns of length 1), complex; LAPACK geev."""
    kind = dtypes.complex64 if x.dtype.to_real() is dtypes.float32 else dtypes.complex128
    return Spec(x.shape[:-1], kind), Spec(x.shape, kind)


@gradient(_eig)
def _(g0, g1, x_spec, y0, y1):
    # dA = V^-H (diag(dl) + (V^H gV - V^H V diag(Re(V^H gV))) / conj(E)) V^H, E_ij = l_j - l_i with
    # ones on the diagonal: columns of V have length 1 (Boeddeker et al. 2017, arXiv:1701.00392).
    back = _adjoint(y1)
    inner = None if g0 is None else _diagonal(g0)
    if g1 is not None:
        row, col = y0.reshape(*y0.shape[:-1], 1, y0.shape[-1]), column(y0)
        gaps = (row - col).conj()
        turned = matmul(back, g1)
        kept = turned.diagonal(0, -2, -1).real
        part = turned - matmul(back, y1) * kept.reshape(*kept.shape[:-1], 1, kept.shape[-1])
        eye = _diagonal(y0.detach().new_ones(y0.shape))
        part = part / (gaps + eye) * (1 - eye)
        inner = part if inner is None else inner + part
    dx = _solve_ex(back, matmul(inner, back))[0]
    return dx if x_spec.dtype.is_complex else dx.real


def _diagonal(x: Tensor) -> Tensor:
    return OPS["diag_embed"].function(x)


def _pairs(name: str, A: Tensor) -> tuple[Tensor, Tensor]:
    check_square(name, A)
    values, vectors = _eig(A)
    if np.isnan(values.host()).any():
        raise RuntimeError(f"{name}: input tensor should not contain infs or NaNs.")
    return values, vectors


@composite(spaces=("linalg",))
@with_out
def linalg_eig(A: Tensor) -> return_types.linalg_eig:
    """(eigenvalues, eigenvectors) with A V = V diag(L), complex whatever A is, in LAPACK's order.

    Eigenvectors are columns of length 1 and any phase; a gradient that depends on the phase means
    nothing. Complex tensors live on the CPU.
    Shape: (..., N, N) -> (..., N), (..., N, N).
    Raises: RuntimeError for NaN and inf, other shapes and dtypes.
    """
    return return_types.linalg_eig(*_pairs("linalg.eig", A))


@composite(spaces=("linalg",))
@with_out
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of :func:`tgrad.linalg.eig` alone."""
    return _pairs("linalg.eigvals", A)[0]


# ---- L D L^H -------------------------------------------------------------------------------------


@op(spaces=())
def _ldl(x: Tensor, hermitian: bool) -> tuple[Spec, Spec, Spec]:
    """(LD, pivots, info) from the lower triangle, by Bunch and Kaufman (LAPACK sytrf, hetrf)."""
    return (Spec(x.shape, x.dtype), Spec(x.shape[:-1], dtypes.int32),
            Spec(x.shape[:-2], dtypes.int32))  # fmt: skip


@op(spaces=())
def _ldl_solve(x: Tensor, pivots: Tensor, b: Tensor, hermitian: bool) -> Spec:
    """X with A X = b from :func:`_ldl`; LAPACK sytrs, hetrs."""
    return Spec(b.shape, b.dtype)


@gradient(_ldl_solve, "b")
def _(g, x, pivots, hermitian):
    if x.dtype.is_complex and not hermitian:  # A^H = conj(A)
        return _ldl_solve(x.conj(), pivots, g, hermitian)
    return _ldl_solve(x, pivots, g, hermitian)


@composite(spaces=("linalg",))
@with_out
def ldl_factor_ex(
    A: Tensor, *, hermitian: bool = False, check_errors: bool = False
) -> return_types.linalg_ldl_factor_ex:
    """(LD, pivots, info) of each symmetric matrix, or ``hermitian`` one, in LAPACK's packed form.

    The lower triangle is read; D has blocks of 1 or 2, marked by pivots below 0. Not
    differentiable, as in PyTorch. Source: Bunch & Kaufman 1977.
    Shape: (..., N, N) -> (..., N, N), (..., N) int32, (...) int32: 0, or a block that is singular.
    Raises: LinAlgError with ``check_errors``, RuntimeError for other shapes and dtypes.
    """
    check_square("linalg.ldl_factor_ex", A)
    found = _ldl(A.detach(), hermitian)
    if check_errors:
        _raise_where(found[2], "linalg.ldl_factor_ex: The diagonal block {} is singular.")
    return return_types.linalg_ldl_factor_ex(*found)


@composite(spaces=("linalg",))
@with_out
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> return_types.linalg_ldl_factor:
    """(LD, pivots) of :func:`ldl_factor_ex`. Raises: LinAlgError for a singular block."""
    check_square("linalg.ldl_factor", A)
    data, pivots, info = _ldl(A.detach(), hermitian)
    _raise_where(info, "linalg.ldl_factor: The diagonal block {} is singular.")
    return return_types.linalg_ldl_factor(data, pivots)


@composite(spaces=("linalg",))
@with_out
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B from the factors of :func:`ldl_factor`. The gradient is that of B.

    Shape: (..., N, N), (..., N), (..., N, K) -> (..., N, K), batches broadcast.
    Raises: RuntimeError for other shapes and dtypes.
    """
    name = "linalg.ldl_solve"
    _check_system(name, LD, B, True)
    if pivots.dtype is not dtypes.int32 or tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(
            f"{name}: expected pivots of shape {list(LD.shape[:-1])} and dtype int32, got "
            f"{list(pivots.shape)} and {pivots.dtype.name}"
        )
    a, b = _with_batch(name, LD.detach(), B)
    return _ldl_solve(a, pivots.expand(a.shape[:-1]), b, hermitian)
