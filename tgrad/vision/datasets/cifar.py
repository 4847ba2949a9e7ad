"""CIFAR-10 and CIFAR-100 from their published Python files, which cannot run code here."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from tgrad.serialization.unpickler import Unpickler
from tgrad.vision.datasets.download import check_integrity, download, extract
from tgrad.vision.datasets.vision import ArrayDataset, Path


def read_pickle(path: str) -> Any:
    """Arrays, numbers, text and containers out of a pickle; everything else is refused by name.

    Raises: pickle.UnpicklingError for what is refused, cut off or malformed.
    """

    def persistent(key: Any) -> Any:
        raise pickle.UnpicklingError(f"a persistent id, {key!r}")

    with open(path, "rb") as file:
        return Unpickler(file.read(), path, persistent).load()


class CIFAR10(ArrayDataset):
    """60,000 colour images of 32 x 32 in ten classes (Krizhevsky 2009).

    Reads ``root/cifar-10-batches-py`` as it is published, checksums included; ``download=True``
    fetches what is missing. ``data``: (N, 32, 32, 3) uint8 in a NumPy array, ``targets``: a list of
    ints; an item is a Pillow image in mode RGB and an int, transformed.
    Raises: RuntimeError where files are not there or are damaged.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list: tuple[tuple[str, str], ...] = (
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    )
    test_list: tuple[tuple[str, str], ...] = (("test_batch", "40351d587109b95175f43aff81a1287e"),)
    meta = ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888")
    names_key, labels_key = "label_names", "labels"

    def __init__(
        self, root: Path, train: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ):  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        files = [*(self.train_list if train else self.test_list), self.meta]
        if not self._check_integrity(files):
            raise RuntimeError(
                f"{type(self).__name__}: Dataset not found or corrupted in {self._folder}. You can "
                "use download=True to download it"
            )
        parts = [read_pickle(os.path.join(self._folder, name)) for name, _ in files]
        self.classes = list(parts.pop()[self.names_key])
        flat = np.concatenate([part["data"] for part in parts])  # (N, 3072)
        self.data = np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        self.targets = [int(label) for part in parts for label in part[self.labels_key]]

    @property
    def _folder(self) -> str:
        return os.path.join(self.root or "", self.base_folder)

    def _check_integrity(self, files: Any) -> bool:
        return all(check_integrity(os.path.join(self._folder, name), md5) for name, md5 in files)

    def download(self) -> None:
        """Fetch and unpack the archive unless its files are there.

        Raises: RuntimeError for a wrong checksum.
        """
        files = [*self.train_list, *self.test_list, self.meta]
        if self._check_integrity(files):
            return
        archive = os.path.join(self.root or "", self.filename)
        if not check_integrity(archive, self.tgz_md5):
            download([self.url], archive, self.tgz_md5)
        extract(archive, self._folder, [f"{self.base_folder}/{name}" for name, _ in files])


class CIFAR100(CIFAR10):
    """:class:`CIFAR10` in a hundred classes, from ``root/cifar-100-python``."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = (("train", "16019d7e3df5f24257cddd939b257f8d"),)
    test_list = (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),)
    meta = ("meta", "7973b15100ade9c7d40fb424638fde48")
    names_key, labels_key = "fine_label_names", "fine_labels"
