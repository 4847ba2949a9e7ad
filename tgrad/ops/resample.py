"""Images made larger or smaller: one banded matrix along each axis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.band import Band, table
from tgrad.ops.pool import adaptive_avg_pool1d, adaptive_avg_pool2d
from tgrad.ops.pool3d import adaptive_avg_pool3d

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

FUNCTIONAL = ("nn.functional",)
Key = tuple[Any, ...]  # the fields of a Band


@op(spaces=())
def _resample(
    x: Tensor,
    h_start: Tensor | None,
    h_weight: Tensor | None,
    w_start: Tensor | None,
    w_weight: Tensor | None,
    h_band: Key | None,
    w_band: Key | None,
    h_shift: int,
    w_shift: int,
) -> Spec:
    """y[p,q] = sum over r, s of h_weight[p,r] w_weight[q,s] x[h_start[p] + r, w_start[q] + s].

    An axis without a band stays as it is; a band without weights picks single pixels. Taps of
    weight 0 are not read: a NaN reaches the outputs that it has a weight in. Integer weights are
    fixed-point numbers with ``shift`` fractional bits: the axes are then done one after the other,
    W first, each rounded and cut off to 0..255.

    Shape: (N, C, H, W) -> (N, C, P, Q)
    dtype: that of x; half dtypes are summed in float32
    """
    p = x.shape[2] if h_band is None else Band(*h_band).length
    q = x.shape[3] if w_band is None else Band(*w_band).length
    return Spec((*x.shape[:2], p, q), x.dtype)


@gradient(_resample, "x")
def _(g, h_band, w_band):
    return resampled(g, transposed(h_band), transposed(w_band))


def transposed(key: Key | None) -> Band | None:
    return None if key is None else (b := Band(*key))._replace(transposed=not b.transposed)


def resampled(x: Tensor, h: Band | None, w: Band | None) -> Tensor:
    """(N, C, H, W) with a band along H, W or both."""
    kind = {dtypes.float64: "float64", dtypes.uint8: "int32"}.get(x.dtype, "float32")
    h_start, h_weight, h_shift = (None, None, 0) if h is None else table(h, x.device, kind)
    w_start, w_weight, w_shift = (None, None, 0) if w is None else table(w, x.device, kind)
    keys = [None if b is None else tuple(b) for b in (h, w)]
    return _resample(x, h_start, h_weight, w_start, w_weight, *keys, h_shift, w_shift)


# ---- sizes ---------------------------------------------------------------------------------------


def factors_of(input: Tensor, scale_factor: Any) -> list[float]:
    space = input.ndim - 2
    several = isinstance(scale_factor, (list, tuple))
    if several and len(scale_factor) != space:
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {list(input.shape[2:])} and scale_factor of shape "
            f"{scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
            "scale_factor in (s1, s2, ...,sK) format."
        )
    factors = list(scale_factor) if several else [scale_factor] * space
    for f in factors:
        if isinstance(f, bool) or not isinstance(f, (int, float, np.number)):
            raise TypeError(
                f"interpolate(): argument 'scale_factor' must be float or tuple of floats, not "
                f"{type(f).__name__}"
            )
    return [float(f) for f in factors]


def sizes_given(input: Tensor, size: Any) -> list[int]:
    space = input.ndim - 2
    several = isinstance(size, (list, tuple))
    if several and len(size) != space:
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(input.shape[2:])} and output size of {size}. Please "
            "provide input tensor in (N, C, d1, d2, ...,dK) format and output size in "
            "(o1, o2, ...,oK) format."
        )
    sizes = list(size) if several else [size] * space
    if not all(hasattr(v, "__index__") and not isinstance(v, bool) for v in sizes):
        raise TypeError(
            "expected size to be one of int or Tuple[int] or Tuple[int, int] or "
            f"Tuple[int, int, int], but got size with types {[type(v) for v in sizes]}"
        )
    return [int(v) for v in sizes]


def lengths(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float]]:
    """(sizes, factors) along the spatial dims; a factor of 0 is the quotient of the sizes."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        sizes = sizes_given(input, size)
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return sizes, [0.0] * len(sizes)
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    factors = factors_of(input, scale_factor)
    products = [n * f for n, f in zip(input.shape[2:], factors, strict=True)]
    if not all(map(math.isfinite, products)):
        raise RuntimeError(f"interpolate: scale_factor must be finite, got {scale_factor}")
    return [int(v) for v in products], [0.0] * len(factors) if recompute else factors


def check_lengths(input: Tensor, sizes: Sequence[int]) -> None:
    source = input.shape[2:]
    if min(*source, *sizes) <= 0:
        axes = "DHW"[-len(sizes) :]
        shown = [", ".join(f"{a}: {n}" for a, n in zip(axes, s, strict=True))
                 for s in (source, sizes)]  # fmt: skip
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({shown[0]}) output "
            f"({shown[1]})"
        )
    if input.shape[1] == 0:
        raise RuntimeError(
            f"Non-empty {input.ndim}D data tensor expected but got a tensor with sizes "
            f"{list(input.shape)}"
        )


