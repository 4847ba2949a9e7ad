"""Classes that move pixels: resizing, crops, padding, flips, rotations and other warps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from tgrad import dtypes
from tgrad.creation import as_tensor, rand, randn
from tgrad.ops import stack
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms import chance
from tgrad.vision.transforms import functional as F
from tgrad.vision.transforms.base import Params, RandomTransform, Transform, image_size
from tgrad.vision.transforms.functional.geometry import borders, check_padding_mode, two
from tgrad.vision.transforms.functional.image import Fill, Interpolation
from tgrad.vision.transforms.functional.warp import perspective_coefficients

Size = int | Sequence[int]


def sequence_of(name: str, value: Any, *lengths: int) -> Any:
    """``value`` if it is a sequence of one of the lengths. Raises TypeError or ValueError."""
    wanted = " or ".join(map(str, lengths))
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be a sequence of length {wanted}.")
    if len(value) not in lengths:
        raise ValueError(f"{name} should be a sequence of length {wanted}.")
    return value


def angles(name: str, value: float | Sequence[float], *lengths: int) -> list[float]:
    """[-value, value] for one number, else the numbers of a sequence."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        value = [-value, value]
    return [float(d) for d in sequence_of(name, value, *(lengths or (2,)))]


def checked_fill(fill: Any) -> Any:
    if fill is not None and not isinstance(fill, (int, float, tuple, list)):
        raise TypeError("Got inappropriate fill arg, only Numbers, tuples and lists are allowed.")
    return fill


def size_pair(size: Size) -> tuple[int, ...]:
    """(H, W), one number for both."""
    return tuple(two(size, "size"))


class RandomHorizontalFlip(RandomTransform):
    """Left and right exchanged with probability ``p``."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.horizontal_flip(inpt)


class RandomVerticalFlip(RandomTransform):
    """Top and bottom exchanged with probability ``p``."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.vertical_flip(inpt)


