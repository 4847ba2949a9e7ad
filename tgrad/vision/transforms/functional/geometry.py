"""Flips, crops, padding and resizing: where pixels stand, on the grid that they stand on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import full, tensor
from tgrad.nn import functional as F
from tgrad.vision.pillow import is_pillow, pillow
from tgrad.vision.transforms.functional.image import (
    PILLOW_MODES,
    Fill,
    Interpolation,
    InterpolationMode,
    check_image,
    get_size,
    interpolation_mode,
    pillow_fill,
    tensor_fill,
)

Box = tuple[int, int, int, int]
MODES = ("constant", "edge", "reflect", "symmetric")


def horizontal_flip(inpt: Any) -> Any:
    """Left and right exchanged."""
    check_image("horizontal_flip", inpt)
    if is_pillow(inpt):
        return inpt.transpose(pillow("hflip").Transpose.FLIP_LEFT_RIGHT)
    return inpt.flip(-1)


def vertical_flip(inpt: Any) -> Any:
    """Top and bottom exchanged."""
    check_image("vertical_flip", inpt)
    if is_pillow(inpt):
        return inpt.transpose(pillow("vflip").Transpose.FLIP_TOP_BOTTOM)
    return inpt.flip(-2)


hflip, vflip = horizontal_flip, vertical_flip


# ---- cropping ------------------------------------------------------------------------------------


def crop(inpt: Any, top: int, left: int, height: int, width: int) -> Any:
    """``height`` rows from ``top``, ``width`` columns from ``left``; 0 outside of the image."""
    check_image("crop", inpt)
    if is_pillow(inpt):
        return inpt.crop((left, top, left + width, top + height))
    h, w = inpt.shape[-2:]
    bottom, right = top + height, left + width
    inside = inpt[..., max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if top >= 0 and left >= 0 and bottom <= h and right <= w:
        return inside
    before = [min(max(-left, 0), width), min(max(-top, 0), height)]
    rest = [width - inside.shape[-1] - before[0], height - inside.shape[-2] - before[1]]
    return F.pad(inside, [before[0], rest[0], before[1], rest[1]])


def two(size: Any, name: str) -> list[int]:
    """[H, W] from one number for both or from a sequence of one or two."""
    if isinstance(size, (int, np.integer)):
        return [int(size)] * 2
    if isinstance(size, Sequence) and len(size) in (1, 2):
        return [int(size[0]), int(size[-1])]
    raise ValueError(f"{name}: Please provide only two dimensions (h, w) for size, got {size}.")


def center_crop(inpt: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of an image, padded with 0 first where it is smaller."""
    height, width = two(output_size, "center_crop")
    h, w = get_size(inpt)
    if height > h or width > w:
        dh, dw = max(height - h, 0), max(width - w, 0)
        inpt = pad(inpt, [dw // 2, dh // 2, (dw + 1) // 2, (dh + 1) // 2])
        h, w = get_size(inpt)
    if (h, w) == (height, width):
        return inpt
    return crop(inpt, round((h - height) / 2), round((w - width) / 2), height, width)


def resized_crop(
    inpt: Any, top: int, left: int, height: int, width: int, size: int | Sequence[int],
    interpolation: Interpolation = InterpolationMode.BILINEAR, antialias: bool | None = True,
) -> Any:  # fmt: skip
    """:func:`resize` of a :func:`crop`."""
    part = crop(inpt, top, left, height, width)
    return resize(part, size, interpolation, antialias=antialias)


def five_crop(inpt: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """The four corners (top left, top right, bottom left, bottom right) and the middle.

    Raises: ValueError where the image is smaller than ``size``.
    """
    height, width = two(size, "five_crop")
    h, w = get_size(inpt)
    if width > w or height > h:
        raise ValueError(f"Requested crop size {size} is bigger than input size {(h, w)}")
    corners = [(0, 0), (0, w - width), (h - height, 0), (h - height, w - width)]
    parts = [crop(inpt, top, left, height, width) for top, left in corners]
    return (*parts, center_crop(inpt, [height, width]))


def ten_crop(inpt: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """:func:`five_crop` of the image and of its mirror image."""
    flipped = vflip(inpt) if vertical_flip else hflip(inpt)
    return five_crop(inpt, size) + five_crop(flipped, size)


# ---- padding -------------------------------------------------------------------------------------


def borders(padding: int | Sequence[int]) -> Box:
    """(left, top, right, bottom) from one number, (left and right, top and bottom), or all four.

    Raises: ValueError for anything else.
    """
    each = (padding,) if isinstance(padding, int) else padding
    counted = isinstance(each, (tuple, list)) and len(each) in (1, 2, 4)
    if not counted or not all(isinstance(p, (int, np.integer)) for p in each):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element of tuple or list, got {padding}."
        )
    left, top = int(each[0]), int(each[min(1, len(each) - 1)])
    right, bottom = (left, top) if len(each) < 4 else (int(each[2]), int(each[3]))
    return left, top, right, bottom


def check_padding_mode(padding_mode: str) -> None:
    if padding_mode not in MODES:
        raise ValueError(
            f"`padding_mode` should be either {', '.join(map(repr, MODES))}, but got "
            f"{padding_mode!r}."
        )


def pad(
    inpt: Any, padding: int | Sequence[int], fill: Fill = None, padding_mode: str = "constant"
) -> Any:
    """The image with a border of (left, top, right, bottom) pixels; negative ones cut off.

    ``padding_mode``: "constant" is ``fill`` (0 unless given; one number or one for each channel),
    "edge" repeats the edge, "reflect" mirrors without it, "symmetric" with it.
    Raises: ValueError for other paddings and modes, or where a mirror would need more than there
    is.
    """
    check_image("pad", inpt)
    left, top, right, bottom = box = borders(padding)
    check_padding_mode(padding_mode)
    if is_pillow(inpt):
        return _pillow_pad(inpt, box, fill, padding_mode)
    if padding_mode == "constant":
        value = tensor_fill(fill, inpt)
        if not isinstance(value, Sequence):
            return F.pad(inpt, [left, right, top, bottom], value=0 if value is None else value)
        ink = tensor(list(value), dtype=inpt.dtype, device=inpt.device).reshape(-1, 1, 1)
        h, w = (n + a + b for n, a, b in zip(inpt.shape[-2:], (top, left), (bottom, right),
                                              strict=True))  # fmt: skip
        y = full((*inpt.shape[:-2], h, w), 0, dtype=inpt.dtype, device=inpt.device) + ink
        inner = crop(inpt, max(-top, 0), max(-left, 0), h - max(top, 0) - max(bottom, 0),
                     w - max(left, 0) - max(right, 0))  # fmt: skip
        t, s = max(top, 0), max(left, 0)
        y[..., t : t + inner.shape[-2], s : s + inner.shape[-1]] = inner
        return y
    for dim, before, after in ((-2, top, bottom), (-1, left, right)):
        if before or after:
            places = _mirrored(inpt.shape[dim], before, after, padding_mode)
            inpt = inpt.index_select(dim, tensor(places, device=inpt.device))
    return inpt


def _mirrored(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """Where each of before + n + after places along a side of n gets its pixel from."""
    short = max(before, after) > (n - 1 if mode == "reflect" else n)
    if n == 0 or (mode != "edge" and short) or before + n + after <= 0:
        raise ValueError(f"pad: {mode} padding of ({before}, {after}) on a side of {n} pixels")
    at = np.arange(-before, n + after)
    if mode == "edge":
        return at.clip(0, n - 1)
    last = 2 * n - 2 if mode == "reflect" else 2 * n - 1
    at = np.where(at < 0, -at if mode == "reflect" else -1 - at, at)
    return np.where(at >= n, last - at, at).astype(np.int64)


def _pillow_pad(image: Any, box: Box, fill: Fill, mode: str) -> Any:
    left, top, right, bottom = box
    if mode == "constant":
        values = pillow_fill(fill, image)
        padded = pillow("pad", "ImageOps").expand(image, border=box, fill=values)
    else:
        a = np.asarray(image)
        a = a[_mirrored(a.shape[0], top, bottom, mode)][:, _mirrored(a.shape[1], left, right, mode)]
        padded = pillow("pad").fromarray(a)
    if image.mode == "P":
        padded.putpalette(image.getpalette())
    return padded


# ---- resizing ------------------------------------------------------------------------------------


def resized(size: list[int], wanted: int | Sequence[int] | None, max_size: int | None) -> list[int]:
    """The [H, W] that an image of ``size`` gets: see :func:`resize`."""
    short, long = min(size), max(size)
    if wanted is None:
        if not isinstance(max_size, int):
            raise ValueError(f"max_size must be an integer when size is None, but got {max_size}.")
        edges = [int(max_size * short / long), max_size]
    else:
        sizes = [wanted] if isinstance(wanted, int) else list(wanted)
        if len(sizes) not in (1, 2):
            raise ValueError(f"resize: expected size of one or two integers, got {wanted}")
        if len(sizes) == 2:
            if max_size is not None:
                raise ValueError(
                    "max_size should only be passed if size is None or specifies the length of "
                    f"the smaller edge, but got size={wanted}, max_size={max_size}"
                )
            return sizes
        edges = [sizes[0], int(sizes[0] * long / short)]
        if max_size is not None:
            if max_size <= sizes[0]:
                raise ValueError(
                    f"max_size = {max_size} must be strictly greater than the requested size for "
                    f"the smaller edge size = {wanted}"
                )
            if edges[1] > max_size:
                edges = [int(max_size * edges[0] / edges[1]), max_size]
    return edges[::-1] if size[1] <= size[0] else edges


_WEIGHED = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.LANCZOS)
_NEAREST = (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT)


def resize(
    inpt: Any, size: int | Sequence[int] | None,
    interpolation: Interpolation = InterpolationMode.BILINEAR, max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """The image in ``size``: [H, W], or one number for the smaller edge, the aspect ratio kept.

    ``max_size`` limits the longer edge, or alone gives it. ``antialias`` widens the filter where a
    side shrinks; Pillow always does that. dtype: uint8 and floating tensors as
    :func:`tgrad.nn.functional.interpolate` has them, others in float32 and rounded.
    Raises: ValueError for sizes that contradict each other, for Pillow's own modes on tensors, and
    for lanczos without ``antialias``.
    """
    check_image("resize", inpt)
    mode = interpolation_mode(interpolation)
    old = get_size(inpt)
    new = resized(old, size, max_size)
    if is_pillow(inpt):
        if antialias is False:
            warnings.warn("resize: antialias=False is ignored for PIL images.", stacklevel=2)
        return inpt if new == old else inpt.resize(new[::-1], resample=PILLOW_MODES[mode])
    if mode not in _NEAREST + _WEIGHED:
        raise ValueError(f"resize: interpolation '{mode.value}' is for PIL images only")
    if mode is InterpolationMode.LANCZOS and not antialias:
        raise ValueError("resize: interpolation 'lanczos' requires antialias=True")
    if new == old or inpt.numel() == 0:
        return inpt if new == old else inpt.reshape(*inpt.shape[:-2], *new)
    x = inpt.reshape(1, -1, *old)
    own = x.dtype.is_floating_point or x.dtype is dtypes.uint8
    x = x if own else x.to(dtypes.float32)
    weighed = mode in _WEIGHED
    y = F.interpolate(x, new, mode=mode.value, align_corners=False if weighed else None,
                      antialias=weighed and bool(antialias))  # fmt: skip
    y = y if own else y.round().to(inpt.dtype)
    return y.reshape(*inpt.shape[:-2], *new)
