"""Images sampled at any points, and the grids of points that affine maps give."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.likelihood import check_tensors
from tgrad.ops.shape import stack

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

FUNCTIONAL = ("nn.functional",)


def corners(name: str, align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            f"Default {name} and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired.",
            stacklevel=3,
        )
    return bool(align_corners)


def check_sampling(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    check_tensors("grid_sample", input=input, grid=grid)
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    shapes = f"input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    if input.ndim not in (4, 5) or grid.ndim != input.ndim:
        raise RuntimeError(
            f"grid_sampler(): expected 4D or 5D input and grid with same number of dims, got "
            f"{shapes}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got {shapes}"
        )
    if grid.shape[-1] != input.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.ndim - 2} in last dimension, but "
            f"got grid with sizes {list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {list(input.shape)}"
        )
    if mode == "bicubic" and input.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"grid_sampler\" not implemented for '{input.dtype.name}'")
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected grid of dtype {input.dtype.name} but found {grid.dtype.name}"
        )


def reflected(x: Tensor, low: float, high: float) -> Tensor:
    """x folded into [low, high] at both ends."""
    span = high - low
    if span == 0:
        return x * 0
    x = (x - low).abs()
    rest = x.fmod(span)
    odd = (x / span).detach().floor().remainder(2) == 1
    return rest.where(~odd, span - rest) + low


def padded(x: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """The pixel coordinate that stands for x: itself with "zeros", else one inside the image."""
    if padding_mode == "reflection":
        x = reflected(x, 0, size - 1) if align_corners else reflected(x, -0.5, size - 0.5)
    return x if padding_mode == "zeros" else x.clamp(0, size - 1)


def cubic_weights(part: Tensor) -> list[Tensor]:
    """Of the four pixels around a point ``part`` of the way between the middle two (Keys 1981)."""

    def near(u: Tensor) -> Tensor:
        return ((A + 2) * u - (A + 3)) * u * u + 1

    def far(u: Tensor) -> Tensor:
        return ((A * u - 5 * A) * u + 8 * A) * u - 4 * A

    return [far(part + 1), near(part), near(1 - part), far(2 - part)]


A = -0.75


def taps(x: Tensor, size: int, mode: str, padding_mode: str, align_corners: bool) -> list:
    """(pixel as a float, weight or None for 1) of every tap along one axis, for coordinates x."""
    if mode == "bicubic":
        low = x.detach().floor()
        weights = cubic_weights(x - low)
        return [
            (padded(low + k, size, padding_mode, align_corners), w)
            for k, w in zip((-1, 0, 1, 2), weights, strict=True)
        ]
    x = padded(x, size, padding_mode, align_corners)
    if mode == "nearest":
        pixel = x.round()
        # A weight of 1 that depends on the point: its gradient is 0 and not absent.
        return [(pixel.detach(), pixel - pixel.detach() + 1 if x.requires_grad else None)]
    low = x.detach().floor()
    return [(low, low + 1 - x), (low + 1, x - low)]


@composite(spaces=FUNCTIONAL)
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The input at the points of ``grid``, interpolated between pixels.

    A point is (x, y) or (x, y, z), -1 and 1 the edges of the image, or with ``align_corners`` the
    centres of its corner pixels. Outside, "zeros" gives 0, "border" the nearest pixel, "reflection"
    folds points back. Left out, ``align_corners`` is False, with a warning.

    Shape: (N, C, H, W) and (N, P, Q, 2) -> (N, C, P, Q), or (N, C, D, H, W) and (N, O, P, Q, 3)
    dtype: floating, the same of both; half dtypes are computed in float32
    Raises: ValueError for an unknown mode, RuntimeError for shapes that do not match, an empty
        image, other dtypes and bicubic volumes, NotImplementedError for integers.
    Source: Jaderberg et al. 2015, arXiv:1506.02025; cubic by Keys 1981 with slope -0.75. Each tap
        is one gather of N * C * P * Q elements.
    """
    check_sampling(input, grid, mode, padding_mode)
    align = corners("grid_sample", align_corners)
    kind = input.dtype
    if kind in (dtypes.float16, dtypes.bfloat16):
        y = grid_sample(input.float(), grid.float(), mode, padding_mode, align)
        return y.to(kind)
    n, c, *sizes = input.shape
    points = math.prod(grid.shape[1:-1])
    axes = []
    for k, size in enumerate(sizes):
        at = grid.select(-1, len(sizes) - 1 - k).reshape(n, points)  # the last axis comes first
        at = (at + 1) * ((size - 1) / 2) if align else ((at + 1) * size - 1) / 2
        axes.append(taps(at, size, mode, padding_mode, align))
    flat = input.reshape(n, c, math.prod(sizes))
    total = None
    for chosen in itertools.product(*axes):
        term = one_tap(flat, chosen, sizes)
        total = term if total is None else total + term
    assert total is not None
    return total.reshape(n, c, *grid.shape[1:-1])


