"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556): stacks of 3 x 3 convolutions."""

from __future__ import annotations

from typing import Any

from tgrad import nn
from tgrad.nn import init
from tgrad.tensor import Tensor
from tgrad.vision.models.weights import Weights, loaded

# Channels of each convolution between the five poolings (table 1 of the paper).
DEPTHS = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """``features`` and three linear layers; 138,357,544 parameters with 16 layers.

    Shape: (N, 3, H, W), both at least 32 -> (N, num_classes).
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True,
        dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(m, nn.Linear):
                    init.normal_(m.weight, 0, 0.01)
                if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                    init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def make_layers(depth: int, batch_norm: bool = False) -> nn.Sequential:
    """The convolutions of VGG with ``depth`` layers."""
    layers: list[nn.Module] = []
    channels = 3
    for block in DEPTHS[depth]:
        for wide in block:
            layers.append(nn.Conv2d(channels, wide, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(wide))
            layers.append(nn.ReLU(inplace=True))
            channels = wide
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _vgg(depth: int, batch_norm: bool, weights: Weights, options: dict[str, Any]) -> VGG:
    if weights is not None:
        options["init_weights"] = False
    return loaded(VGG(make_layers(depth, batch_norm), **options), weights)


def vgg11(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:class:`VGG` with 11 layers; ``weights``: a path or a state_dict."""
    del progress
    return _vgg(11, False, weights, kwargs)


def vgg11_bn(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:func:`vgg11` with batch normalisation."""
    del progress
    return _vgg(11, True, weights, kwargs)


def vgg13(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:class:`VGG` with 13 layers; ``weights``: a path or a state_dict."""
    del progress
    return _vgg(13, False, weights, kwargs)


def vgg13_bn(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:func:`vgg13` with batch normalisation."""
    del progress
    return _vgg(13, True, weights, kwargs)


def vgg16(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:class:`VGG` with 16 layers; ``weights``: a path or a state_dict."""
    del progress
    return _vgg(16, False, weights, kwargs)


def vgg16_bn(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:func:`vgg16` with batch normalisation."""
    del progress
    return _vgg(16, True, weights, kwargs)


def vgg19(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:class:`VGG` with 19 layers; ``weights``: a path or a state_dict."""
    del progress
    return _vgg(19, False, weights, kwargs)


def vgg19_bn(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VGG:
    """:func:`vgg19` with batch normalisation."""
    del progress
    return _vgg(19, True, weights, kwargs)
