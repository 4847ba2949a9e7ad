"""AlexNet (Krizhevsky et al. 2012), in the form of Krizhevsky 2014, arXiv:1404.5997."""

from __future__ import annotations

from typing import Any

from tgrad import nn
from tgrad.tensor import Tensor
from tgrad.vision.models.weights import Weights, loaded


class AlexNet(nn.Module):
    """Five convolutions and three linear layers: 61,100,840 parameters for 1000 classes.

    Shape: (N, 3, H, W), both at least 63 -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def alexnet(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> AlexNet:
    """:class:`AlexNet`; ``weights``: a path or a state_dict."""
    del progress
    return loaded(AlexNet(**kwargs), weights)
