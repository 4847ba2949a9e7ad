"""Changes of colour and light. Pillow's images go through Pillow's own filters.

Integers are worked on in float32 and cut off, not rounded, as torchvision does, where nothing else
is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import full_like, ones_like, tensor, zeros
from tgrad.ops import minimum, stack, where
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow, pillow
from tgrad.vision.transforms.functional.convert import (
    pil_to_tensor,
    to_dtype,
    to_pil_image,
    value_bits,
)
from tgrad.vision.transforms.functional.image import (
    check_channels,
    check_image,
    get_num_channels,
    largest_value,
)

RED, GREEN, BLUE = 0.2989, 0.587, 0.114  # luma (ITU-R BT.601)


def rgb_to_grayscale(inpt: Any, num_output_channels: int = 1) -> Any:
    """0.2989 R + 0.587 G + 0.114 B, in one channel or three equal ones.

    Raises: ValueError for other numbers of channels.
    """
    check_image("rgb_to_grayscale", inpt)
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels}.")
    if is_pillow(inpt):
        grey = inpt.convert("L")
        if num_output_channels == 1:
            return grey
        return pillow("rgb_to_grayscale").merge("RGB", [grey] * 3)
    check_channels("rgb_to_grayscale", inpt)
    grey = inpt.clone() if inpt.shape[-3] == 1 else _luma(inpt).to(inpt.dtype)
    if num_output_channels == 1:
        return grey
    return grey.expand(*grey.shape[:-3], 3, *grey.shape[-2:])


to_grayscale = rgb_to_grayscale


def grayscale_to_rgb(inpt: Any) -> Any:
    """Three equal channels from one; images of three or more stay."""
    check_image("grayscale_to_rgb", inpt)
    if is_pillow(inpt):
        return inpt.convert("RGB")
    return inpt if inpt.shape[-3] >= 3 else rgb_to_grayscale(inpt, 3)


def _luma(image: Tensor) -> Tensor:
    """(..., 1, H, W), in float32 where the image is of integers."""
    r, g, b = image.unbind(-3)
    return (r * RED + g * GREEN + b * BLUE).unsqueeze(-3)


def _whole_luma(image: Tensor) -> Tensor:
    """Luma; for images of integers without its fraction."""
    if image.shape[-3] == 1:
        return image if image.dtype.is_floating_point else image.to(dtypes.float32)
    grey = _luma(image)
    return grey if image.dtype.is_floating_point else grey.floor()


def _within(image: Tensor, like: Tensor) -> Tensor:
    """Cut off to the values that ``like``'s dtype allows, in that dtype."""
    return image.clamp(0, largest_value(like.dtype)).to(like.dtype)


def _enhanced(name: str, image: Any, factor: float) -> Any:
    return getattr(pillow("adjust", "ImageEnhance"), name)(image).enhance(factor)


def _check_factor(name: str, what: str, inpt: Any, factor: float) -> bool:
    """Whether the image is Pillow's. Raises ValueError for a negative factor."""
    check_image(name, inpt)
    if factor < 0:
        raise ValueError(f"{what} ({factor}) is not non-negative.")
    if not is_pillow(inpt):
        check_channels(name, inpt)
        return False
    return True


def adjust_brightness(inpt: Any, brightness_factor: float) -> Any:
    """The image times ``brightness_factor``: 0 is black, 1 leaves it. Raises ValueError under 0."""
    if _check_factor("adjust_brightness", "brightness_factor", inpt, brightness_factor):
        return _enhanced("Brightness", inpt, brightness_factor)
    return _within(inpt * float(brightness_factor), inpt)


def adjust_contrast(inpt: Any, contrast_factor: float) -> Any:
    """Away from the mean luma by ``contrast_factor``: 0 is grey. Raises ValueError under 0."""
    if _check_factor("adjust_contrast", "contrast_factor", inpt, contrast_factor):
        return _enhanced("Contrast", inpt, contrast_factor)
    mean = _whole_luma(inpt).mean((-3, -2, -1), keepdim=True)
    return _within(inpt * float(contrast_factor) + mean * (1.0 - contrast_factor), inpt)


