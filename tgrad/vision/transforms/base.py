"""What transforms share: finding the images in a sample, drawing once for all, repr; containers."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tgrad import nn
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms import chance
from tgrad.vision.transforms.functional import get_dimensions

Params = dict[str, Any]


def sample_of(inputs: tuple[Any, ...]) -> Any:
    """The arguments of a transform as one sample: a single one is the sample itself."""
    return inputs if len(inputs) != 1 else next(iter(inputs))


def leaves(sample: Any) -> list[Any]:
    """What a sample of nested tuples, lists and dicts holds, in order."""
    if isinstance(sample, dict):
        return [leaf for part in sample.values() for leaf in leaves(part)]
    if isinstance(sample, (tuple, list)):
        return [leaf for part in sample for leaf in leaves(part)]
    return [sample]


def rebuilt(sample: Any, new: Iterator[Any]) -> Any:
    """A sample like ``sample`` with the leaves of ``new``."""
    if isinstance(sample, dict):
        return {key: rebuilt(part, new) for key, part in sample.items()}
    if isinstance(sample, (tuple, list)):
        parts = [rebuilt(part, new) for part in sample]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return next(new)


def which_are_images(flat: Sequence[Any]) -> list[bool]:
    """Pillow's images; where there are none, the first tensor: others may be labels."""
    found = [is_pillow(leaf) for leaf in flat]
    if not any(found):
        first = next((i for i, leaf in enumerate(flat) if isinstance(leaf, Tensor)), None)
        found = [i == first for i in range(len(flat))]
    return found


class Transform(nn.Module):
    """A function of the images in a sample; the rest of the sample is passed on.

    A sample is an image or nested tuples, lists and dicts, in one argument or several. Subclasses
    define ``transform(image, params)`` and, where there is chance, ``make_params(images)``, which
    is called once for a sample.
    """

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise for samples that do not suit."""

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """What all images of a sample share, drawn from the default generator."""
        del flat_inputs
        return {}

    def transform(self, inpt: Any, params: Params) -> Any:
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        flat = leaves(sample)
        self.check_inputs(flat)
        return self._applied(sample, flat)

    def _applied(self, sample: Any, flat: list[Any]) -> Any:
        found = which_are_images(flat)
        params = self.make_params([leaf for leaf, yes in zip(flat, found, strict=True) if yes])
        new = [self.transform(leaf, params) if yes else leaf
               for leaf, yes in zip(flat, found, strict=True)]  # fmt: skip
        return rebuilt(sample, iter(new))

    def extra_repr(self) -> str:
        shown = (bool, int, float, str, tuple, list, enum.Enum)
        return ", ".join(
            f"{name}={value}" for name, value in vars(self).items()
            if not name.startswith("_") and name != "training" and isinstance(value, shown)
        )  # fmt: skip


def checked_probability(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
    return p


class RandomTransform(Transform):
    """A transform that is applied with probability ``p``."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = checked_probability(p)

    def _applied(self, sample: Any, flat: list[Any]) -> Any:
        return sample if chance.uniform() >= self.p else super()._applied(sample, flat)


def image_size(images: Sequence[Any]) -> tuple[int, int, int]:
    """(C, H, W) of the images of a sample. Raises TypeError for none, ValueError if they differ."""
    sizes = {tuple(get_dimensions(image)) for image in images}
    if not sizes:
        raise TypeError("No image was found in the sample")
    if len(sizes) > 1:
        raise ValueError(f"Found multiple CxHxW dimensions in the sample: {sorted(sizes)}")
    channels, height, width = sizes.pop()
    return channels, height, width


# ---- containers ----------------------------------------------------------------------------------


def _checked(transforms: Any, what: str = "a sequence of callables") -> Any:
    if not isinstance(transforms, (Sequence, nn.ModuleList)):
        raise TypeError(f"Argument transforms should be {what}")
    if not len(transforms):
        raise ValueError("Pass at least one transform")
    return transforms


def _chained(transforms: Sequence[Callable], inputs: tuple[Any, ...]) -> Any:
    several = len(inputs) > 1
    for transform in transforms:
        outputs = transform(*inputs)
        inputs = outputs if several else (outputs,)
    return sample_of(inputs)


class _Container(Transform):
    transforms: Any

    def extra_repr(self) -> str:
        return "\n".join(f"    {t}" for t in self.transforms)


class Compose(_Container):
    """The transforms one after the other; any callable is one."""

    def __init__(self, transforms: Sequence[Callable]):
        super().__init__()
        self.transforms = _checked(transforms)

    def forward(self, *inputs: Any) -> Any:
        return _chained(self.transforms, inputs)


class RandomApply(_Container):
    """The transforms one after the other, all with probability ``p`` or none."""

    def __init__(self, transforms: Sequence[Callable] | nn.ModuleList, p: float = 0.5):
        super().__init__()
        self.transforms = _checked(transforms, "a sequence of callables or a `nn.ModuleList`")
        self.p = checked_probability(p)

    def forward(self, *inputs: Any) -> Any:
        if chance.uniform() >= self.p:
            return sample_of(inputs)
        return _chained(list(self.transforms), inputs)


class RandomChoice(Transform):
    """One of the transforms, chosen with probabilities ``p`` (need not sum to 1; equal if None)."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None):
        super().__init__()
        self.transforms = _checked(transforms)
        weights = [1.0] * len(transforms) if p is None else list(p)
        if len(weights) != len(transforms):
            raise ValueError(
                "Length of p doesn't match the number of transforms: "
                f"{len(weights)} != {len(transforms)}"
            )
        total = sum(weights)
        self.p = [w / total for w in weights]

    def forward(self, *inputs: Any) -> Any:
        return self.transforms[chance.choice(self.p)](*inputs)


class RandomOrder(Transform):
    """All of the transforms in random order."""

    def __init__(self, transforms: Sequence[Callable]):
        super().__init__()
        self.transforms = _checked(transforms)

    def forward(self, *inputs: Any) -> Any:
        order = chance.order(len(self.transforms))
        return _chained([self.transforms[i] for i in order], inputs)
