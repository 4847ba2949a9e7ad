"""LU with row exchanges, and systems solved by it.

LAPACK's getrf on the host; what is made of the factors is ops, with their gradients.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes, return_types
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.linalg import (
    _adjoint,
    _check_system,
    _raise_where,
    _solve_triangular,
    _with_batch,
    check_lapack,
    check_square,
)
from tgrad.ops.matmul import check_tensor, column, matmul
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _lu(x: Tensor) -> tuple[Spec, Spec, Spec]:
    """(LU, pivots, info): both factors in one matrix, L without its ones; LAPACK getrf.

    Pivot i is the 1-based row that row i was exchanged with, one after the other; info is 0 or the
    1-based pivot that is zero.
    """
    *batch, m, n = x.shape
    pivots = Spec((*batch, min(m, n)), dtypes.int32)
    return Spec(x.shape, x.dtype), pivots, Spec(tuple(batch), dtypes.int32)


@gradient(_lu)
def _(g0, y0, y1):
    # A = P L U. With square factors dA = P L^-H (tril(L^H gL, -1) + triu(gU U^H)) U^-H. Rows of L
    # below the square are A2 U^-1, columns of U beside it L^-1 A2: they pass their gradients on to
    # A2 and to the square ones (de Hoog, Anderssen & Lukas 2011, "Differentiation of matrix
    # functionals using triangular factorization").
    m, n = y0.shape[-2:]
    k = min(m, n)
    square = y0[..., :k, :k]
    low, up = y0[..., k:, :], y0[..., :, k:]  # one of them is empty
    g_l, g_u = g0[..., :k, :k].tril(-1), g0[..., :k, :k].triu()
    parts = []
    if m > n:
        rest = _divided(g0[..., k:, :], square)  # gL2 U^-H
        g_u = g_u - matmul(_adjoint(low), rest)
        parts = [rest]
    if m < n:
        rest = _solve_triangular(_adjoint(square), g0[..., :, k:], True, True)  # L^-H gU2
        g_l = g_l - matmul(rest, _adjoint(up))
        parts = [rest]
    lower = square.tril(-1) + _eye(square)
    inner = matmul(_adjoint(lower), g_l).tril(-1) + matmul(g_u, _adjoint(square.triu())).triu()
    dx = _divided(_solve_triangular(_adjoint(square), inner, True, True), square)
    if parts:
        dx = OPS["cat"].function([dx, *parts], -2 if m > n else -1)
    return matmul(_permutation(y1, m, dx.dtype), dx)


def _divided(x: Tensor, square: Tensor) -> Tensor:
    """x U^-H for the U of ``square``."""
    return _adjoint(_solve_triangular(square, _adjoint(x), True, False))


def _eye(x: Tensor) -> Tensor:
    """The identity like the square matrices x, outside any graph."""
    return OPS["diag_embed"].function(x.detach().new_ones(x.shape[:-1]))


def _permutation(pivots: Tensor, m: int, dtype: dtypes.dtype) -> Tensor:
    """P with A = P (L U): the exchanges of LAPACK done to the rows of the identity, on the host."""
    swaps = pivots.host()
    flat = swaps.reshape(math.prod(swaps.shape[:-1]), swaps.shape[-1])
    order = np.tile(np.arange(m), (len(flat), 1))
    rows = np.arange(len(flat))
    for i in range(flat.shape[1]):
        j = flat[:, i] - 1
        order[rows, i], order[rows, j] = order[rows, j], order[rows, i].copy()
    p = np.zeros((len(flat), m, m), bool)
    p[rows[:, None], order, np.arange(m)] = True
    shape = (*pivots.shape[:-1], m, m)
    return pivots.new_tensor(p.reshape(shape), dtype=dtypes.bool_).to(dtype)


def _no_pivots(pivot: bool) -> None:
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")


def _check_pivots(name: str, info: Tensor) -> None:
    _raise_where(
        info,
        f"{name}: U[{{0}},{{0}}] is zero and using it on lu_solve would result in a division by "
        "zero. If you still want to perform the factorization, consider calling linalg.lu(A, "
        "pivot) or linalg.lu_factor_ex(A, pivot)",
    )


@composite(spaces=("linalg",))
@with_out
def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> return_types.linalg_lu_factor_ex:
    """(LU, pivots, info) of each matrix: U above and on the diagonal, L below, its ones left out.

    Shape: (..., M, N) -> (..., M, N), (..., min(M, N)) int32, (...) int32: 0, or the 1-based pivot
    that is zero.
    Raises: RuntimeError without ``pivot``, LinAlgError with ``check_errors``.
    """
    check_lapack("linalg.lu_factor_ex", A)
    _no_pivots(pivot)
    lu, pivots, info = _lu(A)
    if check_errors:
        _check_pivots("linalg.lu_factor_ex", info)
    return return_types.linalg_lu_factor_ex(lu, pivots, info)


@composite(spaces=("linalg",))
@with_out
def lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu_factor:
    """(LU, pivots) of :func:`lu_factor_ex`. Raises: LinAlgError for a pivot that is zero."""
    check_lapack("linalg.lu_factor", A)
    _no_pivots(pivot)
    lu, pivots, info = _lu(A)
    _check_pivots("linalg.lu_factor", info)
    return return_types.linalg_lu_factor(lu, pivots)


@composite(spaces=("tgrad", "Tensor"))
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """(LU, pivots), with ``get_infos`` (LU, pivots, info). See :func:`tgrad.linalg.lu_factor`."""
    if get_infos:
        return tuple(lu_factor_ex(A, pivot=pivot))
    return tuple(lu_factor(A, pivot=pivot))


@composite
@with_out
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> return_types.lu_unpack:
    """(P, L, U) of what :func:`tgrad.linalg.lu_factor` returns; parts not asked for are empty.

    Shape: (..., M, N), (..., K) -> (..., M, M), (..., M, K), (..., K, N), K = min(M, N).
    Raises: RuntimeError for pivots that are not int32 or of another length.
    """
    check_lapack("lu_unpack", LU_data, "LU_data")
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    if unpack_pivots:
        if LU_pivots.dtype is not dtypes.int32:
            raise RuntimeError(
                "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
                f"dtype, got {LU_pivots.dtype.name}"
            )
        if tuple(LU_pivots.shape) != (*LU_data.shape[:-2], k):
            raise RuntimeError(
                f"lu_unpack: expected pivots of shape {[*LU_data.shape[:-2], k]}, got "
                f"{list(LU_pivots.shape)}"
            )
    none = LU_data.new_empty((0,))
    p = _permutation(LU_pivots, m, LU_data.dtype) if unpack_pivots else none
    if not unpack_data:
        return return_types.lu_unpack(p, none, none)
    low = LU_data[..., :, :k].tril(-1)
    ones = LU_data.detach().new_ones((*LU_data.shape[:-2], k))
    ones = OPS["diag_embed"].function(ones)
    if m > k:
        zeros = ones.new_zeros((*ones.shape[:-2], m - k, k))
        ones = OPS["cat"].function([ones, zeros], -2)
    return return_types.lu_unpack(p, low + ones, LU_data[..., :k, :].triu())


@composite(spaces=("linalg",))
@with_out
def linalg_lu(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu:
    """(P, L, U) with A = P L U, L with ones on its diagonal, P exchanging rows.

    Shape: (..., M, N) -> (..., M, M), (..., M, K), (..., K, N), K = min(M, N).
    Raises: RuntimeError without ``pivot``, for other shapes and dtypes.
    """
    check_lapack("linalg.lu", A)
    _no_pivots(pivot)
    data, pivots, _ = _lu(A)
    return return_types.linalg_lu(*lu_unpack(data, pivots))


@composite(spaces=("linalg",))
@with_out
def linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B (X A = B where not ``left``; A^H for A with ``adjoint``) from A's factors.

    Shape: (..., N, N), (..., N), (..., N, K) -> (..., N, K), batches broadcast.
    Raises: RuntimeError for other shapes and dtypes.
    """
    name = "linalg.lu_solve"
    check_square(name, LU)
    check_tensor(name, "B", B)
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type int32")
    if tuple(pivots.shape) != tuple(LU.shape[:-1]):
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix, "
            f"got {list(pivots.shape)} and {list(LU.shape)}"
        )
    _check_system(name, LU, B, left)
    if not left:  # (X A)^H = A^H X^H
        x = linalg_lu_solve(LU, pivots, _adjoint(B), adjoint=not adjoint)
        return _adjoint(x)
    p = _permutation(pivots, LU.shape[-1], LU.dtype)
    a, b = _with_batch(name, LU, B)
    p, b = _with_batch(name, p, b)
    if adjoint:  # A^H = U^H L^H P^H
        y = _solve_triangular(_adjoint(a), b, False, False)
        return matmul(p, _solve_triangular(_adjoint(a), y, True, True))
    y = _solve_triangular(a, matmul(_adjoint(p), b), False, True)
    return _solve_triangular(a, y, True, False)


