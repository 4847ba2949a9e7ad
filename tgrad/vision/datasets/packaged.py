"""Data sets that need no files: digits that are installed with the library, and random images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tgrad import dtypes
from tgrad.creation import randint, randn
from tgrad.datasets import digits
from tgrad.random import Generator
from tgrad.vision.datasets.vision import ArrayDataset, VisionDataset
from tgrad.vision.transforms.functional import to_pil_image


class Digits(ArrayDataset):
    """1,797 handwritten digits of 8 x 8 (Alpaydin & Kaynak 1998), installed with tgrad.

    The first four fifths are for training, the rest, of other writers, for testing. ``data``:
    (N, 8, 8) uint8, ``targets``: (N) int64; an item is a Pillow image in mode L and an int,
    transformed.
    """

    def __init__(
        self, train: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None,
    ):  # fmt: skip
        super().__init__(transform=transform, target_transform=target_transform)
        self.train, self.classes = train, list("0123456789")
        images, labels = digits().tensors
        first = len(images) * 4 // 5
        part = slice(first) if train else slice(first, None)
        self.data = (images[part, 0] * 255).round().to(dtypes.uint8)
        self.targets = labels[part]


class FakeData(VisionDataset):
    """Random images and classes, the same for an index and ``random_offset`` every time.

    An item is a Pillow image and an int, transformed.
    """

    def __init__(
        self, size: int = 1000, image_size: Sequence[int] = (3, 224, 224), num_classes: int = 10,
        transform: Callable | None = None, target_transform: Callable | None = None,
        random_offset: int = 0,
    ):  # fmt: skip
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.num_classes, self.image_size = size, num_classes, image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"{type(self).__name__} index out of range")
        own = Generator("cpu").manual_seed(index + self.random_offset)
        image = randn(*self.image_size, generator=own, device="cpu", dtype=dtypes.float32)
        (target,) = randint(0, self.num_classes, (1,), generator=own, device="cpu").tolist()
        return self.changed(to_pil_image(image), target)

    def __len__(self) -> int:
        return self.size
