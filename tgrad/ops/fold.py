"""Windows of images as columns, and the sum of columns put back as windows (im2col, col2im)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.arrange import constant_pad_nd
from tgrad.ops.geometry import Pair, Sizes, pair
from tgrad.ops.shape import slice_backward, unfold_backward
from tgrad.ops.window import _unfold

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def check_dtype(name: str, input: Tensor) -> None:
    if input.dtype.category < dtypes.FLOAT and input.dtype is not dtypes.bool_:
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.name}'")


class Blocks:
    """Checked geometry of the windows of ``unfold`` and ``fold``."""

    def __init__(
        self, name: str, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
    ):
        self.name = name
        self.kernel, self.dilation = (
            pair(name, "kernel_size", kernel_size), pair(name, "dilation", dilation))  # fmt: skip
        self.padding, self.stride = pair(name, "padding", padding), pair(name, "stride", stride)
        for what, value in (("kernel size", self.kernel), ("dilation", self.dilation),
                            ("stride", self.stride)):  # fmt: skip
            if min(value) <= 0:
                raise RuntimeError(f"{name}: {what} should be greater than zero, but got {value}")
        if min(self.padding) < 0:
            raise RuntimeError(f"{name}: padding should be non-negative, but got {self.padding}")
        self.extent = tuple(
            d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)
        )

    def number(self, image: Pair) -> Pair:
        """(P, Q), how many windows fit into an image. Raises RuntimeError where none does."""
        found = tuple(
            (n + 2 * p - e) // s + 1
            for n, p, e, s in zip(image, self.padding, self.extent, self.stride, strict=True)
        )
        if min(found) < 1:
            raise RuntimeError(
                f"{self.name}: Given spatial size {image}, kernel_size={self.kernel}, "
                f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}, "
                f"calculated shape of the array of sliding blocks as {found}, which is too small "
                "(non-positive)"
            )
        return found


@composite(spaces=())
def im2col(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The windows of each image as columns: ``nn.functional.unfold``.

    y[n, (c R + r) S + s, p Q + q] = x[n, c, p stride - padding + r dilation, ...], 0 outside. The
    windows are a strided view of the (padded) images, copied once.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C R S, P Q) or (C R S, P Q) for windows of R x S
    dtype: that of the input, not integer
    Raises: RuntimeError for a wrong rank, sizes that are not positive or windows that do not fit.
    """
    blocks = Blocks("unfold", kernel_size, dilation, padding, stride)
    shape = input.shape
    if len(shape) < 3:
        raise IndexError(
            "unfold: Dimension out of range (expected to be in range of "
            f"[{-len(shape)}, {len(shape) - 1}], but got 2)"
        )
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    check_dtype("unfold", input)
    p, q = blocks.number(shape[-2:])
    (r, s), (down, across) = blocks.kernel, blocks.dilation
    x = input if len(shape) == 4 else input.reshape(1, *shape)
    h, w = blocks.padding
    if h or w:
        x = constant_pad_nd(x, (w, w, h, h))
    windows = _unfold(_unfold(x, 2, blocks.extent[0], blocks.stride[0]), 3, blocks.extent[1],
                      blocks.stride[1])  # fmt: skip
    windows = windows[..., ::down, ::across].permute(0, 1, 4, 5, 2, 3)  # (N, C, R, S, P, Q)
    y = windows.reshape(x.shape[0], shape[-3] * r * s, p * q)
    return y if len(shape) == 4 else y.reshape(y.shape[1:])


@composite(spaces=("nn.functional",))
def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """The sum of columns put back as windows: the transpose of ``nn.functional.unfold``.

    One axis after the other, so that a pixel adds R + S numbers and not R S.

    Shape: (N, C R S, L) or (C R S, L) -> (N, C, H, W) or (C, H, W), (H, W) = ``output_size`` and L
        the number of windows in it
    dtype: that of the input, not integer
    Raises: RuntimeError for shapes that do not fit together or sizes that are not positive.
    """
    size = pair("fold", "output_size", output_size)
    blocks = Blocks("fold", kernel_size, dilation, padding, stride)
    if min(size) < 1:
        raise RuntimeError(f"fold: Expected positive output_size, but got {size}")
    shape = input.shape
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    (r, s), (down, across) = blocks.kernel, blocks.dilation
    if shape[-2] % (r * s):
        raise RuntimeError(
            "fold: Expected size of input's first non-batch dimension to be divisible by the "
            f"product of kernel_size, but got input.size={list(shape)} and "
            f"kernel_size={blocks.kernel}"
        )
    p, q = blocks.number(size)
    if p * q != shape[-1]:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={blocks.kernel}, "
            f"dilation={blocks.dilation}, padding={blocks.padding}, stride={blocks.stride}, "
            f"expected input's last dimension to match the calculated number of sliding blocks "
            f"{p} * {q} = {p * q}, but got input.size={list(shape)}"
        )
    check_dtype("fold", input)
    (h, w), (top, left) = size, blocks.padding
    n, c = math.prod(shape[:-2]), shape[-2] // (r * s)
    g = input.reshape(n, c, r, s, p, q).permute(0, 1, 4, 5, 2, 3)  # (N, C, P, Q, R, S)
    tall, wide = blocks.extent
    if down > 1 or across > 1:  # zeros between the taps
        every = (..., slice(None, None, down), slice(None, None, across))
        g = slice_backward(g, (n, c, p, q, tall, wide), every)
    g = unfold_backward(g, (n, c, p, w + 2 * left, tall), 3, wide, blocks.stride[1])
    y = unfold_backward(g, (n, c, h + 2 * top, w + 2 * left), 2, tall, blocks.stride[0])
    y = y[..., top : top + h, left : left + w]
    return y if len(shape) == 3 else y.reshape(y.shape[1:])


__all__ = ["fold", "im2col"]
