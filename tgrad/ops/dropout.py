"""Dropout in its forms. The mask is never stored: backward draws it again from its counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.random import reserve, words_for

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d",
           "feature_alpha_dropout"]  # fmt: skip


@op(spaces=())
def _dropout(x: Tensor, p: float, key: int, counter: int) -> Spec:
    """x / (1 - p) where 32 random bits are at least p * 2^32, else 0.

    Element i takes the i-th 32-bit integer of the Philox stream from ``counter`` on, on both
    devices: the mask of a seed is the same. Bytes moved: x and y once.
    """
    return Spec(x.shape, x.dtype)


@gradient(_dropout)
def _(g, p, key, counter):
    return _dropout(g, p, key, counter)


def check_probability(name: str, input: Tensor, p: float) -> None:
    if not isinstance(input, Variable):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")


def thinned(x: Tensor, p: float) -> Tensor:
    """x with elements dropped and the others scaled up."""
    if p == 0.0 or x.numel() == 0:
        return x * 1.0
    if p == 1.0:
        return x * 0.0
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"dropout: result type Float can't be cast to {x.dtype.name}")
    return _dropout(x, p, *reserve(None, x.device, words_for(x.numel(), wide=False)))


@composite(spaces=("tgrad", "nn.functional"))
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability ``p``, else divided by 1 - p; the input if not ``training``
    (Srivastava et al. 2014, JMLR 15).

    Shape and dtype: any floating, kept. The mask comes from the device's default generator.
    Raises: ValueError unless 0 <= p <= 1.
    """
    check_probability("dropout", input, p)
    if not training:
        return input
    y = thinned(input, p)
    return input.copy_(y) if inplace else y


def by_feature(name: str, input: Tensor, p: float, training: bool, inplace: bool, ndim: int):
    """Whole channels dropped: one draw for each (N, C) of an input with ``ndim`` or more dims."""
    check_probability(name, input, p)
    if not training:
        return input
    batched = input.ndim >= ndim
    shape = input.shape[:2] if batched else input.shape[:1]
    mask = thinned(input.new_ones(shape), p).reshape(*shape, *(1,) * (input.ndim - len(shape)))
    return input.mul_(mask) if inplace else input * mask


@composite(spaces=("nn.functional",))
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L) (Tompson et al. 2015, arXiv:1411.4280).

    Raises: ValueError unless 0 <= p <= 1, RuntimeError for another rank.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input."
        )
    return by_feature("dropout1d", input, p, training, inplace, 3)


@composite(spaces=("nn.functional",))
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, H, W); any rank from 2 is taken as (N, C, ...).

    Raises: ValueError unless 0 <= p <= 1.
    """
    return by_feature("dropout2d", input, p, training, inplace, 2)


@composite(spaces=("nn.functional",))
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W); any rank from 2 is taken as (N, C, ...).

    Raises: ValueError unless 0 <= p <= 1.
    """
    return by_feature("dropout3d", input, p, training, inplace, 2)


# SELU's fixed point: the value that it saturates to, -scale * alpha.
SATURATED = -1.7580993408473766


def alpha_thinned(input: Tensor, mask: Tensor, p: float) -> Tensor:
    """Dropped elements become SELU's saturation value; mean and variance are kept.

    ``mask`` is 1 where an element stays (Klambauer et al. 2017, arXiv:1706.02515, section 3).
    """
    a = ((1 - p) * (1 + p * SATURATED**2)) ** -0.5
    b = -a * p * SATURATED
    return (input * mask + SATURATED * (1 - mask)) * a + b


@composite(spaces=("tgrad", "nn.functional"))
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps zero mean and unit variance under SELU.

    Raises: ValueError unless 0 <= p <= 1.
    """
    check_probability("alpha_dropout", input, p)
    if not training or p == 0:
        return input
    mask = thinned(input.new_ones(input.shape), p) * (1 - p)
    y = input * 0.0 if p == 1 else alpha_thinned(input, mask, p)
    return input.copy_(y) if inplace else y


@composite(spaces=("tgrad", "nn.functional"))
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """:func:`alpha_dropout` of whole channels of (N, C, ...).

    Raises: ValueError unless 0 <= p <= 1.
    """
    check_probability("feature_alpha_dropout", input, p)
    if not training or p == 0:
        return input
    ones = input.new_ones(input.shape[:2])
    mask = (thinned(ones, p) * (1 - p)).reshape(*ones.shape, *(1,) * (input.ndim - 2))
    y = input * 0.0 if p == 1 else alpha_thinned(input, mask, p)
    return input.copy_(y) if inplace else y
