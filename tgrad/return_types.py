"""The named tuples that ops with several results return, as in ``torch.return_types``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
