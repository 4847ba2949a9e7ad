"""Channels exchanged with positions, and with each other: views and one copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.dispatch import alias, composite

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

BOTH = ("tgrad", "nn.functional")


@composite(spaces=BOTH)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels in groups of r^2 become blocks of r x r pixels (Shi et al. 2016, arXiv:1609.05158).

    Shape: (..., C r^2, H, W) -> (..., C, H r, W r).
    Raises: RuntimeError for fewer than 3 dims, r < 1, or channels that r^2 does not divide.
    """
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(batch)
    x = input.reshape(*batch, c // (r * r), r, r, h, w)
    x = x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*batch, c // (r * r), h * r, w * r)


@composite(spaces=BOTH)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of :func:`pixel_shuffle`.

    Shape: (..., C, H r, W r) -> (..., C r^2, H, W).
    Raises: RuntimeError for fewer than 3 dims, r < 1, or sizes that r does not divide.
    """
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(
            "pixel_unshuffle expects height and width to be divisible by downscale_factor, but "
            f"{h} x {w} is not divisible by {r}"
        )
    n = len(batch)
    x = input.reshape(*batch, c, h // r, r, w // r, r)
    x = x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*batch, c * r * r, h // r, w // r)


@composite(spaces=BOTH)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of ``groups`` groups dealt out in turn (Zhang et al. 2017, arXiv:1707.01083).

    Shape: (N, C, ...), unchanged. Raises: RuntimeError for fewer than 3 dims, groups < 1, or
    channels that they do not divide.
    """
    if input.ndim < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    n, c, *rest = input.shape
    if c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    x = input.reshape(n, groups, c // groups, *rest).transpose(1, 2)
    return x.reshape(n, c, *rest)


alias("native_channel_shuffle", channel_shuffle, ("tgrad", "nn.functional"))
