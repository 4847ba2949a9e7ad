"""Norms of matrices, and the one function for all norms of ``torch.linalg``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.linalg import check_lapack, svdvals
from tgrad.ops.matmul import check_tensor
from tgrad.ops.norms import vector_norm
from tgrad.ops.reduction import with_out
from tgrad.ops.view import normalize_dim

if TYPE_CHECKING:
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


def _matrix_dims(A: Tensor, dim: Sequence[int]) -> tuple[int, int]:
    """``dim`` as two non-negative dims that differ."""
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    first, second = (normalize_dim("linalg.matrix_norm", d, A.ndim) for d in dim)
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


@composite(spaces=("linalg",))
@with_out
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """A norm of each matrix in the dims ``dim``.

    "fro" sqrt(sum |a|^2); "nuc" the sum, 2 and -2 the largest and smallest of the singular values;
    1 and -1 the largest and smallest sum of sizes of a column, inf and -inf of a row.

    Shape: (..., M, N) -> (...), or 1s kept at ``dim``.
    dtype: the input's, or ``dtype``, in which the norm is computed.
    Raises: RuntimeError for other orders, ranks and dtypes, IndexError for dims out of range.
    """
    name = "linalg.matrix_norm"
    check_tensor(name, "A", A)
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if A.dtype.category < dtypes.FLOAT:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {A.dtype.name}"
        )
    row, col = _matrix_dims(A, dim)
    if isinstance(ord, str):
        known = ord in ("fro", "nuc")
    else:
        known = abs(ord) in (1, 2, math.inf)
    if not known:
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if dtype is not None:
        A = A.to_dtype(dtype)
    if ord == "fro":
        return vector_norm(A, 2, (row, col), keepdim)
    if ord == "nuc" or ord in (2, -2):
        return _spectral(A, ord, row, col, keepdim)
    # Sums along `along`, then the extreme one over `over`.
    along, over = (row, col) if abs(ord) == 1 else (col, row)  # pyright: ignore[reportArgumentType]
    sums = vector_norm(A, 1, along, True)
    extreme = sums.amax(over, True) if ord > 0 else sums.amin(over, True)  # pyright: ignore[reportOperatorIssue]
    return extreme if keepdim else _drop(extreme, row, col)


def _drop(x: Tensor, row: int, col: int) -> Tensor:
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in (row, col)))


def _spectral(A: Tensor, ord: float | str, row: int, col: int, keepdim: bool) -> Tensor:
    """The norms made of singular values."""
    check_lapack("linalg.matrix_norm", A)
    rest = [i for i in range(A.ndim) if i not in (row, col)]
    s = svdvals(A.permute(*rest, row, col))
    y = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    if not keepdim:
        return y
    return y.reshape(tuple(1 if i in (row, col) else n for i, n in enumerate(A.shape)))


@composite(spaces=("linalg",))
@with_out
def linalg_norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """A vector norm over one dim, a matrix norm over two.

    Without ``ord`` the 2-norm of all elements (of ``dim``). With ``ord`` and without ``dim`` the
    input must be a vector or a matrix. See ``vector_norm`` and ``matrix_norm`` for the orders.

    Raises: RuntimeError where rank and order do not fit, IndexError for dims out of range.
    """
    check_tensor("linalg.norm", "A", A)
    dims = None if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}"
        )
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is None and A.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
            f"Got {A.ndim}D."
        )
    if isinstance(ord, str) or len(dims or A.shape) == 2:
        return matrix_norm(A, ord, (-2, -1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)
