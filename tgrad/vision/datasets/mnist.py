"""MNIST and data sets in its format: idx files, compressed or not."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Callable

import numpy as np

from tgrad import dtypes
from tgrad.creation import from_numpy
from tgrad.tensor import Tensor
from tgrad.vision.datasets.download import download
from tgrad.vision.datasets.vision import ArrayDataset, Path

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str) -> np.ndarray:
    """The array of an idx file, ``path`` or ``path`` + ".gz", in this machine's byte order.

    Two zero bytes, the type, the number of dims, each size as big-endian int32, the elements.
    Raises: RuntimeError for a file that is cut off or is something else, FileNotFoundError.
    """
    path = path if os.path.isfile(path) or not os.path.isfile(path + ".gz") else path + ".gz"
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile) as e:
        raise RuntimeError(f"read_idx: {path}: {e}") from e
    known = len(content) >= 4 and content[:2] == b"\0\0" and content[2] in _TYPES
    if not known or len(content) < 4 + 4 * content[3]:
        raise RuntimeError(f"read_idx: {path}: expected an idx file, it begins {content[:4]!r}")
    dims = content[3]
    shape = tuple(int(n) for n in np.frombuffer(content, ">i4", dims, 4))
    kind = np.dtype(_TYPES[content[2]])
    size = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or size != len(content) - 4 - 4 * dims:
        raise RuntimeError(
            f"read_idx: {path}: expected {size} bytes for shape {shape}, got "
            f"{len(content) - 4 - 4 * dims}"
        )
    a = np.frombuffer(content, kind, offset=4 + 4 * dims).reshape(shape)
    return a.astype(kind.newbyteorder("="))


class MNIST(ArrayDataset):
    """70,000 handwritten digits of 28 x 28 (LeCun et al. 1998).

    Reads ``root/MNIST/raw/train-images-idx3-ubyte`` and so on, or the same with ".gz", as they are
    published; ``download=True`` fetches those that are missing. ``data``: (N, 28, 28) uint8,
    ``targets``: (N) int64; an item is a Pillow image in mode L and an int, transformed.
    Raises: RuntimeError where the files are not there or are damaged.
    """

    mirrors: tuple[str, ...] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )
    resources: tuple[tuple[str, str], ...] = (
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    names: tuple[str, ...] = (
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six",
        "7 - seven", "8 - eight", "9 - nine",
    )  # fmt: skip

    def __init__(
        self, root: Path, train: bool = True, transform: Callable | None = None,
        target_transform: Callable | None = None, download: bool = False,
    ):  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train, self.classes = train, list(self.names)
        if download:
            self.download()
        if not self._check_exists():
            raise RuntimeError(
                f"{type(self).__name__}: Dataset not found in {self.raw_folder}. You can use "
                "download=True to download it"
            )
        self.data, self.targets = self._load()

    @property
    def raw_folder(self) -> str:
        return os.path.join(self.root or "", type(self).__name__, "raw")

    @property
    def _files(self) -> list[str]:
        """Images and labels of the split, without ".gz"."""
        here = self.resources[:2] if self.train else self.resources[2:]
        return [os.path.join(self.raw_folder, name.removesuffix(".gz")) for name, _ in here]

    def _check_exists(self) -> bool:
        return all(os.path.isfile(f) or os.path.isfile(f"{f}.gz") for f in self._files)

    def _load(self) -> tuple[Tensor, Tensor]:
        images, labels = (read_idx(path) for path in self._files)
        right = images.ndim == 3 and images.dtype == np.uint8 and labels.shape == images.shape[:1]
        if not right:
            raise RuntimeError(
                f"{type(self).__name__}: expected images (N, H, W) of bytes and N labels, got "
                f"{images.shape} of {images.dtype} and {labels.shape}"
            )
        return from_numpy(images), from_numpy(labels.astype(np.int64)).to(dtypes.int64)

    def download(self) -> None:
        """Fetch the files that are missing. Raises RuntimeError for a wrong checksum."""
        for name, md5 in self.resources:
            path = os.path.join(self.raw_folder, name)
            if not (os.path.isfile(path) or os.path.isfile(path.removesuffix(".gz"))):
                download([mirror + name for mirror in self.mirrors], path, md5)


class FashionMNIST(MNIST):
    """70,000 pieces of clothing of 28 x 28 (Xiao et al. 2017), in :class:`MNIST`'s format."""

    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
             "Bag", "Ankle boot")  # fmt: skip


class KMNIST(MNIST):
    """70,000 cursive Japanese letters of 28 x 28 (Clanuwat et al. 2018, arXiv:1812.01718)."""

    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    resources = (
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    )
    names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
