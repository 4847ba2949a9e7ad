"""What transforms do, without chance: functions of an image and of numbers.

Images are Pillow's or tensors (..., C, H, W); a function returns the kind that it was given.
"""

from tgrad.vision.transforms.functional.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    autocontrast,
    equalize,
    grayscale_to_rgb,
    invert,
    permute_channels,
    posterize,
    rgb_to_grayscale,
    solarize,
    to_grayscale,
)
from tgrad.vision.transforms.functional.convert import (
    convert_image_dtype,
    erase,
    normalize,
    pil_to_tensor,
    to_dtype,
    to_image,
    to_pil_image,
    to_tensor,
)
from tgrad.vision.transforms.functional.filters import gaussian_blur, gaussian_noise
from tgrad.vision.transforms.functional.geometry import (
    center_crop,
    crop,
    five_crop,
    hflip,
    horizontal_flip,
    pad,
    resize,
    resized_crop,
    ten_crop,
    vertical_flip,
    vflip,
)
from tgrad.vision.transforms.functional.image import (
    InterpolationMode,
    get_dimensions,
    get_image_num_channels,
    get_image_size,
    get_num_channels,
    get_size,
)
from tgrad.vision.transforms.functional.warp import (
    affine,
    elastic,
    elastic_transform,
    perspective,
    rotate,
)

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue",
    "adjust_saturation", "adjust_sharpness", "affine", "autocontrast", "center_crop",
    "convert_image_dtype", "crop", "elastic", "elastic_transform", "equalize", "erase", "five_crop",
    "gaussian_blur", "gaussian_noise", "get_dimensions", "get_image_num_channels", "get_image_size",
    "get_num_channels", "get_size", "grayscale_to_rgb", "hflip", "horizontal_flip", "invert",
    "normalize", "pad", "permute_channels", "perspective", "pil_to_tensor", "posterize", "resize",
    "resized_crop", "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_dtype",
    "to_grayscale", "to_image", "to_pil_image", "to_tensor", "vertical_flip", "vflip",
]  # fmt: skip
