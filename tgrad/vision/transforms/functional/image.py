"""What an image is: its kind, its size, the range of its values, and modes of interpolation."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from tgrad import dtypes
from tgrad.dtypes import dtype as DType
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow


class InterpolationMode(enum.Enum):
    """How values between pixels are found; the last three are Pillow's alone."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


Interpolation = InterpolationMode | str | int
Fill = int | float | Sequence[int] | Sequence[float] | None

# Pillow's numbers for the modes; nearest is exact there.
PILLOW_MODES = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
    InterpolationMode.NEAREST_EXACT: 0,
}
_OF_PILLOW = {n: mode for mode, n in reversed(PILLOW_MODES.items())}


def interpolation_mode(value: Interpolation) -> InterpolationMode:
    """The mode that a member, its name or Pillow's number means. Raises ValueError for others."""
    if isinstance(value, InterpolationMode):
        return value
    if isinstance(value, int) and value in _OF_PILLOW:
        return _OF_PILLOW[value]
    if isinstance(value, str) and value in [mode.value for mode in InterpolationMode]:
        return InterpolationMode(value)
    raise ValueError(
        "Argument interpolation should be an `InterpolationMode`, its value as a string or a "
        f"corresponding Pillow integer constant, but got {value!r}."
    )


def check_image(name: str, image: Any) -> None:
    """Raises TypeError unless ``image`` is Pillow's or a tensor, ValueError under two dims."""
    if is_pillow(image):
        return
    if not isinstance(image, Tensor):
        raise TypeError(
            f"{name}: expected a PIL image or a Tensor (..., C, H, W), got {type(image).__name__}"
        )
    if image.ndim < 2:
        raise ValueError(f"{name}: expected a Tensor (..., C, H, W), got shape {image.shape}")


def get_dimensions(inpt: Any) -> list[int]:
    """[C, H, W] of an image; C is 1 for a tensor (H, W)."""
    check_image("get_dimensions", inpt)
    if is_pillow(inpt):
        return [len(inpt.getbands()), inpt.height, inpt.width]
    channels = 1 if inpt.ndim == 2 else inpt.shape[-3]
    return [channels, *inpt.shape[-2:]]


def get_size(inpt: Any) -> list[int]:
    """[H, W] of an image."""
    return get_dimensions(inpt)[1:]


def get_num_channels(inpt: Any) -> int:
    """How many channels an image has."""
    return get_dimensions(inpt)[0]


get_image_num_channels = get_num_channels


def get_image_size(inpt: Any) -> list[int]:
    """[W, H] of an image, Pillow's order."""
    return get_dimensions(inpt)[:0:-1]


def largest_value(dtype: DType) -> int:
    """What white is: 1 for floating dtypes and bool, else the dtype's largest number."""
    integral = not dtype.is_floating_point and dtype is not dtypes.bool_
    return dtypes.iinfo(dtype).max if integral else 1


def check_channels(name: str, image: Tensor) -> int:
    """The number of channels. Raises TypeError unless it is 1 or 3."""
    channels = image.shape[-3] if image.ndim > 2 else 0
    if channels not in (1, 3):
        raise TypeError(
            f"{name}: Input image tensor permitted channel values are 1 or 3, but found {channels}"
        )
    return channels


def pillow_fill(fill: Fill, image: Any) -> Any:
    """``fill`` as Pillow takes it: one number, or one for each band; whole unless mode is F.

    Raises: ValueError where there are neither one nor as many as bands.
    """
    bands = len(image.getbands())
    values = [0 if fill is None else fill] if not isinstance(fill, Sequence) else list(fill)
    if len(values) not in (1, bands):
        raise ValueError(
            "The number of elements in 'fill' does not match the number of channels of the image "
            f"({len(values)} != {bands})"
        )
    values = values * bands if len(values) == 1 else values
    if image.mode != "F":
        values = [int(v) for v in values]
    return values[0] if bands == 1 else tuple(values)


def tensor_fill(fill: Fill, image: Tensor) -> Fill:
    """``fill`` if it suits the image, else ValueError; a sequence of one becomes its number."""
    if fill is None or isinstance(fill, (int, float)):
        return fill
    if not isinstance(fill, (tuple, list)):
        raise ValueError("Argument fill should be either int, float, tuple or list")
    if len(fill) == 1:
        return fill[0]
    if len(fill) != image.shape[-3]:
        raise ValueError(
            "The number of elements in 'fill' cannot broadcast to match the number of channels of "
            f"the image ({len(fill)} != {image.shape[-3]})"
        )
    return fill
