"""Grids of images, and images in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tgrad import dtypes
from tgrad.autograd import no_grad
from tgrad.creation import full
from tgrad.ops import stack
from tgrad.tensor import Tensor
from tgrad.vision.transforms.functional import to_pil_image


@no_grad()
def make_grid(
    tensor: Tensor | Sequence[Tensor], nrow: int = 8, padding: int = 2, normalize: bool = False,
    value_range: tuple[float, float] | None = None, scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:  # fmt: skip
    """A batch of images side by side, ``nrow`` in a row, ``padding`` pixels around each.

    ``normalize`` maps ``value_range``, or the smallest and largest value, to [0, 1]: of all images,
    or with ``scale_each`` of each. Images of one channel get three equal ones.
    Shape: (N, C, H, W), (C, H, W) or (H, W), or a sequence of images -> (C, H', W').
    Raises: TypeError for other inputs.
    """
    if isinstance(tensor, Tensor):
        images = tensor
    else:
        if not isinstance(tensor, (list, tuple)) or not all(isinstance(t, Tensor) for t in tensor):
            raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
        images = stack(list(tensor), 0)
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError("value_range has to be a tuple (min, max) if specified.")
    while images.ndim < 4:
        images = images.unsqueeze(0)  # (N, C, H, W)
    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    if normalize:
        images = _normalized(images, value_range, scale_each)
    n, c, h, w = images.shape
    if n == 1:
        return images.squeeze(0)
    columns = min(nrow, n)
    rows = -(-n // columns)
    h, w = h + padding, w + padding
    size = (c, h * rows + padding, w * columns + padding)
    grid = full(size, pad_value, dtype=images.dtype, device=images.device)
    for k in range(n):
        top, left = k // columns * h + padding, k % columns * w + padding
        grid[:, top : top + h - padding, left : left + w - padding] = images[k]
    return grid


def _normalized(
    images: Tensor, value_range: tuple[float, float] | None, scale_each: bool
) -> Tensor:
    dims = (1, 2, 3) if scale_each else (0, 1, 2, 3)
    if value_range is not None:
        low, high = value_range
        return (images.clamp(low, high) - low) / max(high - low, 1e-5)
    low, high = images.amin(dims, keepdim=True), images.amax(dims, keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-5)


@no_grad()
def save_image(
    tensor: Tensor | Sequence[Tensor], fp: str | os.PathLike | Any, format: str | None = None,
    **kwargs: Any,
) -> None:  # fmt: skip
    """Write an image or a grid of images in [0, 1] to a file; options are :func:`make_grid`'s.

    ``format``: Pillow's, found from the name unless given. Raises: ImportError without Pillow.
    """
    grid = make_grid(tensor, **kwargs)
    pixels = (grid.to(dtypes.float32) * 255 + 0.5).clamp(0, 255).to(dtypes.uint8)
    to_pil_image(pixels).save(fp, format=format)


__all__ = ["make_grid", "save_image"]
