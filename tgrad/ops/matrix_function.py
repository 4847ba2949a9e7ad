"""Functions of square matrices, matrices made of vectors, and their diagonals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, Spec, composite, gradient, op
from tgrad.ops.linalg import _adjoint, check_square, inv
from tgrad.ops.matmul import check_tensor, column, matmul
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def _check_square(name: str, A: Tensor) -> None:
    check_tensor(name, "A", A)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {list(A.shape)}"
        )


@composite(spaces=("tgrad", "Tensor", "linalg"))
@with_out
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied by itself ``n`` times, by repeated squaring; of the inverse where n < 0.

    Shape: (..., N, N) -> (..., N, N).
    Raises: RuntimeError for other shapes, LinAlgError for n < 0 where a matrix is singular.
    """
    _check_square("linalg.matrix_power", A)
    if n == 0:
        return A.clone().copy_(A.new_ones(A.shape[-1]).diag_embed())
    square, y, n = (inv(A), None, -n) if n < 0 else (A, None, n)
    while n:
        if n & 1:
            y = square if y is None else matmul(y, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    assert y is not None
    return y.clone() if y is A else y


@op(spaces=())
def _matrix_exp(x: Tensor) -> Spec:
    """exp of each matrix by scaling, squaring and a Pade approximant (Al-Mohy & Higham 2009)."""
    return Spec(x.shape, x.dtype)


@gradient(_matrix_exp)
def _(g, x):
    # exp([[A^H, G], [0, A^H]]) has the gradient in its upper right (Najfeld & Havel 1995).
    a, n = _adjoint(x), x.shape[-1]
    cat = OPS["cat"].function
    whole = cat([cat([a, g], -1), cat([g.new_zeros(g.shape), a], -1)], -2)
    return _matrix_exp(whole)[..., :n, n:]


@composite(spaces=("tgrad", "Tensor", "linalg"))
def matrix_exp(A: Tensor) -> Tensor:
    """sum_k A^k / k! of each matrix.

    Shape: (..., N, N) -> (..., N, N). Raises: RuntimeError for other shapes and dtypes.
    """
    check_square("linalg.matrix_exp", A)
    return _matrix_exp(A)


@composite(spaces=("linalg",))
def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each element, in a row of their own.

    Shape: (..., M) -> (..., M, N), N = M unless given.
    Raises: RuntimeError for an input without dims or N <= 1.
    """
    n = x.shape[-1] if N is None and x.ndim else N
    if not x.ndim or n is None:
        raise RuntimeError("linalg.vander: x must have at least 1 dimension, got 0")
    if n <= 1:
        raise RuntimeError(f"N must be greater than 1, got {n}")
    x = x.long() if x.dtype.category < dtypes.FLOAT else x
    ones = x.new_ones((*x.shape, 1))
    powers = column(x).expand(*x.shape, n - 1).cumprod(-1)
    return OPS["cat"].function([ones, powers], -1)


@composite(spaces=("tgrad",))
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector, descending unless ``increasing``.

    Shape: (M) -> (M, N), N = M unless given. Raises: RuntimeError for other ranks or N < 0.
    """
    if x.ndim != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got {x.ndim} dims")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError(f"N must be non-negative, got {n}")
    x = x.long() if x.dtype.category < dtypes.FLOAT else x
    powers = column(x).expand(x.shape[0], max(n - 1, 0)).cumprod(-1)
    y = OPS["cat"].function([x.new_ones((x.shape[0], min(n, 1))), powers], -1)
    return y if increasing else y.flip(-1)


@composite(spaces=("linalg",))
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices. See :func:`tgrad.diagonal`."""
    return A.diagonal(offset, dim1, dim2)
