"""LeNet-5 (LeCun et al. 1998), with rectified units and maxima."""

from __future__ import annotations

from typing import Any

from tgrad import nn
from tgrad.tensor import Tensor
from tgrad.vision.models.weights import Weights, loaded


class LeNet(nn.Module):
    """Two 5 x 5 convolutions with pooling and three linear layers: 61,706 parameters.

    Shape: (N, 1, 28, 28) -> (N, num_classes).
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool(self.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc3(self.relu(self.fc2(x)))


def lenet(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> LeNet:
    """:class:`LeNet`; ``weights``: a path or a state_dict."""
    del progress
    return loaded(LeNet(**kwargs), weights)
