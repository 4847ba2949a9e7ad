"""The named tuples that ops with several results return, as in ``torch.return_types``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class _Selected(NamedTuple):
    values: Tensor
    indices: Tensor


class max(_Selected):
    __slots__ = ()


class min(_Selected):
    __slots__ = ()


class median(_Selected):
    __slots__ = ()


class nanmedian(_Selected):
    __slots__ = ()


class mode(_Selected):
    __slots__ = ()


class kthvalue(_Selected):
    __slots__ = ()


class sort(_Selected):
    __slots__ = ()


class topk(_Selected):
    __slots__ = ()


class cummax(_Selected):
    __slots__ = ()


class cummin(_Selected):
    __slots__ = ()


class aminmax(NamedTuple):
    min: Tensor
    max: Tensor


class frexp(NamedTuple):
    mantissa: Tensor
    exponent: Tensor


class slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class qr(NamedTuple):
    Q: Tensor
    R: Tensor


class linalg_qr(NamedTuple):
    Q: Tensor
    R: Tensor


class svd(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


class linalg_svd(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class linalg_eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class linalg_lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


class linalg_inv_ex(NamedTuple):
    inverse: Tensor
    info: Tensor


class linalg_cholesky_ex(NamedTuple):
    L: Tensor
    info: Tensor


class linalg_lu_factor_ex(NamedTuple):
    LU: Tensor
    pivots: Tensor
    info: Tensor


class linalg_lu_factor(NamedTuple):
    LU: Tensor
    pivots: Tensor


class lu_unpack(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class linalg_lu(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class linalg_solve_ex(NamedTuple):
    result: Tensor
    info: Tensor


class triangular_solve(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


class geqrf(NamedTuple):
    a: Tensor
    tau: Tensor


class linalg_eig(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class linalg_ldl_factor_ex(NamedTuple):
    LD: Tensor
    pivots: Tensor
    info: Tensor


class linalg_ldl_factor(NamedTuple):
    LD: Tensor
    pivots: Tensor


class histogram(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class histogramdd(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def _repr(self: Any) -> str:
    """One field a line, as PyTorch prints them."""
    fields = zip(self._fields, self, strict=True)
    lines = ",\n".join(f"{name}={value!r}" for name, value in fields)
    return f"tgrad.return_types.{type(self).__name__}(\n{lines})"


for _kind in [kind for kind in vars().values() if isinstance(kind, type)]:
    if issubclass(_kind, tuple):
        _kind.__repr__ = _repr
