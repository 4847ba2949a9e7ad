"""Data sets of images, read from local files in their published formats.

Nothing is fetched unless ``download=True`` asks for it, and then its checksum is verified.
"""

from tgrad.vision.datasets.cifar import CIFAR10, CIFAR100
from tgrad.vision.datasets.folder import DatasetFolder, ImageFolder
from tgrad.vision.datasets.mnist import KMNIST, MNIST, FashionMNIST
from tgrad.vision.datasets.packaged import Digits, FakeData
from tgrad.vision.datasets.vision import StandardTransform, VisionDataset

__all__ = [
    "CIFAR10", "CIFAR100", "KMNIST", "MNIST", "DatasetFolder", "Digits", "FakeData", "FashionMNIST",
    "ImageFolder", "StandardTransform", "VisionDataset",
]  # fmt: skip