def one_tap(flat: Tensor, chosen: Sequence, sizes: Sequence[int]) -> Tensor:
    """One pixel of every point, times its weights, 0 outside the image: (N, C, points)."""
    n, c, _ = flat.shape
    inside = weight = index = None
    for (pixel, w), size in zip(chosen, sizes, strict=True):
        here = (pixel >= 0) & (pixel <= size - 1)
        place = pixel.detach().masked_fill(~here, 0).to(dtypes.int64)
        inside = here if inside is None else inside & here
        index = place if index is None else index * size + place
        if w is not None:
            weight = w if weight is None else weight * w
    assert inside is not None and index is not None
    points = index.shape[1]
    found = flat.gather(2, index.unsqueeze(1).expand(n, c, points))
    if weight is not None:
        found = found * weight.unsqueeze(1)
    return found.masked_fill(~inside.unsqueeze(1), 0)


@composite(spaces=FUNCTIONAL)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points at which the pixels of a (N, C, H, W) or (N, C, D, H, W) image lie under theta.

    For :func:`grid_sample`: theta times (x, y, 1) of each pixel, the image going from -1 to 1.
    Shape: (N, 2, 3) -> (N, H, W, 2), or (N, 3, 4) -> (N, D, H, W, 3)
    Raises: ValueError for another shape or dtype of theta and sizes that are not positive,
        NotImplementedError for other numbers of sizes, TypeError for sizes that are no ints.
    """
    check_tensors("affine_grid", theta=theta)
    if not theta.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype.name}")
    for v in size:
        if not hasattr(v, "__index__"):
            raise TypeError(
                f"affine_grid(): argument 'size' must be tuple of ints, but found element of type "
                f"{type(v).__name__}"
            )
    space = len(size) - 2
    if space not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {tuple(size)}."
        )
    if theta.ndim != 3 or theta.shape[1:] != (space, space + 1):
        raise ValueError(
            f"Expected a batch of {space}D affine matrices of shape Nx{space}x{space + 1} for size "
            f"{tuple(size)}. Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    if theta.shape[0] != size[0]:
        raise RuntimeError(
            f"affine_grid: expected {size[0]} matrices for size {tuple(size)}, got {theta.shape[0]}"
        )
    align = corners("grid_sample", align_corners)
    plane = list(size[2:])
    parts = []
    for k, m in enumerate(reversed(plane)):  # x runs along the last axis
        steps = theta.new_tensor(centres(m, align), dtype=theta.dtype)
        parts.append(steps.reshape([m if j == space - 1 - k else 1 for j in range(space)]))
    points = [p.expand(plane).reshape(-1) for p in parts]
    base = stack([*points, theta.new_ones(math.prod(plane))], 1)  # (points, space + 1)
    return (base @ theta.transpose(1, 2)).reshape(size[0], *plane, space)


def centres(size: int, align_corners: bool) -> np.ndarray:
    """Where the pixels of an axis from -1 to 1 are."""
    k = np.arange(size)
    return 2 * k / (size - 1) - 1 if align_corners and size > 1 else (2 * k + 1) / size - 1


__all__ = ["affine_grid", "grid_sample"]
