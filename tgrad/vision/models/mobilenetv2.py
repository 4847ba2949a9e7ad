"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): inverted residuals of separable filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad import nn
from tgrad.nn import init
from tgrad.tensor import Tensor
from tgrad.vision.models.weights import Weights, loaded

Norm = Callable[[int], nn.Module]


def rounded(v: float, divisor: int) -> int:
    """The nearest multiple of ``divisor``, but not less than nine tenths of ``v``."""
    new = max(divisor, int(v + divisor / 2) // divisor * divisor)
    return new if new >= 0.9 * v else new + divisor


class ConvNormReLU6(nn.Sequential):
    """A convolution without bias, normalisation and relu6; the size is kept at stride 1."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1,
        groups: int = 1, norm_layer: Norm = nn.BatchNorm2d,
    ):  # fmt: skip
        padding = (kernel_size - 1) // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups,
                      bias=False),
            norm_layer(out_channels), nn.ReLU6(inplace=True),
        )  # fmt: skip
        self.out_channels = out_channels


class InvertedResidual(nn.Module):
    """Widen by ``expand_ratio``, filter each channel alone, narrow without an activation.

    The input is added where neither size nor channels change. Raises: ValueError for strides other
    than 1 and 2.
    """

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None
    ):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm = norm_layer or nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(ConvNormReLU6(inp, hidden, 1, norm_layer=norm))
        layers += [
            ConvNormReLU6(hidden, hidden, 3, stride, hidden, norm),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        ]
        self.conv = nn.Sequential(*layers)
        self.stride, self.out_channels = stride, oup
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


# Expansion, channels, blocks and first stride of each stage (table 2 of the paper).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
          (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip


class MobileNetV2(nn.Module):
    """19 stages of convolutions and a linear layer; 3,504,872 parameters.

    ``width_mult`` scales the channels, to multiples of ``round_nearest``.
    Shape: (N, 3, H, W) -> (N, num_classes).
    Raises: ValueError unless each stage has four numbers.
    """

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None, round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None, norm_layer: Norm | None = None,
        dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        stages = STAGES if inverted_residual_setting is None else inverted_residual_setting
        if not stages or any(len(stage) != 4 for stage in stages):
            raise ValueError(
                "inverted_residual_setting should be non-empty or a 4-element list, got "
                f"{inverted_residual_setting}"
            )
        channels = rounded(32 * width_mult, round_nearest)
        self.last_channel = rounded(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [ConvNormReLU6(3, channels, stride=2, norm_layer=norm)]
        for expansion, wide, blocks, first in stages:
            out = rounded(wide * width_mult, round_nearest)
            for i in range(blocks):
                stride = first if i == 0 else 1
                features.append(
                    block(channels, out, stride, expand_ratio=expansion, norm_layer=norm)
                )
                channels = out
        features.append(ConvNormReLU6(channels, self.last_channel, 1, norm_layer=norm))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes)
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out")
            elif isinstance(m, nn.Linear):
                init.normal_(m.weight, 0, 0.01)
            if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet_v2(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> MobileNetV2:
    """:class:`MobileNetV2`; ``weights``: a path or a state_dict."""
    del progress
    return loaded(MobileNetV2(**kwargs), weights)
