"""Rotations, affine maps, perspective and elastic deformations.

A pixel of the result is read at a place of the input: the map is given from result to input. Pixel
(i, j) covers [i, i + 1) x [j, j + 1), so that its centre is at (i + 0.5, j + 0.5). Pillow's images
go through Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.creation import arange, tensor
from tgrad.ops import minimum, pad, where
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow, pillow
from tgrad.vision.transforms.functional.convert import pil_to_tensor, to_pil_image
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

NEAREST = InterpolationMode.NEAREST


# ---- reading between pixels ----------------------------------------------------------------------


def sampled(image: Tensor, x: Tensor, y: Tensor, mode: InterpolationMode, fill: Fill) -> Tensor:
    """The image at places: ``x``, ``y`` are columns and rows of each pixel, 0 at the first centre.

    Outside of the image is ``fill``, or 0 where it is None. Between the outermost centres and
    ``fill`` the result is w (w pixel) + (1 - w) fill with w the weight that is inside, as in
    torchvision; w pixel where ``fill`` is None. Integers are interpolated in float32 and rounded.
    Shape: image (..., H, W), x and y (H', W') -> (..., H', W').
    """
    value = tensor_fill(fill, image)
    ink = value
    if isinstance(value, Sequence):
        ink = tensor(list(value), dtype=x.dtype, device=image.device).reshape(-1, 1, 1)
    if mode is NEAREST:
        x, y = x.round(), y.round()
        found = where(_inside(x, y, image), _pixels(image, x, y), 0 if ink is None else ink)
        return _like(found, image)
    if mode is not InterpolationMode.BILINEAR:
        raise ValueError(f"Interpolation mode '{mode.value}' is unsupported with Tensor input")
    total = _between(image if image.dtype.is_floating_point else image.to(x.dtype), x, y)
    if ink is not None:
        h, w = image.shape[-2:]
        total = (total - ink) * (_share(x, w) * _share(y, h)) + ink
    return _like(total, image)


def _between(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear interpolation, with 0 outside of the image: a frame of it is put around."""
    h, w = image.shape[-2:]
    flat = pad(image, (1, 1, 1, 1)).flatten(-2)  # (..., (H + 2) (W + 2))
    x0, y0 = x.floor(), y.floor()
    right, down = x - x0, y - y0
    columns = [(x0 + k).clamp(0, w + 1).to(dtypes.int64) for k in (1, 2)]
    rows = [(y0 + k).clamp(0, h + 1).to(dtypes.int64) * (w + 2) for k in (1, 2)]
    shape = (*image.shape[:-2], *x0.shape)

    def pixels(row: Tensor, column: Tensor) -> Tensor:
        return flat.index_select(-1, (row + column).flatten()).reshape(shape)

    upper, lower = ((a := pixels(r, columns[0])) + (pixels(r, columns[1]) - a) * right
                    for r in rows)  # fmt: skip
    return upper + (lower - upper) * down


def _share(x: Tensor, n: int) -> Tensor:
    """How much of the weights at ``x`` falls on pixels 0 to n - 1: fades over one pixel."""
    return minimum(x + 1, n - x).clamp(0, 1)


def _like(values: Tensor, image: Tensor) -> Tensor:
    """In the image's dtype, rounded where that is one of integers."""
    whole = values.dtype.is_floating_point and not image.dtype.is_floating_point
    return (values.round() if whole else values).to(image.dtype)


def _inside(x: Tensor, y: Tensor, image: Tensor) -> Tensor:
    h, w = image.shape[-2:]
    return (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)


