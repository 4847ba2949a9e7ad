"""Products of Householder reflections, and the QR that leaves its Q as such a product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import return_types
from tgrad.dispatch import OPS, Spec, alias, composite, op
from tgrad.ops.linalg import _adjoint, check_lapack
from tgrad.ops.matmul import column, matmul
from tgrad.ops.reduction import with_out

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@op(spaces=())
def _geqrf(x: Tensor) -> tuple[Spec, Spec]:
    """(reflections below R, tau); LAPACK geqrf."""
    *batch, m, n = x.shape
    return Spec(x.shape, x.dtype), Spec((*batch, min(m, n)), x.dtype)


@composite
@with_out
def geqrf(input: Tensor) -> return_types.geqrf:
    """(a, tau): R on and above the diagonal of a, below it the vectors of K reflections.

    Q = H_1 ... H_K, H_i = 1 - tau_i v_i v_i^H, v_i 1 at i, 0 before and a's column after. Not
    differentiable, as in PyTorch; :func:`tgrad.linalg.qr` is.
    Shape: (..., M, N) -> (..., M, N), (..., min(M, N)).
    Raises: RuntimeError for other shapes and dtypes.
    """
    check_lapack("geqrf", input, "input")
    return return_types.geqrf(*_geqrf(input.detach()))


def _check(name: str, x: Tensor, tau: Tensor) -> None:
    check_lapack(name, x, "input")
    m, n = x.shape[-2:]
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], got "
            f"{list(x.shape)}"
        )
    if tau.ndim != x.ndim - 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal "
            f"to {tau.ndim} and input.ndim is equal to {x.ndim}"
        )
    if n < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], got "
            f"{list(x.shape)} and {list(tau.shape)}"
        )
    if tuple(tau.shape[:-1]) != tuple(x.shape[:-2]):
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    if tau.dtype is not x.dtype:
        raise RuntimeError(
            f"{name}: tau dtype {tau.dtype.name} does not match input dtype {x.dtype.name}"
        )


def _vector(x: Tensor, i: int) -> Tensor:
    """v_i as (..., M, 1): 0 before i, 1 at i, the column of x below."""
    m = x.shape[-2]
    below = x[..., i + 1 :, i : i + 1]
    head = x.detach().new_zeros((*x.shape[:-2], i + 1, 1))
    head[..., i, 0] = 1
    return head if i + 1 == m else OPS["cat"].function([head, below], -2)


def _reflected(x: Tensor, tau: Tensor, c: Tensor, backwards: bool, adjoint: bool) -> Tensor:
    """H_1 ... H_K c, or with the reflections in the other order, each one conjugate by request."""
    for i in reversed(range(tau.shape[-1])) if backwards else range(tau.shape[-1]):
        v = _vector(x, i)
        t = column(tau[..., i : i + 1])
        t = t.conj() if adjoint and t.dtype.is_complex else t
        c = c - t * matmul(v, matmul(_adjoint(v), c))
    return c


@composite(spaces=("linalg",))
@with_out
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first N columns of Q = H_1 ... H_K, H_i = 1 - tau_i v_i v_i^H as of :func:`geqrf`.

    By products of matrices, on any device; differentiable any number of times.
    Shape: (..., M, N), (..., K) -> (..., M, N), M >= N >= K.
    Raises: RuntimeError for other shapes and dtypes.
    """
    _check("linalg.householder_product", A, tau)
    m, n = A.shape[-2:]
    eye = OPS["diag_embed"].function(A.detach().new_ones((*A.shape[:-2], m)))[..., :, :n]
    return _reflected(A, tau, eye, True, False)


alias("orgqr", householder_product, ("tgrad", "Tensor"))


@composite
@with_out
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q other, or other Q where not ``left``, with the square Q = H_1 ... H_K of :func:`geqrf`.

    ``transpose`` takes Q^H for Q.
    Shape: (..., M, N), (..., K), (..., M, L) or (..., L, M) -> that of other.
    Raises: RuntimeError for other shapes and dtypes.
    """
    check_lapack("ormqr", input, "input")
    check_lapack("ormqr", other, "other")
    k, side = tau.shape[-1] if tau.ndim else 0, -2 if left else -1
    if k > input.shape[-1]:
        raise RuntimeError(
            f"ormqr: tau.shape[-1] must be less than or equal to input.shape[-1], got "
            f"{list(tau.shape)} and {list(input.shape)}"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(
            f"ormqr: other.shape[{side}] must be equal to input.shape[-2], got "
            f"{list(other.shape)} and {list(input.shape)}"
        )
    if tuple(tau.shape[:-1]) != tuple(input.shape[:-2]):
        raise RuntimeError(
            f"ormqr: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    if not left:  # C Q = (Q^H C^H)^H
        return _adjoint(_reflected(input, tau, _adjoint(other), transpose, not transpose))
    return _reflected(input, tau, other, not transpose, transpose)
