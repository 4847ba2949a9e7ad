"""Blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import randn_like, tensor
from tgrad.nn import functional as F
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms.functional.convert import pil_to_tensor, to_pil_image
from tgrad.vision.transforms.functional.image import check_image


def gaussian_weights(size: int, sigma: float) -> np.ndarray:
    """exp(-x^2 / (2 sigma^2)) at whole distances from the middle, summing to 1."""
    x = np.arange(size) - (size - 1) / 2
    w = np.exp(-0.5 * (x / sigma) ** 2)
    return w / w.sum()


def checked_kernel(kernel_size: Any) -> list[int]:
    """[width, height] of a window. Raises ValueError unless both are odd and positive."""
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if len(sizes) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(sizes)}")
    if any(k % 2 == 0 or k < 0 for k in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {sizes}")
    return sizes


def gaussian_blur(
    inpt: Any, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None
) -> Any:
    """The image convolved with a Gaussian window, edges reflected; integers are rounded.

    ``kernel_size`` and ``sigma`` are for x, then y; sigma is 0.15 k + 0.35 unless given.
    Raises: ValueError for even sizes, a sigma that is not positive, or more of either than two.
    """
    check_image("gaussian_blur", inpt)
    sizes = checked_kernel(kernel_size)
    sigmas = _sigmas(sizes, sigma)
    if is_pillow(inpt):
        return to_pil_image(gaussian_blur(pil_to_tensor(inpt), sizes, sigmas), inpt.mode)
    if inpt.numel() == 0:
        return inpt
    floating = inpt.dtype.is_floating_point
    x = inpt if floating else inpt.to(dtypes.float32)
    x = x.reshape(-1, 1, *inpt.shape[-2:])  # (N C, 1, H, W)
    kx, ky = sizes
    x = F.pad(x, [kx // 2, kx // 2, ky // 2, ky // 2], mode="reflect")
    # the window is a product: one pass along each side
    for size, s, shape in ((kx, sigmas[0], (1, 1, 1, kx)), (ky, sigmas[1], (1, 1, ky, 1))):
        if size > 1:
            w = tensor(gaussian_weights(size, s), dtype=x.dtype, device=x.device)
            x = F.conv2d(x, w.reshape(shape))
    x = x.reshape(inpt.shape)
    return x if floating else x.round().to(inpt.dtype)


def _sigmas(sizes: list[int], sigma: Any) -> list[float]:
    if sigma is None:
        return [k * 0.15 + 0.35 for k in sizes]
    if not isinstance(sigma, (int, float, list, tuple)):
        raise TypeError(f"sigma should be either float or sequence of floats. Got {type(sigma)}")
    found = [sigma] if isinstance(sigma, (int, float)) else list(sigma)
    if len(found) not in (1, 2):
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(found)}")
    if any(s <= 0 for s in found):
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    return [float(found[0]), float(found[-1])]


def gaussian_noise(
    inpt: Tensor, mean: float = 0.0, sigma: float = 0.1, clip: bool = True
) -> Tensor:
    """The image plus normal noise on the scale [0, 1], cut off to what its dtype allows.

    Raises: ValueError for a negative sigma, Pillow's images and integers other than uint8.
    """
    check_image("gaussian_noise", inpt)
    if sigma < 0:
        raise ValueError(f"sigma shouldn't be negative. Got {sigma}")
    if is_pillow(inpt):
        raise ValueError("Gaussian Noise is not implemented for PIL images.")
    if inpt.dtype.is_floating_point:
        y = inpt + (randn_like(inpt) * sigma + mean)
        return y.clamp(0, 1) if clip else y
    if inpt.dtype is not dtypes.uint8:
        raise ValueError(
            f"Input tensor is expected to be in uint8 or float dtype, got dtype={inpt.dtype}"
        )
    noise = randn_like(inpt, dtype=dtypes.float32) * (sigma * 255) + mean * 255
    y = inpt + noise.to(dtypes.int16)
    return (y.clamp(0, 255) if clip else y).to(dtypes.uint8)