def _pixels(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The pixels in whole columns ``x`` and rows ``y``, those outside taken from the edge."""
    h, w = image.shape[-2:]
    at = y.clamp(0, h - 1).to(dtypes.int64) * w + x.clamp(0, w - 1).to(dtypes.int64)
    found = image.flatten(-2).index_select(-1, at.flatten())
    return found.reshape(*image.shape[:-2], *at.shape)


def _centres(image: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Columns (1, W) and rows (H, 1) of the centres of pixels."""
    kind = image.dtype if image.dtype.is_floating_point else dtypes.float32
    options = {"dtype": kind, "device": image.device}
    return arange(width, **options) + 0.5, (arange(height, **options) + 0.5).unsqueeze(-1)


def _mapped(
    image: Tensor, m: Sequence[float], size: tuple[int, int], mode: InterpolationMode, fill: Fill
) -> Tensor:
    """The image under an affine map (2 x 3, from result to input, both about their middles)."""
    h, w = image.shape[-2:]
    height, width = size
    x, y = _centres(image, height, width)
    x, y = x - width / 2, y - height / 2
    columns = x * m[0] + (y * m[1] + (m[2] + w / 2 - 0.5))
    rows = x * m[3] + (y * m[4] + (m[5] + h / 2 - 0.5))
    return sampled(image, columns, rows, mode, fill)


# ---- affine maps ---------------------------------------------------------------------------------


def inverse_matrix(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float,
    shear: Sequence[float],
) -> list[float]:  # fmt: skip
    """The 2 x 3 matrix from result to input of: shear, scale, rotate about center, translate.

    Forward it is x -> R(angle) scale Y(shear_y) X(shear_x) (x - c) + c + t with X = [[1, -tan], [0,
    1]] and Y = [[1, 0], [-tan, 1]]; degrees, clockwise as rows go down.
    """
    a = math.radians(angle)
    slant, upright = (math.tan(math.radians(d)) for d in shear)
    cos, sin = math.cos(a) / scale, math.sin(a) / scale
    both = 1 + slant * upright  # X(-shear_x) Y(-shear_y) = [[both, slant], [upright, 1]]
    xx, xy = both * cos - slant * sin, both * sin + slant * cos
    yx, yy = upright * cos - sin, upright * sin + cos
    x, y = center[0] + translate[0], center[1] + translate[1]
    return [xx, xy, center[0] - xx * x - xy * y, yx, yy, center[1] - yx * x - yy * y]


def affine(
    inpt: Any, angle: float, translate: Sequence[float], scale: float,
    shear: float | Sequence[float], interpolation: Interpolation = NEAREST, fill: Fill = None,
    center: Sequence[float] | None = None,
) -> Any:  # fmt: skip
    """The image sheared, scaled, rotated by ``angle`` degrees clockwise and then moved.

    ``translate`` in pixels (right, down), ``shear`` in degrees (x, or x and y), ``center`` (x, y)
    the fixed point in pixels from the upper left corner, the middle unless given. Tensors:
    nearest or bilinear.
    Raises: TypeError and ValueError for arguments of another kind or length, a scale of 0 or less.
    """
    check_image("affine", inpt)
    shear = _checked_affine(angle, translate, scale, shear, center)
    mode = interpolation_mode(interpolation)
    h, w = get_size(inpt)
    middle = [w / 2, h / 2]
    fixed = middle if center is None else list(center)
    if is_pillow(inpt):
        matrix = inverse_matrix(fixed, angle, translate, scale, shear)
        kind = pillow("affine").Transform.AFFINE
        return inpt.transform(inpt.size, kind, matrix, PILLOW_MODES[mode],
                              fillcolor=pillow_fill(fill, inpt))  # fmt: skip
    about = [c - s for c, s in zip(fixed, middle, strict=True)]
    matrix = inverse_matrix(about, angle, translate, scale, shear)
    return _mapped(inpt, matrix, (h, w), mode, fill)


def _checked_affine(angle: Any, translate: Any, scale: Any, shear: Any, center: Any) -> list[float]:
    """The shear as two numbers. Raises what :func:`affine` says."""
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    if not isinstance(translate, (list, tuple)):
        raise TypeError("Argument translate should be a sequence")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if not isinstance(shear, (int, float, list, tuple)):
        raise TypeError("Shear should be either a single value or a sequence of two values")
    slopes = [shear, 0.0] if isinstance(shear, (int, float)) else list(shear)
    slopes = [slopes[0], slopes[0]] if len(slopes) == 1 else slopes
    if len(slopes) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError("Argument center should be a sequence")
    return [float(s) for s in slopes]


def rotate(
    inpt: Any, angle: float, interpolation: Interpolation = NEAREST, expand: bool = False,
    center: Sequence[float] | None = None, fill: Fill = None,
) -> Any:  # fmt: skip
    """The image turned by ``angle`` degrees anticlockwise about ``center`` (x, y; the middle).

    ``expand`` makes the result as large as the whole turned image needs when its middle is the
    centre. Quarter turns of tensors about the middle are exact.
    """
    check_image("rotate", inpt)
    mode = interpolation_mode(interpolation)
    if is_pillow(inpt):
        return inpt.rotate(angle, PILLOW_MODES[mode], expand, center,
                           fillcolor=pillow_fill(fill, inpt))  # fmt: skip
    angle = angle % 360
    h, w = inpt.shape[-2:]
    if center is None and (angle % 180 == 0 or (angle % 90 == 0 and (expand or h == w))):
        quarters = int(angle // 90)
        return inpt.rot90(quarters, (-2, -1)) if quarters else inpt.clone()
    about = [0.0, 0.0] if center is None else [center[0] - w / 2, center[1] - h / 2]
    matrix = inverse_matrix(about, -angle, [0, 0], 1.0, [0, 0])
    size = expanded(matrix, h, w) if expand else (h, w)
    return _mapped(inpt, matrix, size, mode, fill)


def expanded(m: Sequence[float], height: int, width: int) -> tuple[int, int]:
    """(H, W) of the smallest grid that holds an image's corners under a rotation.

    A thousandth of a pixel more or less counts for nothing.
    """
    sides = []
    for a, b, c, n in ((*m[3:], height), (*m[:3], width)):
        ends = [a * x + b * y + c + n / 2 for x in (-width / 2, width / 2)
                for y in (-height / 2, height / 2)]  # fmt: skip
        low, high = (math.trunc(e * 1000) / 1000 for e in (min(ends), max(ends)))
        sides.append(math.ceil(high) - math.floor(low))
    return sides[0], sides[1]


# ---- perspective and elastic ---------------------------------------------------------------------


def perspective_coefficients(
    startpoints: Sequence[Sequence[float]], endpoints: Sequence[Sequence[float]]
) -> list[float]:
    """(a, ..., h) of the map ((a x + b y + c) / d, (d x + e y + f) / d), d = g x + h y + 1.

    It takes each of the four ``endpoints`` to its startpoint. Raises ValueError for other than four
    of each.
    """
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(
            "Please provide exactly four corners, got "
            f"{len(startpoints)} startpoints and {len(endpoints)} endpoints."
        )
    rows, right = [], []
    for (u, v), (x, y) in zip(startpoints, endpoints, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        right += [u, v]
    solution = np.linalg.lstsq(np.array(rows, np.float64), np.array(right, np.float64), rcond=None)
    return solution[0].tolist()


def perspective(
    inpt: Any, startpoints: Sequence[Sequence[int]] | None,
    endpoints: Sequence[Sequence[int]] | None,
    interpolation: Interpolation = InterpolationMode.BILINEAR, fill: Fill = None,
    coefficients: Sequence[float] | None = None,
) -> Any:  # fmt: skip
    """The image seen so that its four ``startpoints`` (x, y) come to lie at ``endpoints``.

    ``coefficients`` instead of points are those of :func:`perspective_coefficients`.
    Raises: ValueError unless either all points or eight coefficients are given.
    """
    check_image("perspective", inpt)
    if (coefficients is None) == (startpoints is None or endpoints is None):
        raise ValueError("Either the startpoints and endpoints or the coefficients must be given.")
    if coefficients is None:
        assert startpoints is not None and endpoints is not None
        coefficients = perspective_coefficients(startpoints, endpoints)
    if len(coefficients) != 8:
        raise ValueError("Argument coeffs should have 8 float values")
    mode = interpolation_mode(interpolation)
    if is_pillow(inpt):
        kind = pillow("perspective").Transform.PERSPECTIVE
        return inpt.transform(inpt.size, kind, list(coefficients), PILLOW_MODES[mode],
                              fillcolor=pillow_fill(fill, inpt))  # fmt: skip
    a, b, c, d, e, f, g, h = coefficients
    x, y = _centres(inpt, *inpt.shape[-2:])
    depth = x * g + (y * h + 1)
    columns = (x * a + (y * b + c)) / depth - 0.5
    rows = (x * d + (y * e + f)) / depth - 0.5
    return sampled(inpt, columns, rows, mode, fill)


def elastic(
    inpt: Any, displacement: Tensor, interpolation: Interpolation = InterpolationMode.BILINEAR,
    fill: Fill = None,
) -> Any:  # fmt: skip
    """Each pixel read at a displaced place; ``displacement`` in half widths and half heights.

    Shape: displacement (1, H, W, 2), x before y. Raises: TypeError and ValueError for others.
    """
    check_image("elastic", inpt)
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    if is_pillow(inpt):
        image = elastic(pil_to_tensor(inpt), displacement, interpolation, fill)
        return to_pil_image(image, inpt.mode)
    h, w = inpt.shape[-2:]
    if tuple(displacement.shape) != (1, h, w, 2):
        raise ValueError(
            f"Argument displacement shape should be {(1, h, w, 2)}, but given "
            f"{tuple(displacement.shape)}"
        )
    x, y = _centres(inpt, h, w)
    moved = displacement[0].to(device=inpt.device, dtype=x.dtype)
    columns, rows = x - 0.5 + moved[..., 0] * (w / 2), y - 0.5 + moved[..., 1] * (h / 2)
    return sampled(inpt, columns, rows, interpolation_mode(interpolation), fill)


elastic_transform = elastic