class Resize(Transform):
    """:func:`functional.resize` to ``size``."""

    def __init__(
        self, size: Size | None, interpolation: Interpolation = "bilinear",
        max_size: int | None = None, antialias: bool | None = True,
    ):  # fmt: skip
        super().__init__()
        if size is None and not isinstance(max_size, int):
            raise ValueError(f"max_size must be an integer when size is None, but got {max_size}.")
        several = isinstance(size, Sequence) and len(size) in (1, 2)
        if not (size is None or isinstance(size, int) or several):
            raise ValueError(
                "size can be an integer, a sequence of one or two integers, or None, but got "
                f"{size} instead."
            )
        self.size = [size] if isinstance(size, int) else size if size is None else list(size)
        self.interpolation, self.max_size, self.antialias = interpolation, max_size, antialias

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.resize(inpt, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of an image, padded with 0 first where it is smaller."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size_pair(size)

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.center_crop(inpt, self.size)


class FiveCrop(Transform):
    """A tuple of five images in place of one: the corners and the middle."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size_pair(size)

    def transform(self, inpt: Any, params: Params) -> tuple[Any, ...]:
        return F.five_crop(inpt, self.size)


class TenCrop(Transform):
    """A tuple of ten images in place of one: :class:`FiveCrop` of it and of its mirror image."""

    def __init__(self, size: Size, vertical_flip: bool = False):
        super().__init__()
        self.size, self.vertical_flip = size_pair(size), vertical_flip

    def transform(self, inpt: Any, params: Params) -> tuple[Any, ...]:
        return F.ten_crop(inpt, self.size, self.vertical_flip)


class Pad(Transform):
    """:func:`functional.pad`."""

    def __init__(
        self, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant"
    ):
        super().__init__()
        borders(padding)
        check_padding_mode(padding_mode)
        self.padding = padding
        self.fill, self.padding_mode = checked_fill(fill), padding_mode

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.pad(inpt, self.padding, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """A window of ``size`` at a random place, after padding.

    ``pad_if_needed`` pads a side that is too short on both ends by what it lacks.
    Raises: ValueError for an image that is smaller than ``size`` all the same.
    """

    def __init__(
        self, size: Size, padding: int | Sequence[int] | None = None, pad_if_needed: bool = False,
        fill: Fill = 0, padding_mode: str = "constant",
    ):  # fmt: skip
        super().__init__()
        self.size = size_pair(size)
        check_padding_mode(padding_mode)
        left, top, right, bottom = borders(padding or 0)
        self.padding = [left, right, top, bottom] if padding else None
        self.pad_if_needed, self.fill = pad_if_needed, checked_fill(fill)
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a random window in ``img``."""
        _, h, w = F.get_dimensions(img)
        return _window(h, w, *output_size)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        _, h, w = image_size(flat_inputs)
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        height, width = self.size
        if self.pad_if_needed:
            short = max(height - (h + top + bottom), 0), max(width - (w + left + right), 0)
            top, bottom = top + short[0], bottom + short[0]
            left, right = left + short[1], right + short[1]
        h, w = h + top + bottom, w + left + right
        where = _window(h, w, height, width)
        return {"padding": [left, top, right, bottom], "window": where, "whole": (h, w)}

    def transform(self, inpt: Any, params: Params) -> Any:
        if any(params["padding"]):
            inpt = F.pad(inpt, params["padding"], self.fill, self.padding_mode)
        return inpt if params["whole"] == self.size else F.crop(inpt, *params["window"])


def _window(h: int, w: int, height: int, width: int) -> tuple[int, int, int, int]:
    if h < height or w < width:
        raise ValueError(
            f"Required crop size {(height, width)} is larger than input image size {(h, w)}"
        )
    return chance.integer(0, h - height + 1), chance.integer(0, w - width + 1), height, width


class RandomResizedCrop(Transform):
    """A window of random area and aspect ratio, resized (Szegedy et al. 2014, arXiv:1409.4842).

    ``scale`` limits its share of the image's area, ``ratio`` width / height, evenly in its
    logarithm. After ten windows that do not fit the largest in the middle is taken.
    """

    def __init__(
        self, size: Size, scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0), interpolation: Interpolation = "bilinear",
        antialias: bool | None = True,
    ):  # fmt: skip
        super().__init__()
        self.size = size_pair(size)
        for name, pair in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise TypeError(f"{name} should be a sequence of two floats.")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        self.scale, self.ratio = scale, ratio
        self.interpolation, self.antialias = interpolation, antialias

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a random window in ``img``."""
        _, h, w = F.get_dimensions(img)
        for _ in range(10):
            height, width = random_sides(h * w, scale, ratio)
            if 0 < width <= w and 0 < height <= h:
                return _window(h, w, height, width)
        aspect = min(max(w / h, min(ratio)), max(ratio))
        width, height = min(w, round(h * aspect)), min(h, round(w / aspect))
        return (h - height) // 2, (w - width) // 2, height, width

    def make_params(self, flat_inputs: list[Any]) -> Params:
        image_size(flat_inputs)
        return {"window": self.get_params(flat_inputs[0], self.scale, self.ratio)}

    def transform(self, inpt: Any, params: Params) -> Any:
        top, left, height, width = params["window"]
        return F.resized_crop(
            inpt, top, left, height, width, self.size, self.interpolation, self.antialias
        )


def random_sides(area: float, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int]:
    """(H, W) of a rectangle with a random share of ``area``; width / height log-uniform."""
    part = area * chance.uniform(*scale)
    aspect = math.exp(chance.uniform(math.log(ratio[0]), math.log(ratio[1])))
    return round(math.sqrt(part / aspect)), round(math.sqrt(part * aspect))


class RandomRotation(Transform):
    """:func:`functional.rotate` by an angle out of ``degrees``."""

    def __init__(
        self, degrees: float | Sequence[float], interpolation: Interpolation = "nearest",
        expand: bool = False, center: Sequence[float] | None = None, fill: Fill = 0,
    ):  # fmt: skip
        super().__init__()
        self.degrees = angles("degrees", degrees)
        self.interpolation, self.expand, self.fill = interpolation, expand, checked_fill(fill)
        self.center = None if center is None else sequence_of("center", center, 2)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """A random angle."""
        return chance.uniform(*degrees)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        return {"angle": self.get_params(self.degrees)}

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.rotate(inpt, params["angle"], self.interpolation, self.expand, self.center,
                        self.fill)  # fmt: skip


class RandomAffine(Transform):
    """:func:`functional.affine` with a random angle, shift, scale and shear.

    ``translate``: the largest shifts as shares of width and height. ``shear``: one number or two
    for x, four for x and y.
    """

    def __init__(
        self, degrees: float | Sequence[float], translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None, shear: float | Sequence[float] | None = None,
        interpolation: Interpolation = "nearest", fill: Fill = 0,
        center: Sequence[float] | None = None,
    ):  # fmt: skip
        super().__init__()
        self.degrees = angles("degrees", degrees)
        if translate is not None and not all(
            0.0 <= t <= 1.0 for t in sequence_of("translate", translate, 2)
        ):
            raise ValueError("translation values should be between 0 and 1")
        if scale is not None and not all(s > 0 for s in sequence_of("scale", scale, 2)):
            raise ValueError("scale values should be positive")
        self.translate, self.scale = translate, scale
        self.shear = None if shear is None else angles("shear", shear, 2, 4)
        self.interpolation, self.fill = interpolation, checked_fill(fill)
        self.center = None if center is None else sequence_of("center", center, 2)

    @staticmethod
    def get_params(
        degrees: Sequence[float], translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None, shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:  # fmt: skip
        """(angle, translate, scale, shear) for an image of ``img_size``, (W, H)."""
        angle = chance.uniform(*degrees)
        limits = [t * n for t, n in zip(translate or (0, 0), img_size, strict=True)]
        x, y = (round(chance.uniform(-m, m)) if translate is not None else 0 for m in limits)
        scale = 1.0 if scale_ranges is None else chance.uniform(*scale_ranges)
        slopes = list(shears or ())
        sx = chance.uniform(*slopes[:2]) if slopes else 0.0
        sy = chance.uniform(*slopes[2:]) if len(slopes) == 4 else 0.0
        return angle, (x, y), scale, (sx, sy)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        _, h, w = image_size(flat_inputs)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, (w, h))
        return {"affine": drawn}

    def transform(self, inpt: Any, params: Params) -> Any:
        angle, translate, scale, shear = params["affine"]
        return F.affine(
            inpt, angle, translate, scale, shear, self.interpolation, self.fill, self.center
        )


class RandomPerspective(RandomTransform):
    """:func:`functional.perspective` with each corner moved inwards by a random amount.

    At most by ``distortion_scale`` of half a side.
    """

    def __init__(
        self, distortion_scale: float = 0.5, p: float = 0.5,
        interpolation: Interpolation = "bilinear", fill: Fill = 0,
    ):  # fmt: skip
        super().__init__(p)
        if not 0 <= distortion_scale <= 1:
            raise ValueError("Argument distortion_scale value should be between 0 and 1")
        self.distortion_scale = distortion_scale
        self.interpolation, self.fill = interpolation, checked_fill(fill)

    @staticmethod
    def get_params(
        width: int, height: int, distortion_scale: float
    ) -> tuple[list[list[int]], list[list[int]]]:
        """The four corners, clockwise from the top left, and where they go."""
        across = int(distortion_scale * (width // 2)) + 1
        down = int(distortion_scale * (height // 2)) + 1
        start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        end = []
        for x, y in start:
            dx, dy = chance.integer(0, across), chance.integer(0, down)
            end.append([x - dx if x else dx, y - dy if y else dy])
        return start, end

    def make_params(self, flat_inputs: list[Any]) -> Params:
        _, h, w = image_size(flat_inputs)
        return {"coefficients": perspective_coefficients(
            *self.get_params(w, h, self.distortion_scale))}  # fmt: skip

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.perspective(inpt, None, None, self.interpolation, self.fill,
                             params["coefficients"])  # fmt: skip


class ElasticTransform(Transform):
    """Each pixel moved at random, its neighbours with it (Simard et al. 2003).

    ``alpha`` is how far, ``sigma`` how smooth, in pixels; each one number or (for x, for y).
    """

    def __init__(
        self, alpha: float | Sequence[float] = 50.0, sigma: float | Sequence[float] = 5.0,
        interpolation: Interpolation = "bilinear", fill: Fill = 0,
    ):  # fmt: skip
        super().__init__()
        self.alpha, self.sigma = (
            [float(v)] * 2 if isinstance(v, (int, float))
            else [float(v[0]), float(v[-1])] for v in (alpha, sigma)
        )  # fmt: skip
        self.interpolation, self.fill = interpolation, checked_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        _, h, w = image_size(flat_inputs)
        parts = []
        for alpha, sigma, side in zip(self.alpha, self.sigma, (w, h), strict=True):
            field = rand(1, 1, h, w, dtype=dtypes.float32, device="cpu") * 2 - 1
            if sigma > 0:
                size = int(8 * sigma + 1) | 1
                # a window that is wider than the image cannot be reflected in it
                sizes = [min(size, (n - 1) * 2 + 1) | 1 for n in (w, h)]
                field = F.gaussian_blur(field, sizes, [sigma, sigma])
            parts.append(field[0] * alpha / side)
        return {"displacement": stack(parts, -1)}

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.elastic(inpt, params["displacement"], self.interpolation, self.fill)


class RandomErasing(RandomTransform):
    """A random rectangle overwritten (Zhong et al. 2017, arXiv:1708.04896).

    ``scale`` limits its share of the area, ``ratio`` height / width. ``value``: one number, one
    for each channel, or "random" for normal noise. After ten rectangles that do not fit nothing
    is erased.
    """

    def __init__(
        self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3), value: float | str | Sequence[float] = 0.0,
        inplace: bool = False,
    ):  # fmt: skip
        super().__init__(p)
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        for name, pair in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(pair, Sequence):
                raise TypeError(f"{name} should be a sequence")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        self.scale, self.ratio = scale, ratio
        self.value: list[float] | None
        if isinstance(value, str):
            self.value = None
        else:
            several = [value] if isinstance(value, (int, float)) else value
            self.value = [float(v) for v in several]
        self.inplace = inplace

    def make_params(self, flat_inputs: list[Any]) -> Params:
        c, h, w = image_size(flat_inputs)
        if self.value is not None and len(self.value) not in (1, c):
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{c} (number of input channels)"
            )
        for _ in range(10):
            width, height = random_sides(h * w, self.scale, self.ratio)
            if height < h and width < w:
                return {"where": _window(h, w, height, width), "value": self._values(
                    flat_inputs[0], (c, height, width))}  # fmt: skip
        return {"where": None}

    def _values(self, image: Any, shape: tuple[int, ...]) -> Tensor:
        where = "cpu" if is_pillow(image) else image.device
        if self.value is None:
            return randn(shape, device=where, dtype=dtypes.float32)
        return as_tensor(self.value, dtype=dtypes.float32, device=where).reshape(-1, 1, 1)

    def transform(self, inpt: Any, params: Params) -> Any:
        if params["where"] is None:
            return inpt
        top, left, height, width = params["where"]
        return F.erase(inpt, top, left, height, width, params["value"], self.inplace)
