"""Classes that change colours, sharpness and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tgrad.tensor import Tensor
from tgrad.vision.transforms import chance
from tgrad.vision.transforms import functional as F
from tgrad.vision.transforms.base import Params, RandomTransform, Transform, image_size
from tgrad.vision.transforms.functional.filters import checked_kernel

Range = tuple[float, float] | None


def _factors(
    name: str, value: float | Sequence[float] | None, center: float, low: float, high: float
) -> Range:
    """The range of factors: ``value`` to both sides of ``center``, or itself; None: no change."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        ends = [center - value, center + value]
        ends[0] = max(ends[0], low) if low == 0 else ends[0]
    elif isinstance(value, Sequence) and len(value) == 2:
        ends = [float(v) for v in value]
    else:
        raise TypeError(f"{name}={value} should be a single number or a sequence with length 2.")
    if not low <= ends[0] <= ends[1] <= high:
        raise ValueError(
            f"{name} values should be between {(low, high)} and increasing, but got {ends}."
        )
    return None if ends[0] == ends[1] == center else (float(ends[0]), float(ends[1]))


_ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random factors, in random order.

    A number v stands for [1 - v, 1 + v], for hue [-v, v]; a pair is the range itself. Hue lies in
    [-0.5, 0.5], the others are not negative.
    """

    def __init__(
        self, brightness: float | Sequence[float] | None = None,
        contrast: float | Sequence[float] | None = None,
        saturation: float | Sequence[float] | None = None,
        hue: float | Sequence[float] | None = None,
    ):  # fmt: skip
        super().__init__()
        inf = float("inf")
        self.brightness = _factors("brightness", brightness, 1.0, 0, inf)
        self.contrast = _factors("contrast", contrast, 1.0, 0, inf)
        self.saturation = _factors("saturation", saturation, 1.0, 0, inf)
        self.hue = _factors("hue", hue, 0.0, -0.5, 0.5)

    @staticmethod
    def get_params(
        brightness: Range, contrast: Range, saturation: Range, hue: Range
    ) -> tuple[Any, ...]:
        """The order of the four changes and the factor of each, None where it is left out."""
        order = chance.order(4)
        drawn = [None if r is None else chance.uniform(*r)
                 for r in (brightness, contrast, saturation, hue)]  # fmt: skip
        return order, *drawn

    def make_params(self, flat_inputs: list[Any]) -> Params:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        return {"order": order, "factors": factors}

    def transform(self, inpt: Any, params: Params) -> Any:
        for i in params["order"]:
            if params["factors"][i] is not None:
                inpt = _ADJUST[i](inpt, params["factors"][i])
        return inpt


class RandomGrayscale(RandomTransform):
    """Black and white with probability ``p``, in as many channels as before."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        return {"channels": image_size(flat_inputs)[0]}

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.rgb_to_grayscale(inpt, params["channels"])


class RandomChannelPermutation(Transform):
    """The channels in random order."""

    def make_params(self, flat_inputs: list[Any]) -> Params:
        return {"permutation": chance.order(image_size(flat_inputs)[0])}

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.permute_channels(inpt, params["permutation"])


class RandomInvert(RandomTransform):
    """White minus the image, with probability ``p``."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.invert(inpt)


class RandomPosterize(RandomTransform):
    """Only the highest ``bits`` bits, with probability ``p``."""

    def __init__(self, bits: int, p: float = 0.5):
        super().__init__(p)
        self.bits = bits

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.posterize(inpt, self.bits)


class RandomSolarize(RandomTransform):
    """Values from ``threshold`` on inverted, with probability ``p``."""

    def __init__(self, threshold: float, p: float = 0.5):
        super().__init__(p)
        self.threshold = threshold

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.solarize(inpt, self.threshold)


class RandomAdjustSharpness(RandomTransform):
    """:func:`functional.adjust_sharpness` with probability ``p``."""

    def __init__(self, sharpness_factor: float, p: float = 0.5):
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.adjust_sharpness(inpt, self.sharpness_factor)


class RandomAutocontrast(RandomTransform):
    """Each channel stretched from black to white, with probability ``p``."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.autocontrast(inpt)


class RandomEqualize(RandomTransform):
    """The histogram of each channel made flat, with probability ``p``."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.equalize(inpt)


class GaussianBlur(Transform):
    """:func:`functional.gaussian_blur` with a random sigma out of ``sigma``, alike for x and y."""

    def __init__(
        self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)
    ):
        super().__init__()
        self.kernel_size = tuple(checked_kernel(kernel_size))
        if not all(k > 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        ends = [sigma] if isinstance(sigma, (int, float)) else list(sigma)
        if len(ends) not in (1, 2):
            raise ValueError(f"If sigma is a sequence its length should be 1 or 2. Got {len(ends)}")
        self.sigma = [float(ends[0]), float(ends[-1])]
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(
                f"sigma values should be positive and of the form (min, max). Got {self.sigma}"
            )

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A random sigma."""
        return chance.uniform(sigma_min, sigma_max)

    def make_params(self, flat_inputs: list[Any]) -> Params:
        return {"sigma": self.get_params(*self.sigma)}

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.gaussian_blur(inpt, self.kernel_size, params["sigma"])


class GaussianNoise(Transform):
    """:func:`functional.gaussian_noise`."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True):
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt: Any, params: Params) -> Tensor:
        return F.gaussian_noise(inpt, self.mean, self.sigma, self.clip)