@composite
@with_out
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """:func:`tgrad.linalg.lu_solve` with its arguments in another order."""
    return linalg_lu_solve(LU_data, LU_pivots, b)


@composite(spaces=("linalg",))
@with_out
def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> return_types.linalg_solve_ex:
    """(X, info) with A X = B, or X A = B; ``info`` is 0, or the 1-based pivot that is zero.

    Where it is not 0 the solution is zeros. Shape: as :func:`tgrad.linalg.solve`, info (...) int32.
    Raises: LinAlgError with ``check_errors``, RuntimeError for other shapes and dtypes.
    """
    if check_errors:
        OPS["solve"].function(A, B, left=left)
    name = "linalg.solve_ex"
    check_square(name, A)
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    right = column(B) if vector else B
    _check_system(name, A, right, left or vector)
    a, b = _with_batch(name, A, right)
    ex = OPS["_solve_ex"].function
    x, info = ex(a, b) if left else ex(a.transpose(-1, -2), b.transpose(-1, -2))
    x = x if left else x.transpose(-1, -2)
    return return_types.linalg_solve_ex(x.reshape(*x.shape[:-1]) if vector else x, info)


@composite
@with_out
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> return_types.triangular_solve:
    """(X with A X = b, a copy of A) for triangular A; ``transpose`` takes A^T for A.

    See :func:`tgrad.linalg.solve_triangular`, which PyTorch recommends instead.
    Shape: (..., N, K), (..., N, N) -> (..., N, K), (..., N, N).
    Raises: RuntimeError for other shapes and dtypes.
    """
    _check_system("triangular_solve", A, b, True)
    a, right = _with_batch("triangular_solve", A, b)
    used = a.transpose(-1, -2) if transpose else a
    x = _solve_triangular(used, right, upper is not transpose, unitriangular)
    return return_types.triangular_solve(x, a.clone())


def _check_cholesky(name: str, B: Tensor, L: Tensor) -> None:
    for x, what in ((B, "b"), (L, "u")):
        if x.ndim < 2:
            raise RuntimeError(
                f"{name}: {what} should have at least 2 dimensions, but has {x.ndim} dimensions "
                "instead"
            )
    _check_system(name, L, B, True)


@composite
@with_out
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B from the Cholesky factor of A: L L^H = A, or ``upper`` L^H L = A.

    Shape: (..., N, K), (..., N, N) -> (..., N, K), batches broadcast.
    Raises: RuntimeError for other shapes and dtypes.
    """
    _check_cholesky("cholesky_solve", B, L)
    low, b = _with_batch("cholesky_solve", _adjoint(L) if upper else L, B)
    y = _solve_triangular(low, b, False, False)
    return _solve_triangular(_adjoint(low), y, True, False)


@composite
@with_out
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A from its Cholesky factor: L L^H = A, or ``upper`` L^H L = A.

    Shape: (..., N, N). Raises: RuntimeError for other shapes and dtypes.
    """
    check_square("cholesky_inverse", L)
    low = _adjoint(L) if upper else L
    half = _solve_triangular(low, _eye(low), False, False)
    return matmul(_adjoint(half), half)
