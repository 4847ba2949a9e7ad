"""Layers that take images apart into windows, and put windows together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.nn import functional as F
from tgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Size = int | tuple[int, ...]


class Fold(Module):
    """The sum of columns put back as windows of an image of ``output_size``.

    Shape: (N, C * window, L) or (C * window, L) -> (N, C, *output_size) or (C, *output_size).
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ):
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding,
                      self.stride)  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """The windows of each image as columns.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C * window, L) or (C * window, L), L windows.
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )
