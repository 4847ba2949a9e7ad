"""Convolution layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad.creation import empty
from tgrad.nn import functional as F
from tgrad.nn import init
from tgrad.nn.modules.module import Module
from tgrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor

Size1 = int | tuple[int]
Size2 = int | tuple[int, int]
Size3 = int | tuple[int, int, int]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def spread(value: int | tuple[int, ...], n: int) -> tuple[int, ...]:
    """One number for each of ``n`` dims, or the tuple given."""
    return (value,) * n if isinstance(value, int) else tuple(value)


class _ConvNd(Module):
    """What the convolutions share: settings, weights and their initial distribution."""

    rank: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...],
        padding: str | int | tuple[int, ...],
        dilation: int | tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: str | Device | None,
        dtype: DType | None,
        output_padding: int | tuple[int, ...] = 0,
    ):
        super().__init__()
        n = self.rank
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        self.stride, self.dilation = spread(stride, n), spread(dilation, n)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}"
                )
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
            self.padding: str | tuple[int, ...] = padding
        else:
            self.padding = spread(padding, n)
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(PADDING_MODES)}, but got "
                f"padding_mode='{padding_mode}'"
            )
        if self.transposed and padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, got '
                f"{padding_mode!r}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.groups = spread(kernel_size, n), groups
        self.output_padding, self.padding_mode = spread(output_padding, n), padding_mode
        ends = (out_channels, in_channels // groups)
        if self.transposed:
            ends = (in_channels, out_channels // groups)
        shape = (*ends, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: U(-k, k), k = 1 / sqrt(in_channels / groups * window)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
                 f"stride={self.stride}"]  # fmt: skip
        if self.padding != (0,) * self.rank:
            padding = self.padding
            parts.append(f"padding={padding}")
        if self.dilation != (1,) * self.rank:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self.rank:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvNd):
    """Cross-correlation with learned windows; paddings other than zeros are made beforehand."""

    def padded(self, input: Tensor) -> tuple[Tensor, str | tuple[int, ...]]:
        """The input, and the padding by zeros that is left for the convolution."""
        if self.padding_mode == "zeros":
            return input, self.padding
        pads: list[int] = []
        for k in reversed(range(self.rank)):
            if isinstance(self.padding, str):
                both = self.dilation[k] * (self.kernel_size[k] - 1) if self.padding == "same" else 0
                pads += [both // 2, both - both // 2]
            else:
                pads += [self.padding[k]] * 2
        return F.pad(input, pads, self.padding_mode), (0,) * self.rank

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with other weights: what subclasses that make their weights call."""
        x, padding = self.padded(input)
        convolve = getattr(F, f"conv{self.rank}d")
        return convolve(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """Cross-correlation with learned windows.

    Shape: (N, C, L) or (C, L) -> the same with out_channels and the window's output size.
    Raises: ValueError for channels that ``groups`` does not divide or an unknown padding.
    """

    rank = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size1,
        stride: Size1 = 1,
        padding: str | Size1 = 0,
        dilation: Size1 = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip


class Conv2d(_Conv):
    """Cross-correlation with learned windows.

    Shape: (N, C, H, W) or (C, H, W) -> the same with out_channels and the window's output size.
    Raises: ValueError for channels that ``groups`` does not divide or an unknown padding.
    """

    rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: str | Size2 = 0,
        dilation: Size2 = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip


class Conv3d(_Conv):
    """Cross-correlation with learned windows.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with out_channels and the window's output
        size.
    Raises: ValueError for channels that ``groups`` does not divide or an unknown padding.
    """

    rank = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size3,
        stride: Size3 = 1,
        padding: str | Size3 = 0,
        dilation: Size3 = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip


class _ConvTransposeNd(_ConvNd):
    """The gradient of a convolution by its input, as a layer: windows are added up.

    The output is (size - 1) stride - 2 padding + dilation (window - 1) + output_padding + 1 long,
    unless ``output_size`` asks for another that the same convolution would make of it.
    Source: Zeiler et al. 2010, "Deconvolutional networks".
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, device, dtype, output_padding)  # fmt: skip

    def extra(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output padding that gives ``output_size``. Raises: ValueError where none does."""
        if output_size is None:
            return self.output_padding
        n = self.rank
        wanted = list(output_size)[-n:]
        if len(output_size) not in (n, input.ndim):
            raise ValueError(
                f"{type(self).__name__}: for {input.ndim}D input, output_size must have {n} or "
                f"{input.ndim} elements (got {len(output_size)})"
            )
        padding = self.padding
        assert isinstance(padding, tuple)
        found = []
        for k, want in enumerate(wanted):
            least = (input.shape[k - n] - 1) * self.stride[k] - 2 * padding[k]
            least += self.dilation[k] * (self.kernel_size[k] - 1) + 1
            if not least <= want < least + self.stride[k]:
                raise ValueError(
                    f"requested an output size of {wanted}, but valid sizes of dim {k} range from "
                    f"{least} to {least + self.stride[k] - 1} (for an input of {input.shape[-n:]})"
                )
            found.append(want - least)
        return tuple(found)


class ConvTranspose1d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 1  # (N, C, L) or (C, L)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding,
            self.extra(input, output_size), self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose2d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 2  # (N, C, H, W) or (C, H, W)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding,
            self.extra(input, output_size), self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose3d(_ConvTransposeNd):
    __doc__ = _ConvTransposeNd.__doc__
    rank = 3  # (N, C, D, H, W) or (C, D, H, W)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose3d(
            input, self.weight, self.bias, self.stride, self.padding,
            self.extra(input, output_size), self.groups, self.dilation,
        )  # fmt: skip
