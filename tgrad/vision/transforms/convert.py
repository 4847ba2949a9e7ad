"""Classes that change the kind or the range of an image, without chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad import dtypes
from tgrad.dtypes import dtype as DType
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms import functional as F
from tgrad.vision.transforms.base import Params, Transform, leaves, rebuilt, sample_of


class _EachLeaf(Transform):
    """Applied to every leaf of a sample that ``suits``: arrays are images for these."""

    def suits(self, leaf: Any) -> bool:
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        new = [self.transform(x, {}) if self.suits(x) else x for x in leaves(sample)]
        return rebuilt(sample, iter(new))


def _is_array(x: Any) -> bool:
    return type(x).__module__ == "numpy" and getattr(x, "ndim", 0) >= 2


class ToTensor(_EachLeaf):
    """Pillow images and arrays (H, W, C) as tensors (C, H, W), uint8 as floats in [0, 1]."""

    def suits(self, leaf: Any) -> bool:
        return is_pillow(leaf) or _is_array(leaf)

    def transform(self, inpt: Any, params: Params) -> Tensor:
        return F.to_tensor(inpt)


class PILToTensor(_EachLeaf):
    """Pillow images as tensors (C, H, W) of the same values."""

    def suits(self, leaf: Any) -> bool:
        return is_pillow(leaf)

    def transform(self, inpt: Any, params: Params) -> Tensor:
        return F.pil_to_tensor(inpt)


class ToImage(_EachLeaf):
    """Pillow images and arrays (H, W, C) as tensors (C, H, W) of the same values."""

    def suits(self, leaf: Any) -> bool:
        return is_pillow(leaf) or _is_array(leaf)

    def transform(self, inpt: Any, params: Params) -> Tensor:
        return F.to_image(inpt)


class ToPILImage(Transform):
    """Tensors (C, H, W) and arrays (H, W, C) as Pillow images."""

    def __init__(self, mode: str | None = None):
        super().__init__()
        self.mode = mode

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        flat = leaves(sample)
        if any(_is_array(leaf) for leaf in flat):
            new = [F.to_pil_image(x, self.mode) if _is_array(x) else x for x in flat]
            return rebuilt(sample, iter(new))
        return super().forward(*inputs)

    def transform(self, inpt: Any, params: Params) -> Any:
        return inpt if is_pillow(inpt) else F.to_pil_image(inpt, self.mode)


class ToDtype(Transform):
    """Tensors in another dtype; ``scale`` keeps black and white what they are.

    Raises: ValueError for other than a dtype.
    """

    def __init__(self, dtype: DType, scale: bool = False):
        super().__init__()
        if not isinstance(dtype, DType):
            raise ValueError(f"dtype must be a tgrad.dtype, got {type(dtype)} instead")
        self.dtype, self.scale = dtype, scale

    def transform(self, inpt: Any, params: Params) -> Any:
        return inpt if is_pillow(inpt) else F.to_dtype(inpt, self.dtype, self.scale)


class ConvertImageDtype(Transform):
    """:class:`ToDtype` with ``scale=True``."""

    def __init__(self, dtype: DType = dtypes.float32):
        super().__init__()
        self.dtype = dtype

    def transform(self, inpt: Any, params: Params) -> Any:
        return inpt if is_pillow(inpt) else F.to_dtype(inpt, self.dtype, scale=True)


class Normalize(Transform):
    """(image - mean) / std by channel, for floating tensors."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False):
        super().__init__()
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if any(is_pillow(leaf) for leaf in flat_inputs):
            raise TypeError(f"{type(self).__name__}() does not support PIL images.")

    def transform(self, inpt: Any, params: Params) -> Tensor:
        return F.normalize(inpt, self.mean, self.std, self.inplace)


class Lambda(Transform):
    """``lambd`` of every leaf of a sample that is of one of ``types``; of any, unless given."""

    def __init__(self, lambd: Callable[[Any], Any], *types: type):
        super().__init__()
        self.lambd = lambd
        self.types = types or (object,)

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        new = [self.lambd(x) if isinstance(x, self.types) else x for x in leaves(sample)]
        return rebuilt(sample, iter(new))

    def extra_repr(self) -> str:
        name = getattr(self.lambd, "__name__", "")
        kinds = [kind.__name__ for kind in self.types]
        return ", ".join(part for part in (name, f"types={kinds}") if part)


class Identity(Transform):
    """The sample as it is."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return inpt


class Grayscale(Transform):
    """Black and white, in one channel or three equal ones."""

    def __init__(self, num_output_channels: int = 1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.rgb_to_grayscale(inpt, self.num_output_channels)


class RGB(Transform):
    """Three channels: grey images get three equal ones."""

    def transform(self, inpt: Any, params: Params) -> Any:
        return F.grayscale_to_rgb(inpt)
