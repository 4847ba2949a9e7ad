"""Samples in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from tgrad.vision.datasets.vision import Path, VisionDataset
from tgrad.vision.pillow import pillow

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
Sample = tuple[str, int]


def has_file_allowed_extension(filename: str, extensions: str | Sequence[str]) -> bool:
    """Whether the name ends in one of ``extensions``, in lower or upper case."""
    ends = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    return filename.lower().endswith(ends)


def is_image_file(filename: str) -> bool:
    """Whether the name ends as an image's does."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: Path) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in ``directory``, sorted, and their numbers.

    Raises: FileNotFoundError where there is none.
    """
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {os.fspath(directory)}.")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(
    directory: Path, class_to_idx: dict[str, int] | None = None,
    extensions: str | Sequence[str] | None = None,
    is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
) -> list[Sample]:  # fmt: skip
    """(path, class) of every file below the class folders that suits, sorted by class and path.

    Files suit by ``extensions`` or by ``is_valid_file``.
    Raises: ValueError unless one of the two is given, FileNotFoundError for a class without files
    unless ``allow_empty``.
    """
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        class_to_idx = find_classes(directory)[1]
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError(
            "Both extensions and is_valid_file cannot be None or not None at the same time"
        )
    samples: list[Sample] = []
    empty = []
    for name in sorted(class_to_idx):
        before = len(samples)
        top = os.path.join(directory, name)
        for folder, _, files in sorted(os.walk(top, followlinks=True)):
            for path in (os.path.join(folder, file) for file in sorted(files)):
                valid = (has_file_allowed_extension(path, extensions) if extensions is not None
                         else is_valid_file is not None and is_valid_file(path))  # fmt: skip
                if valid:
                    samples.append((path, class_to_idx[name]))
        if len(samples) == before:
            empty.append(name)
    if empty and not allow_empty:
        wanted = "" if extensions is None else f" Supported extensions are: {extensions}"
        raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)}.{wanted}")
    return samples


class DatasetFolder(VisionDataset):
    """What ``loader`` makes of the files in ``root``, one folder for each class.

    Files suit by ``extensions`` or by ``is_valid_file``; classes are numbered in the order of their
    names. ``samples``: (path, class), ``targets``: the classes.
    Raises: FileNotFoundError where there is no class or, unless ``allow_empty``, no file of one.
    """

    def __init__(
        self, root: Path, loader: Callable[[str], Any], extensions: Sequence[str] | None = None,
        transform: Callable | None = None, target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
    ):  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        assert self.root is not None
        self.loader, self.extensions = loader, extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(
            self.root, self.class_to_idx, extensions, is_valid_file, allow_empty
        )
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(
        directory: Path, class_to_idx: dict[str, int], extensions: Sequence[str] | None = None,
        is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
    ) -> list[Sample]:  # fmt: skip
        """The samples; subclasses may find theirs in another way."""
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: Path) -> tuple[list[str], dict[str, int]]:
        """The classes; subclasses may leave some out."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.changed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


def pil_loader(path: str) -> Any:
    """The image in a file, as Pillow's in mode RGB."""
    with open(path, "rb") as file:
        return pillow("ImageFolder").open(file).convert("RGB")


default_loader = pil_loader


class ImageFolder(DatasetFolder):
    """The images in ``root``, one folder for each class: :class:`DatasetFolder` with Pillow."""

    def __init__(
        self, root: Path, transform: Callable | None = None,
        target_transform: Callable | None = None, loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
    ):  # fmt: skip
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file,
                         allow_empty)  # fmt: skip
        self.imgs = self.samples
