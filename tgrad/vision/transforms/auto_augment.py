"""Augmentation by policies: operations with magnitudes that were searched for or are drawn."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms import chance
from tgrad.vision.transforms import functional as F
from tgrad.vision.transforms.base import Transform, leaves, rebuilt, sample_of, which_are_images
from tgrad.vision.transforms.functional.image import Fill, Interpolation, largest_value
from tgrad.vision.transforms.geometry import checked_fill


class AutoAugmentPolicy(enum.Enum):
    """The data sets that :class:`AutoAugment` has policies for."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# 25 pairs of (operation, probability, magnitude out of 10) for each data set (Cubuk et al. 2018,
# arXiv:1805.09501, appendix). An operation without magnitude has "-".
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize .4 8 Rotate .6 9; Solarize .6 5 AutoContrast .6 -; Equalize .8 - Equalize .6 -;
        Posterize .6 7 Posterize .6 6; Equalize .4 - Solarize .2 4; Equalize .4 - Rotate .8 8;
        Solarize .6 3 Equalize .6 -; Posterize .8 5 Equalize 1 -; Rotate .2 3 Solarize .6 8;
        Equalize .6 - Posterize .4 6; Rotate .8 8 Color .4 0; Rotate .4 9 Equalize .6 -;
        Equalize 0 - Equalize .8 -; Invert .6 - Equalize 1 -; Color .6 4 Contrast 1 8;
        Rotate .8 8 Color 1 2; Color .8 8 Solarize .8 7; Sharpness .4 7 Invert .6 -;
        ShearX .6 5 Equalize 1 -; Color .4 0 Equalize .6 -; Equalize .4 - Solarize .2 4;
        Solarize .6 5 AutoContrast .6 -; Invert .6 - Equalize 1 -; Color .6 4 Contrast 1 8;
        Equalize .8 - Equalize .6 -""",
    AutoAugmentPolicy.CIFAR10: """
        Invert .1 - Contrast .2 6; Rotate .7 2 TranslateX .3 9; Sharpness .8 1 Sharpness .9 3;
        ShearY .5 8 TranslateY .7 9; AutoContrast .5 - Equalize .9 -; ShearY .2 7 Posterize .3 7;
        Color .4 3 Brightness .6 7; Sharpness .3 9 Brightness .7 9; Equalize .6 - Equalize .5 -;
        Contrast .6 7 Sharpness .6 5; Color .7 7 TranslateX .5 8; Equalize .3 - AutoContrast .4 -;
        TranslateY .4 3 Sharpness .2 6; Brightness .9 6 Color .2 8; Solarize .5 2 Invert 0 -;
        Equalize .2 - AutoContrast .6 -; Equalize .2 - Equalize .6 -; Color .9 9 Equalize .6 -;
        AutoContrast .8 - Solarize .2 8; Brightness .1 3 Color .7 0;
        Solarize .4 5 AutoContrast .9 -; TranslateY .9 9 TranslateY .7 9;
        AutoContrast .9 - Solarize .8 3; Equalize .8 - Invert .1 -;
        TranslateY .7 9 AutoContrast .9 -""",
    AutoAugmentPolicy.SVHN: """
        ShearX .9 4 Invert .2 -; ShearY .9 8 Invert .7 -; Equalize .6 - Solarize .6 6;
        Invert .9 - Equalize .6 -; Equalize .6 - Rotate .9 3; ShearX .9 4 AutoContrast .8 -;
        ShearY .9 8 Invert .4 -; ShearY .9 5 Solarize .2 6; Invert .9 - AutoContrast .8 -;
        Equalize .6 - Rotate .9 3; ShearX .9 4 Solarize .3 3; ShearY .8 8 Invert .7 -;
        Equalize .9 - TranslateY .6 6; Invert .9 - Equalize .6 -; Contrast .3 3 Rotate .8 4;
        Invert .8 - TranslateY 0 2; ShearY .7 6 Solarize .4 8; Invert .6 - Rotate .8 4;
        ShearY .3 7 TranslateX .9 3; ShearX .1 6 Invert .6 -; Solarize .7 2 TranslateY .6 7;
        ShearY .8 4 Invert .8 -; ShearX .7 9 TranslateY .8 3; ShearY .8 5 AutoContrast .7 -;
        ShearX .7 2 Invert .1 -""",
}

Step = tuple[str, float, int | None]


def policy_of(policy: AutoAugmentPolicy) -> list[tuple[Step, ...]]:
    """The pairs of a policy. Raises ValueError for anything else."""
    if policy not in _POLICIES:
        raise ValueError(f"The provided policy {policy} is not recognized.")
    pairs = []
    for text in _POLICIES[policy].split(";"):
        words = text.split()
        steps = [words[i : i + 3] for i in range(0, len(words), 3)]
        pairs.append(tuple((n, float(p), None if m == "-" else int(m)) for n, p, m in steps))
    return pairs


# ---- operations ----------------------------------------------------------------------------------

Magnitudes = Callable[[int, int, int], "np.ndarray | None"]  # of bins, height and width
Space = dict[str, tuple[Magnitudes, bool]]  # ... and whether the sign is random


def space(
    shear: float, shift: tuple[float | None, float], degrees: float, factor: float | None,
    bits: tuple[int, int], more: tuple[str, ...],
) -> Space:  # fmt: skip
    """The operations and their largest magnitudes.

    ``shift``: pixels, or None and a share of the side; ``factor``: of colours and sharpness, None
    leaves these out; ``bits``: those kept at the smallest magnitude and how many fewer at the
    largest; ``more``: operations without magnitude.
    """

    def up_to(largest: float) -> tuple[Magnitudes, bool]:
        return (lambda n, h, w: np.linspace(0.0, largest, n)), True

    def moved(side: int) -> tuple[Magnitudes, bool]:
        pixels, share = shift
        return (lambda n, h, w: np.linspace(
            0.0, share * (h, w)[side] if pixels is None else pixels, n)), True  # fmt: skip

    kept, fewer = bits
    found: Space = {
        "ShearX": up_to(shear), "ShearY": up_to(shear), "TranslateX": moved(1),
        "TranslateY": moved(0), "Rotate": up_to(degrees),
        "Posterize": ((lambda n, h, w: np.round(kept - np.arange(n) / ((n - 1) / fewer))), False),
        "Solarize": ((lambda n, h, w: np.linspace(1.0, 0.0, n)), False),
    }  # fmt: skip
    if factor is not None:
        names = ("Brightness", "Color", "Contrast", "Sharpness")
        found.update({name: up_to(factor) for name in names})
    found.update({name: ((lambda n, h, w: None), False) for name in more})
    return found


def applied(
    image: Any, name: str, magnitude: float, interpolation: Interpolation, fill: Fill
) -> Any:
    """The operation ``name`` on an image."""
    slope = math.degrees(math.atan(magnitude)) if name.startswith("Shear") else 0.0
    white = largest_value(image.dtype) if isinstance(image, Tensor) else 255
    operations: dict[str, Callable[[], Any]] = {
        "Identity": lambda: image,
        "ShearX": lambda: F.affine(
            image, 0.0, [0, 0], 1.0, [slope, 0.0], interpolation, fill, [0, 0]),
        "ShearY": lambda: F.affine(
            image, 0.0, [0, 0], 1.0, [0.0, slope], interpolation, fill, [0, 0]),
        "TranslateX": lambda: F.affine(
            image, 0.0, [int(magnitude), 0], 1.0, [0.0, 0.0], interpolation, fill),
        "TranslateY": lambda: F.affine(
            image, 0.0, [0, int(magnitude)], 1.0, [0.0, 0.0], interpolation, fill),
        "Rotate": lambda: F.rotate(image, magnitude, interpolation, fill=fill),
        "Brightness": lambda: F.adjust_brightness(image, 1.0 + magnitude),
        "Color": lambda: F.adjust_saturation(image, 1.0 + magnitude),
        "Contrast": lambda: F.adjust_contrast(image, 1.0 + magnitude),
        "Sharpness": lambda: F.adjust_sharpness(image, 1.0 + magnitude),
        "Posterize": lambda: F.posterize(image, int(magnitude)),
        "Solarize": lambda: F.solarize(image, white * magnitude),
        "AutoContrast": lambda: F.autocontrast(image),
        "Equalize": lambda: F.equalize(image),
        "Invert": lambda: F.invert(image),
    }  # fmt: skip
    return operations[name]()


class _Policy(Transform):
    """The one image of a sample goes through random operations; the rest is passed on."""

    def __init__(self, interpolation: Interpolation, fill: Fill):
        super().__init__()
        self.interpolation, self.fill = interpolation, checked_fill(fill)

    def augmented(self, image: Any) -> Any:
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        flat = leaves(sample)
        found = [i for i, yes in enumerate(which_are_images(flat)) if yes]
        if not found:
            raise TypeError("Found no image in the sample.")
        if len(found) > 1:
            raise TypeError(
                "Auto augment transformations are only properly defined for a single image, but "
                f"found {len(found)}."
            )
        flat[found[0]] = self.augmented(flat[found[0]])
        return rebuilt(sample, iter(flat))

    def _one(self, image: Any, name: str, entry: tuple[Magnitudes, bool], bins: int,
             bin: Callable[[], int]) -> Any:  # fmt: skip
        """``image`` through an operation with the magnitude of a bin, its sign drawn."""
        magnitudes, signed = entry
        steps = magnitudes(bins, *F.get_size(image))
        magnitude = 0.0 if steps is None else float(steps[bin()])
        if steps is not None and signed and chance.uniform() < 0.5:
            magnitude = -magnitude
        return applied(image, name, magnitude, self.interpolation, self.fill)

    def _drawn(self, image: Any, operations: Space, bins: int, bin: Callable[[], int]) -> Any:
        names = list(operations)
        name = names[chance.integer(0, len(names))]
        return self._one(image, name, operations[name], bins, bin)


_SEARCHED = space(0.3, (None, 150 / 331), 30.0, 0.9, (8, 4), ("AutoContrast", "Equalize", "Invert"))
_PLAIN = ("Identity", "AutoContrast", "Equalize")
_RANDOM = space(0.3, (None, 150 / 331), 30.0, 0.9, (8, 4), _PLAIN)
_WIDE = space(0.99, (32.0, 0.0), 135.0, 0.99, (8, 6), _PLAIN)
_MIXED = space(0.3, (None, 1 / 3), 30.0, 0.9, (4, 4), ("AutoContrast", "Equalize"))
_MIXED_FEW = space(0.3, (None, 1 / 3), 30.0, None, (4, 4), ("AutoContrast", "Equalize"))


class AutoAugment(_Policy):
    """One of a policy's pairs of operations (Cubuk et al. 2018, arXiv:1805.09501)."""

    def __init__(
        self, policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: Interpolation = "nearest", fill: Fill = None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.policy = policy
        self._pairs = policy_of(policy)

    def augmented(self, image: Any) -> Any:
        for name, p, bin in self._pairs[chance.integer(0, len(self._pairs))]:
            if chance.uniform() < p:
                image = self._one(image, name, _SEARCHED[name], 10, lambda bin=bin: bin or 0)
        return image


class RandAugment(_Policy):
    """``num_ops`` random operations of one magnitude (Cubuk et al. 2019, arXiv:1909.13719)."""

    def __init__(
        self, num_ops: int = 2, magnitude: int = 9, num_magnitude_bins: int = 31,
        interpolation: Interpolation = "nearest", fill: Fill = None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        if not isinstance(num_ops, int) or num_ops < 0:
            raise ValueError(
                f"num_ops should be a non-negative integer, but got {num_ops} instead."
            )
        if not 0 <= magnitude < num_magnitude_bins:
            raise ValueError(
                f"magnitude should be in [0, {num_magnitude_bins}), but got {magnitude} instead."
            )
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def augmented(self, image: Any) -> Any:
        for _ in range(self.num_ops):
            image = self._drawn(image, _RANDOM, self.num_magnitude_bins, lambda: self.magnitude)
        return image


class TrivialAugmentWide(_Policy):
    """One random operation of random magnitude (Mueller & Hutter 2021, arXiv:2103.10158)."""

    def __init__(
        self, num_magnitude_bins: int = 31, interpolation: Interpolation = "nearest",
        fill: Fill = None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def augmented(self, image: Any) -> Any:
        bins = self.num_magnitude_bins
        return self._drawn(image, _WIDE, bins, lambda: chance.integer(0, bins))


class AugMix(_Policy):
    """A random mixture of the image and of chains of operations (Hendrycks et al. 2019).

    arXiv:1912.02781. ``mixture_width`` chains of ``chain_depth`` operations (1 to 3 where it is
    not positive), of magnitudes below ``severity`` out of 10.
    """

    LARGEST = 10

    def __init__(
        self, severity: int = 3, mixture_width: int = 3, chain_depth: int = -1, alpha: float = 1.0,
        all_ops: bool = True, interpolation: Interpolation = "bilinear", fill: Fill = None,
    ):  # fmt: skip
        super().__init__(interpolation, fill)
        if not 1 <= severity <= self.LARGEST:
            raise ValueError(
                f"The severity must be between [1, {self.LARGEST}]. Got {severity} instead."
            )
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops = alpha, all_ops

    def augmented(self, image: Any) -> Any:
        operations = _MIXED if self.all_ops else _MIXED_FEW
        plain = F.pil_to_tensor(image) if is_pillow(image) else image
        kept, share = chance.dirichlet([self.alpha] * 2)
        weights = chance.dirichlet([self.alpha] * self.mixture_width)
        mixed = plain.to(dtypes.float32) * kept
        for weight in weights:
            chain = plain
            depth = self.chain_depth if self.chain_depth > 0 else chance.integer(1, 4)
            for _ in range(depth):
                chain = self._drawn(
                    chain, operations, self.LARGEST, lambda: chance.integer(0, self.severity)
                )
            mixed = mixed + chain * (weight * share)
        mixed = mixed.to(plain.dtype)
        return F.to_pil_image(mixed, image.mode) if is_pillow(image) else mixed
