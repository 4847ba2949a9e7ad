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


class slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor
