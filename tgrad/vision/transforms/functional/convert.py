"""From one kind of image to another: Pillow, NumPy and tensors, dtypes, normalisation."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd import inference_mode
from tgrad.creation import as_tensor, from_numpy
from tgrad.device import device
from tgrad.dtypes import dtype as DType
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow, pillow
from tgrad.vision.transforms.functional.image import check_image, largest_value

_I16 = "I;16" if sys.byteorder == "little" else "I;16B"


def _channels_first(a: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) as a tensor (C, H, W) of its own."""
    a = a[:, :, None] if a.ndim == 2 else a
    return from_numpy(np.array(a.transpose(2, 0, 1), order="C", copy=True))


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image as a tensor (C, H, W) of the same values: uint8 for most modes.

    Raises: TypeError for anything else.
    """
    if not is_pillow(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return _channels_first(np.array(pic))


def to_image(inpt: Any) -> Tensor:
    """A tensor (C, H, W) from a Pillow image or an array (H, W) or (H, W, C); tensors stay.

    torchvision returns its subclass ``tv_tensors.Image`` here. Raises: TypeError for others.
    """
    if isinstance(inpt, Tensor):
        return inpt
    if isinstance(inpt, np.ndarray):
        return _channels_first(np.atleast_2d(inpt))
    if is_pillow(inpt):
        return pil_to_tensor(inpt)
    raise TypeError(
        "Input can either be a pure Tensor, a numpy array, or a PIL image, but got "
        f"{type(inpt)} instead."
    )


def to_tensor(pic: Any) -> Tensor:
    """A tensor (C, H, W) from a Pillow image or an array (H, W) or (H, W, C).

    uint8 values are divided by 255 and get the default dtype; other dtypes stay as they are.
    Raises: TypeError for other inputs, ValueError for arrays of other than 2 or 3 dims.
    """
    if not (is_pillow(pic) or isinstance(pic, np.ndarray)):
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        a = pic
    else:
        kinds = {"I": np.int32, _I16: np.int16, "F": np.float32}
        a = np.array(pic, kinds.get(pic.mode, np.uint8))
        a = a * 255 if pic.mode == "1" else a
    image = _channels_first(a)
    if image.dtype is not dtypes.uint8:
        return image
    return image.to(dtypes.get_default_dtype()) / 255


# What Pillow calls an array of one channel, by dtype; and of several, by their number.
_ONE_CHANNEL = {np.uint8: "L", np.int16: _I16, np.int32: "I", np.float32: "F"}
_CHANNELS = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Pillow image from a tensor (C, H, W) or (H, W), or an array (H, W, C) or (H, W).

    Floating values are taken as in [0, 1] unless ``mode`` is "F". ``mode`` is found from the dtype
    and the number of channels unless it is given.
    Raises: TypeError for other inputs and dtypes, ValueError for other shapes and modes.
    """
    if isinstance(pic, Tensor):
        a = pic.detach().cpu().numpy()
        a = a.transpose(1, 2, 0) if a.ndim == 3 else a
    elif isinstance(pic, np.ndarray):
        a = pic
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if a.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {a.ndim} dimensions.")
    a = a[:, :, None] if a.ndim == 2 else a
    if a.shape[2] > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {a.shape[2]} channels.")
    if not np.issubdtype(a.dtype, np.integer) and a.dtype != np.bool_ and mode != "F":
        a = (a.astype(np.float32) if a.dtype.kind not in "fc" else a) * 255
        a = a.astype(np.uint8)
    Image = pillow("to_pil_image")
    return _from_array(Image, a, _mode_of(a, mode))


def _from_array(Image: Any, a: np.ndarray, mode: str) -> Any:
    a = np.ascontiguousarray(a[:, :, 0] if a.shape[2] == 1 else a)
    return Image.frombytes(mode, (a.shape[1], a.shape[0]), a.tobytes())


def _mode_of(a: np.ndarray, mode: str | None) -> str:
    """The mode of an array (H, W, C). Raises ValueError where it is not ``mode``."""
    channels = a.shape[2]
    if channels == 1:
        found = _ONE_CHANNEL.get(a.dtype.type)
        if mode not in (None, found):
            raise ValueError(
                f"Incorrect mode ({mode}) supplied for input type {a.dtype}. Should be {found}"
            )
    else:
        known = _CHANNELS.get(channels, ())
        if mode is not None and mode not in known:
            raise ValueError(f"Only modes {list(known)} are supported for {channels}D inputs")
        found = (mode or known[0]) if a.dtype == np.uint8 and known else None
    if found is None:
        raise TypeError(f"Input type {a.dtype} is not supported")
    return found


# ---- dtypes --------------------------------------------------------------------------------------

_UNSAFE = {
    (dtypes.float32, dtypes.int32), (dtypes.float32, dtypes.int64), (dtypes.float64, dtypes.int64),
}  # fmt: skip


def to_dtype(inpt: Tensor, dtype: DType = dtypes.float32, scale: bool = False) -> Tensor:
    """The image in another dtype; ``scale`` also maps black to black and white to white.

    Scaled, [0, 1] is cut into as many equal parts as an integer dtype has numbers, and integers
    are shifted by the difference in bits.
    Raises: RuntimeError where a scaled float cannot hold the integers.
    """
    check_image("to_dtype", inpt)
    if is_pillow(inpt):
        raise TypeError("to_dtype: expected a Tensor, got a PIL image")
    if inpt.dtype is dtype or not scale:
        return inpt.to(dtype)
    if inpt.dtype.is_floating_point:
        if dtype.is_floating_point:
            return inpt.to(dtype)
        if (inpt.dtype, dtype) in _UNSAFE:
            raise RuntimeError(
                f"The conversion from {inpt.dtype} to {dtype} cannot be performed safely."
            )
        return (inpt * (largest_value(dtype) + 1.0 - 1e-3)).to(dtype)
    if dtype.is_floating_point:
        return inpt.to(dtype) * (1.0 / largest_value(inpt.dtype))
    shift = value_bits(inpt.dtype) - value_bits(dtype)
    return (inpt >> shift).to(dtype) if shift > 0 else inpt.to(dtype) << -shift


def value_bits(dtype: DType) -> int:
    """Bits of an integer dtype besides its sign. Raises TypeError for others."""
    if dtype.is_floating_point or dtype.is_complex or dtype is dtypes.bool_:
        raise TypeError(
            f"Number of value bits is only defined for integer dtypes, but got {dtype}."
        )
    return dtypes.iinfo(dtype).max.bit_length()


def convert_image_dtype(image: Tensor, dtype: DType = dtypes.float32) -> Tensor:
    """:func:`to_dtype` with ``scale=True``."""
    return to_dtype(image, dtype, scale=True)


# ---- values --------------------------------------------------------------------------------------


def normalize(
    inpt: Tensor, mean: Sequence[float] | float, std: Sequence[float] | float,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    """(input - mean) / std, by channel.

    Raises: TypeError unless it is a floating tensor, ValueError under 3 dims or where std is 0.
    """
    if not isinstance(inpt, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(inpt)}")
    if not inpt.dtype.is_floating_point:
        raise TypeError(f"Input tensor should be a float tensor. Got {inpt.dtype}.")
    if inpt.ndim < 3:
        raise ValueError(
            f"Expected tensor to be a tensor image of size (..., C, H, W). Got {tuple(inpt.shape)}."
        )
    if not np.all(std.detach().cpu().numpy() if isinstance(std, Tensor) else std):
        raise ValueError("std evaluated to zero, leading to division by zero.")
    m, s = by_channel(mean, inpt), by_channel(std, inpt)
    return inpt.sub_(m).div_(s) if inplace else (inpt - m) / s


def by_channel(values: Any, image: Tensor) -> Any:
    """Numbers or a tensor as what broadcasts to the image's channels; one number stays one."""
    if isinstance(values, (int, float)):
        return values
    if isinstance(values, Tensor):
        t = values.to(device=image.device, dtype=image.dtype)
        return t.reshape(-1, 1, 1) if t.ndim == 1 else t
    if len(values) == 1:
        return float(values[0])
    return _constant(tuple(map(float, values)), image.dtype, image.device)


@functools.lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], dtype: DType, where: device) -> Tensor:
    """(C, 1, 1) of the numbers: the same few in every call."""
    with inference_mode(False):  # it outlives the mode that it is made in
        return as_tensor(values, dtype=dtype, device=where).reshape(-1, 1, 1)


def erase(inpt: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Any:
    """The image with the rectangle of ``h`` rows from ``i`` and ``w`` columns from ``j`` set to v.

    ``v``: a tensor that broadcasts to (..., C, h, w). Pillow images are always copied.
    """
    check_image("erase", inpt)
    if is_pillow(inpt):
        return to_pil_image(erase(pil_to_tensor(inpt), i, j, h, w, v, True), inpt.mode)
    image = inpt if inplace else inpt.clone()
    image[..., i : i + h, j : j + w] = v
    return image
