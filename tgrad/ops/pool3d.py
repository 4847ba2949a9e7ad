"""Pooling of volumes: windows are boxes, so it is done in two passes of the 2-D kernels.

The first goes over (H, W) of every slice, the second along the depth of what is left, seen as
images (D, P * Q) with windows (kernel, 1): both are views, and a window of R x S x T is read as
R * S + T elements. The first winner of a box in row-major order is the first winning slice's first
winner, so that indices and gradients are those of one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad import dtypes
from tgrad.autograd.grad_mode import mode
from tgrad.dispatch import composite
from tgrad.ops.geometry import (
    Pair,
    Sizes,
    Windows,
    adaptive_size,
    adaptive_windows,
    as_images,
    check_floating,
    like_input,
)
from tgrad.ops.pool import _avg_pool2d, _max_pool2d, _pool_indices, check_ordered

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

PUBLIC = ("tgrad", "nn.functional")


class Pass(NamedTuple):
    """The geometry of one pass, as the 2-D ops take it."""

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    adaptive: bool

    @property
    def changes(self) -> bool:
        return self.adaptive or self[1:4] != ((1, 1), (1, 1), (0, 0))


def regular(w: Windows) -> tuple[Pass, Pass]:
    """The passes over (H, W) and over the depth."""
    area = w.size[1] * w.size[2]
    flat = Pass(w.size[1:], w.kernel[1:], w.stride[1:], w.padding[1:], w.dilation[1:], False)
    deep = Pass(
        (w.size[0], area), (w.kernel[0], 1), (w.stride[0], 1), (w.padding[0], 0),
        (w.dilation[0], 1), False,
    )  # fmt: skip
    return flat, deep


def adaptive(name: str, x: Tensor, output_size: Any) -> tuple[Pass, Pass]:
    """The same for windows that split x (N, C, D, H, W) into ``output_size``."""
    depth, *plane = adaptive_size(name, x.shape[2:], output_size)
    passes = []
    for image, size in (
        (x.shape[3:], tuple(plane)),
        ((x.shape[2], plane[0] * plane[1]), (depth, plane[0] * plane[1])),
    ):
        kernel, stride, uneven = adaptive_windows(image, size)
        passes.append(Pass(size, kernel, stride, (0, 0), (1, 1), uneven))
    return passes[0], passes[1]


def largest(
    name: str, input: Tensor, x: Tensor, return_indices: bool, flat: Pass, deep: Pass
) -> Any:
    """Run the maximum over both passes. x (N, C, D, H, W)."""
    n, c, d, h, w = x.shape
    p, q = flat.size
    coded = return_indices or (mode.enabled and x.requires_grad)
    y, code = _max_pool2d(x.reshape(n, c * d, h, w), *flat, coded)
    y = y.reshape(n, c, d, p * q)
    if return_indices or deep.changes:
        y, slice_code = _max_pool2d(y, *deep, coded)
    result = like_input(y.reshape(n, c, deep.size[0], p, q), input, name)
    if not return_indices:
        return result
    inner = _pool_indices(code, (h, w), *flat[1:]).reshape(n, c, d * p * q)
    at = _pool_indices(slice_code, (d, p * q), *deep[1:]).reshape(n, c, deep.size[0] * p * q)  # pyright: ignore[reportPossiblyUnboundVariable]
    index = inner.gather(2, at)
    if at.numel():
        index = index + at // (p * q) * (h * w)
    return result, like_input(index.reshape(*y.shape[:2], deep.size[0], p, q), input, name)


def mean(
    name: str, input: Tensor, x: Tensor, include_pad: bool, divisor: int | None, flat: Pass,
    deep: Pass,
) -> Tensor:  # fmt: skip
    """Run the mean over both passes; what lies between them is not rounded to a half dtype."""
    n, c, d, h, w = x.shape
    between = dtypes.float32 if x.dtype.itemsize == 2 and deep.changes else x.dtype
    y = _avg_pool2d(
        x.reshape(n, c * d, h, w), *flat[:4], include_pad, divisor, flat.adaptive, between
    ).reshape(n, c, d, flat.size[0] * flat.size[1])
    if deep.changes:
        whole = None if divisor is None else 1
        y = _avg_pool2d(y, *deep[:4], include_pad, whole, deep.adaptive, x.dtype)
    return like_input(y.reshape(n, c, deep.size[0], *flat.size), input, name)


@composite(spaces=PUBLIC)
def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each box; padding is never the largest. See :func:`max_pool2d`.

    Indices count (d * H + h) * W + w.
    Shape: (N, C, D, H, W) or (C, D, H, W) -> (N, C, O, P, Q) or (C, O, P, Q)
    """
    name = "max_pool3d"
    x = as_images(name, input)
    check_ordered(name, input)
    w = Windows(name, x.shape[2:], x.shape[1], kernel_size, stride, padding, dilation, ceil_mode)
    return largest(name, input, x, return_indices, *regular(w))


@composite(spaces=("nn.functional",))
def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each box. See :func:`avg_pool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> (N, C, O, P, Q) or (C, O, P, Q)
    """
    name = "avg_pool3d"
    x = as_images(name, input)
    check_floating(name, input)
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    w = Windows(name, x.shape[2:], x.shape[1], kernel_size, stride, padding, 1, ceil_mode)
    return mean(name, input, x, bool(count_include_pad), divisor_override, *regular(w))


@composite(spaces=("nn.functional",))
def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The mean of boxes that split each volume into ``output_size``; None keeps a side's length.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> (N, C, O, P, Q) or (C, O, P, Q)
    dtype: that of the input, floating
    Raises: RuntimeError for a wrong rank or a negative size.
    """
    name = "adaptive_avg_pool3d"
    x = as_images(name, input)
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            f"{name}: mean(): could not infer output dtype. Input dtype must be either a floating "
            f"point or complex dtype. Got: {input.dtype.name}"
        )
    return mean(name, input, x, False, None, *adaptive(name, x, output_size))


@composite(spaces=("nn.functional",))
def adaptive_max_pool3d(
    input: Tensor, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of boxes that split each volume into ``output_size``.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> (N, C, O, P, Q) or (C, O, P, Q)
    """
    name = "adaptive_max_pool3d"
    x = as_images(name, input)
    check_floating(name, input)
    return largest(name, input, x, return_indices, *adaptive(name, x, output_size))


__all__ = ["adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "max_pool3d"]