def adjust_saturation(inpt: Any, saturation_factor: float) -> Any:
    """Away from the luma by ``saturation_factor``: 0 is black and white.

    Raises: ValueError under 0.
    """
    if _check_factor("adjust_saturation", "saturation_factor", inpt, saturation_factor):
        return _enhanced("Color", inpt, saturation_factor)
    if inpt.shape[-3] == 1:
        return inpt
    grey = _whole_luma(inpt) * (1.0 - saturation_factor)
    return _within(inpt * float(saturation_factor) + grey, inpt)


def adjust_hue(inpt: Any, hue_factor: float) -> Any:
    """Hue turned by ``hue_factor`` of the circle. Raises ValueError outside [-0.5, 0.5]."""
    check_image("adjust_hue", inpt)
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if is_pillow(inpt):
        return _pillow_hue(inpt, hue_factor)
    if check_channels("adjust_hue", inpt) == 1 or inpt.numel() == 0:
        return inpt
    h, s, v = _hsv(to_dtype(inpt, dtypes.float32, scale=True))
    h = (h + hue_factor) * 6
    channels = []
    for n in (5, 3, 1):  # how far each primary is from the hue, in sixths
        k = (h + n) % 6
        ramp = minimum(k, 4 - k).clamp(0, 1)
        channels.append(v - v * s * ramp)
    turned = stack(channels, -3).clamp(0, 1)
    return to_dtype(turned, inpt.dtype, scale=True)


def _pillow_hue(image: Any, hue_factor: float) -> Any:
    if image.mode in ("L", "1", "I", "F"):
        return image
    Image = pillow("adjust_hue")
    h, s, v = image.convert("HSV").split()
    shift = int(hue_factor * 255) % 256
    turned = h.point([(k + shift) % 256 for k in range(256)])
    return Image.merge("HSV", (turned, s, v)).convert(image.mode)


