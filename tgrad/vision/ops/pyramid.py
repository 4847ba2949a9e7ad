"""A pyramid of features: every scale told what the coarser ones saw."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from tgrad import nn
from tgrad.nn import functional as F
from tgrad.tensor import Tensor
from tgrad.vision.ops.misc import Conv2dNormActivation


class FeaturePyramidNetwork(nn.Module):
    """Each map brought to ``out_channels``, the coarser result added to it, then smoothed by 3x3.

    Maps come as an ordered dict, the finest first, and leave as one. torchvision's ``extra_blocks``
    are not here. Source: Lin et al. 2016, arXiv:1612.03144.
    """

    def __init__(
        self,
        in_channels_list: list[int],
        out_channels: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ):
        super().__init__()
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for channels in in_channels_list:
            if channels == 0:
                raise ValueError("in_channels=0 is currently not supported")
            for blocks, inside, k in (
                (self.inner_blocks, channels, 1), (self.layer_blocks, out_channels, 3)
            ):  # fmt: skip
                blocks.append(
                    Conv2dNormActivation(
                        inside, out_channels, k, norm_layer=norm_layer, activation_layer=None
                    )
                )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_uniform_(m.weight, a=1)
                if m.bias is not None:
                    nn.init.constant_(m.bias, 0)

    def forward(self, x: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
        found: list[Tensor] = []
        coarser: Tensor | None = None
        for k, a in reversed(list(enumerate(x.values()))):
            y = self.inner_blocks[k](a)
            if coarser is not None:
                y = y + F.interpolate(coarser, size=y.shape[-2:], mode="nearest")
            coarser = y
            found.insert(0, self.layer_blocks[k](y))
        return OrderedDict(zip(x, found, strict=True))
