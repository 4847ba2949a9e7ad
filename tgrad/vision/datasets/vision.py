"""The base of data sets of images: a root folder and transforms of samples."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad.utils.data import Dataset
from tgrad.vision.pillow import pillow

Path = str | os.PathLike


class StandardTransform:
    """``transform`` of the image and ``target_transform`` of the target."""

    def __init__(self, transform: Callable | None = None, target_transform: Callable | None = None):
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        parts = (("Transform: ", self.transform), ("Target transform: ", self.target_transform))
        for head, part in parts:
            if part is not None:
                lines.append(head + repr(part).replace("\n", "\n" + " " * len(head)))
        return "\n".join(lines)


class VisionDataset(Dataset):
    """Images and targets; ``transforms`` takes both, the other two one each.

    Raises: ValueError where ``transforms`` and one of the others are given.
    """

    def __init__(
        self, root: Path | None = None, transforms: Callable | None = None,
        transform: Callable | None = None, target_transform: Callable | None = None,
    ):  # fmt: skip
        separate = transform is not None or target_transform is not None
        if transforms is not None and separate:
            raise ValueError(
                "Only transforms or transform/target_transform can be passed as argument"
            )
        self.root = os.path.expanduser(root) if root is not None else None
        self.transform, self.target_transform = transform, target_transform
        self.transforms = StandardTransform(transform, target_transform) if separate else transforms

    def changed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """A sample as the transforms make it."""
        return (image, target) if self.transforms is None else self.transforms(image, target)

    def __len__(self) -> int:
        raise NotImplementedError

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if self.transforms is not None:
            body.append(repr(self.transforms))
        return "\n".join([f"Dataset {type(self).__name__}", *(f"    {line}" for line in body)])

    def extra_repr(self) -> str:
        return ""


class ArrayDataset(VisionDataset):
    """Images that lie in memory: ``data`` (N, H, W) or (N, H, W, C), uint8, and ``targets``.

    An item is a Pillow image and an int, transformed.
    """

    data: Any
    targets: Any
    classes: list[str]
    train: bool

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: i for i, name in enumerate(self.classes)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = pillow(type(self).__name__).fromarray(np.asarray(self.data[index]))
        return self.changed(image, int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"