def _hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in turns, saturation and value, each (..., H, W), of (..., 3, H, W) in [0, 1]."""
    r, g, b = image.unbind(-3)
    v, low = image.amax(-3), image.amin(-3)
    span = v - low
    grey = span == 0
    safe = where(grey, ones_like(span), span)
    s = span / where(grey, ones_like(v), v)
    h = where(v == r, (g - b) / safe, where(v == g, (b - r) / safe + 2, (r - g) / safe + 4))
    return h / 6, s, v


def adjust_gamma(inpt: Any, gamma: float, gain: float = 1) -> Any:
    """gain * input^gamma, on the scale [0, 1]. Raises ValueError where gamma is negative."""
    check_image("adjust_gamma", inpt)
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    if is_pillow(inpt):
        table = [int(255.999 * gain * (k / 255.0) ** gamma) for k in range(256)]
        return inpt.convert("RGB").point(table * 3).convert(inpt.mode)
    image = inpt
    if not image.dtype.is_floating_point:
        image = to_dtype(image, dtypes.float32, scale=True)
    image = image**gamma
    image = image if gain == 1 else (image * gain).clamp(0, 1)
    return to_dtype(image, inpt.dtype, scale=True)


def adjust_sharpness(inpt: Any, sharpness_factor: float) -> Any:
    """Away from a 3 x 3 blur by ``sharpness_factor``: 0 is the blur, 2 sharpens. Edges stay.

    Raises: ValueError under 0.
    """
    if _check_factor("adjust_sharpness", "sharpness_factor", inpt, sharpness_factor):
        return _enhanced("Sharpness", inpt, sharpness_factor)
    if inpt.numel() == 0 or min(inpt.shape[-2:]) <= 2:
        return inpt
    floating = inpt.dtype.is_floating_point
    image = inpt.to(inpt.dtype if floating else dtypes.float32)
    # every pixel once and the middle four times more: 13 in all
    inner = image[..., 1:-1, 1:-1]
    h, w = inner.shape[-2:]
    total = inner * 4
    for i in range(3):
        for j in range(3):
            total = total + image[..., i : i + h, j : j + w]
    blurred = total / 13
    blurred = blurred if floating else blurred.round()
    changed = inner + (blurred - inner) * (1.0 - sharpness_factor)
    result = image.clone()
    result[..., 1:-1, 1:-1] = changed
    return _within(result, inpt)


def posterize(inpt: Any, bits: int) -> Any:
    """Only the ``bits`` highest bits of each value. Raises TypeError outside [0, 8]."""
    check_image("posterize", inpt)
    if not isinstance(bits, int) or not 0 <= bits <= 8:
        raise TypeError(f"bits must be a positive integer in the range [0, 8], got {bits} instead.")
    if is_pillow(inpt):
        return pillow("posterize", "ImageOps").posterize(inpt, bits)
    if inpt.dtype.is_floating_point:
        levels = 1 << bits
        return (inpt * levels).floor().clamp(0, levels - 1) * (1.0 / levels)
    have = value_bits(inpt.dtype)
    return inpt if bits >= have else inpt & (((1 << bits) - 1) << (have - bits))


def solarize(inpt: Any, threshold: float) -> Any:
    """Values from ``threshold`` on inverted. Raises TypeError where it is above white."""
    check_image("solarize", inpt)
    if is_pillow(inpt):
        return pillow("solarize", "ImageOps").solarize(inpt, threshold)
    if threshold > largest_value(inpt.dtype):
        raise TypeError(
            f"Threshold should be less or equal the maximum value of the dtype, but got {threshold}"
        )
    return where(inpt >= threshold, invert(inpt), inpt)


def invert(inpt: Any) -> Any:
    """White minus the image."""
    check_image("invert", inpt)
    if is_pillow(inpt):
        return pillow("invert", "ImageOps").invert(inpt)
    return full_like(inpt, largest_value(inpt.dtype)) - inpt


def autocontrast(inpt: Any) -> Any:
    """Each channel stretched so that its darkest value is black and its lightest white."""
    check_image("autocontrast", inpt)
    if is_pillow(inpt):
        return pillow("autocontrast", "ImageOps").autocontrast(inpt)
    check_channels("autocontrast", inpt)
    if inpt.numel() == 0:
        return inpt
    image = inpt if inpt.dtype.is_floating_point else inpt.to(dtypes.float32)
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    flat = low == high
    scale = where(flat, ones_like(low), (high - low) * (1.0 / largest_value(inpt.dtype)))
    return _within((image - where(flat, low * 0, low)) / scale, inpt)


def equalize(inpt: Any) -> Any:
    """Each channel's values moved so that all are about equally frequent; 256 levels.

    Level k goes to (c + step // 2) // step, where c pixels are darker and ``step`` is a 255th of
    those that are not of the lightest level (Pillow's ImageOps.equalize); a channel whose step is
    0 stays.
    """
    check_image("equalize", inpt)
    if is_pillow(inpt):
        return pillow("equalize", "ImageOps").equalize(inpt)
    if inpt.numel() == 0:
        return inpt
    image = to_dtype(inpt, dtypes.uint8, scale=True)
    flat = image.reshape(-1, image.shape[-2] * image.shape[-1]).to(dtypes.int64)  # (N, H W)
    rows, pixels = flat.shape
    counts = zeros(rows, 256, dtype=dtypes.int64, device=flat.device)
    counts = counts.scatter_add(1, flat, ones_like(flat))
    lightest = counts.gather(1, flat.amax(1, keepdim=True))
    step = (pixels - lightest) // 255  # (N, 1)
    darker = counts.cumsum(1) - counts
    levels = ((darker + step // 2) // step.clamp(min=1)).clamp(0, 255)
    equal = where(step == 0, flat, levels.gather(1, flat))
    return to_dtype(equal.to(dtypes.uint8).reshape(image.shape), inpt.dtype, scale=True)


def permute_channels(inpt: Any, permutation: list[int]) -> Any:
    """Channel ``i`` of the result is channel ``permutation[i]``.

    Raises: ValueError unless there are as many as channels.
    """
    channels = get_num_channels(inpt)
    order = [int(i) for i in np.asarray(permutation)]
    if len(order) != channels:
        raise ValueError(
            f"Length of permutation does not match number of channels: {len(order)} != {channels}"
        )
    if is_pillow(inpt):
        return to_pil_image(permute_channels(pil_to_tensor(inpt), order), inpt.mode)
    return inpt.index_select(-3, tensor(order, device=inpt.device))
