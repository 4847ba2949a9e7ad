"""Inverses and systems of tensors seen as matrices, condition numbers and older norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad.dispatch import OPS, composite
from tgrad.ops.linalg import _inv_ex, check_lapack, check_square
from tgrad.ops.matrix_norm import linalg_norm, matrix_norm
from tgrad.ops.norms import vector_norm
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@composite(spaces=("linalg",))
@with_out
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number |A| |A^-1| in the norm ``p`` of :func:`tgrad.linalg.matrix_norm`.

    None and 2 are the largest over the smallest singular value, -2 the reverse, for matrices of
    any shape; singular matrices have inf.
    Shape: (..., N, N) -> (...). Raises: RuntimeError for another norm, other shapes and dtypes.
    """
    check_lapack("linalg.cond", A)
    if p not in (None, 2, -2, 1, -1, math.inf, -math.inf, "fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2], dtype=A.dtype.to_real())
    if p in (None, 2, -2):
        s = OPS["svdvals"].function(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    check_square(f"linalg.cond(ord={p})", A)
    inverse, info = _inv_ex(A)
    found = matrix_norm(A, p) * matrix_norm(inverse, p)
    return found.masked_fill(info != 0, math.inf)


def _as_matrix(A: Tensor, rows: int, start: str) -> tuple[Tensor, list[int], list[int]]:
    """A with its first ``rows`` dims and the others as one each."""
    first, rest = list(A.shape[:rows]), list(A.shape[rows:])
    if math.prod(first) != math.prod(rest):
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[{start}:]) == "
            f"prod(self.shape[:{start}]), but got {math.prod(rest)} != {math.prod(first)}"
        )
    return A.reshape(math.prod(first), math.prod(rest)), first, rest


@composite(spaces=("linalg",))
@with_out
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dims to its first ``ind``.

    Shape: (a..., b...) with as many elements in both -> (b..., a...).
    Raises: RuntimeError for other sizes or ind < 1, LinAlgError where it is singular.
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    matrix, first, rest = _as_matrix(A, ind, "ind")
    return OPS["inv"].function(matrix).reshape(*rest, *first)


@composite(spaces=("linalg",))
@with_out
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; ``dims`` of A are moved to its end first.

    Shape: (b..., x...) with as many elements in both, B with as many -> (x...).
    Raises: RuntimeError for other sizes, LinAlgError where A is singular.
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    rest = list(A.shape[B.ndim :])
    total = math.prod(rest)
    if B.numel() != total or A.numel() != total * total:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {total} != {B.numel()}"
        )
    x = OPS["solve"].function(A.reshape(total, total), B.reshape(total))
    return x.reshape(rest)


@composite(spaces=("tgrad",))
@with_out
def nuclear_norm(input: Tensor, dim: Sequence[int] = (-2, -1), keepdim: bool = False) -> Tensor:
    """The sum of singular values. See :func:`tgrad.linalg.matrix_norm`."""
    return matrix_norm(input, "nuc", tuple(dim), keepdim)


@composite(spaces=("tgrad",))
@with_out
def frobenius_norm(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The root of the sum of squares over one dim or two. See :func:`tgrad.linalg.vector_norm`."""
    if isinstance(dim, Sequence) and len(dim) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dim)} dimensions instead.")
    return vector_norm(input, 2, dim, keepdim)


@composite(spaces=("tgrad",))
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm of order ``pow`` over all dims but ``dim``, which keeps its place; -1: over all.

    Raises: IndexError for a dim that is not there.
    """
    if dim == -1:
        return linalg_norm(v.flatten(), pow)
    at = OPS["transpose"].function(v, 0, dim) if v.ndim > 1 else v
    rows = at.reshape(at.shape[0], -1)
    y = vector_norm(rows, pow, 1)
    return y.reshape([n if i == dim else 1 for i, n in enumerate(v.shape)])