# ---- public --------------------------------------------------------------------------------------

NEEDS = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
KINDS = {"linear": "linear", "bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
ANYWHERE = ("nearest", "nearest-exact", "area")


def check_mode(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if not isinstance(input, Variable):
        raise TypeError(
            f"interpolate(): argument 'input' must be Tensor, not {type(input).__name__}"
        )
    if mode in ANYWHERE and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear "
            "| bicubic | trilinear"
        )
    if align_corners is not None and not isinstance(align_corners, bool):
        raise TypeError(
            "interpolate(): argument 'align_corners' must be bool, not "
            f"{type(align_corners).__name__}"
        )
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    known = mode in ANYWHERE or mode in NEEDS
    if not known or input.ndim not in (3, 4, 5) or NEEDS.get(mode, input.ndim) != input.ndim:
        if mode in KINDS and mode != "bicubic" and input.ndim in (3, 4, 5):
            raise NotImplementedError(
                f"Got {input.ndim}D input, but {mode} mode needs {NEEDS[mode]}D input"
            )
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {input.ndim}D) for the modes: nearest | linear | bilinear | bicubic | trilinear "
            f"| lanczos | area | nearest-exact (got {mode})"
        )
    if mode == "lanczos" and align_corners:
        raise ValueError("Lanczos mode does not support align_corners=True")
    if mode == "lanczos" and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    bytes_too = mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "lanczos")
    if not (input.dtype.is_floating_point or (bytes_too and input.dtype is dtypes.uint8)):
        raise NotImplementedError(
            f"\"interpolate\" with mode {mode} not implemented for '{input.dtype.name}'"
        )


@composite(spaces=FUNCTIONAL)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input resampled to ``size``, or to ``scale_factor`` times its size, rounded down.

    ``mode``: "nearest", "nearest-exact" (pixel centres) and "area" (means of adaptive windows) for
    1 to 3 spatial dims, "linear", "bilinear", "trilinear" for 1, 2, 3, "bicubic" and "lanczos" for
    2. ``align_corners`` lays the centres of corner pixels on each other. ``antialias`` widens the
    filter by the ratio of the sizes where that shrinks (bilinear, bicubic; lanczos has no other
    way). Positions follow from ``scale_factor`` itself unless ``recompute_scale_factor``.

    Shape: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> the same dims with other spatial sizes
    dtype: that of the input, floating; uint8 with the nearest modes, and with bilinear, bicubic and
        lanczos, by 16-bit weights, each axis rounded: what Pillow's resize gives with antialias
    Raises: ValueError where not one of size and scale_factor is given, for a wrong number of them
        and for options of other modes; NotImplementedError for another rank, mode or dtype;
        TypeError for sizes that are no ints; RuntimeError for empty sizes.
    Source: cubic by Keys 1981, with slope -0.75, and -0.5 with ``antialias``, as in PyTorch. Unlike
        there, half dtypes antialias on the CPU too, lanczos runs on a GPU, and a NaN does not
        spread to outputs in which its weight is 0.
    """
    check_mode(input, mode, align_corners, antialias)
    recompute = recompute_scale_factor or (mode == "area" and size is None)
    sizes, factors = lengths(input, size, scale_factor, recompute)
    if mode == "area":
        return area(input, sizes)
    check_lengths(input, sizes)
    kind = KINDS.get(mode, mode)
    bands = [
        Band(kind, n, p, f, bool(align_corners), antialias)
        for n, p, f in zip(input.shape[2:], sizes, factors, strict=True)
    ]
    return along_axes(input, bands)


def along_axes(x: Tensor, bands: Sequence[Band]) -> Tensor:
    """A band along each of the 1 to 3 spatial dims."""
    if x.ndim == 4:
        return resampled(x, *bands)
    if x.ndim == 3:
        return resampled(x.unsqueeze(2), None, bands[0]).squeeze(2)
    n, c, d, h, w = x.shape
    depth, *plane = bands
    p, q = (b.length for b in plane)
    if depth.length < d:  # the smaller of the two in the middle
        y = resampled(x.reshape(n, c, d, h * w), depth, None)
        return resampled(y.reshape(n, -1, h, w), *plane).reshape(n, c, -1, p, q)
    y = resampled(x.reshape(n, c * d, h, w), *plane)
    return resampled(y.reshape(n, c, d, p * q), depth, None).reshape(n, c, -1, p, q)


def area(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Means of windows that split each axis."""
    if x.ndim == 3:
        return adaptive_avg_pool1d(x, sizes)
    return adaptive_avg_pool2d(x, sizes) if x.ndim == 4 else adaptive_avg_pool3d(x, sizes)


def deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=3,
    )


@composite(spaces=FUNCTIONAL)
def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """:func:`interpolate` under its older name; warns."""
    deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@composite(spaces=FUNCTIONAL)
def upsample_nearest(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """:func:`interpolate` with mode "nearest"; warns."""
    deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


@composite(spaces=FUNCTIONAL)
def upsample_bilinear(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """:func:`interpolate` with mode "bilinear" and aligned corners; warns."""
    deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)


__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]
