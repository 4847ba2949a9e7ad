"""Data sets of images from tiny files in their published formats, hostile and damaged ones too."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

import tgrad
from tgrad.datasets import digits
from tgrad.utils.data import DataLoader
from tgrad.vision import datasets as D
from tgrad.vision import transforms as T
from tgrad.vision.datasets import cifar, mnist
from tgrad.vision.datasets.download import download

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
RNG = np.random.default_rng(0)


# ---- idx -----------------------------------------------------------------------------------------


def idx(a: np.ndarray, code: int = 0x08) -> bytes:
    """An idx file, as LeCun describes it."""
    head = bytes([0, 0, code, a.ndim]) + struct.pack(f">{a.ndim}i", *a.shape)
    return head + a.astype(a.dtype.newbyteorder(">")).tobytes()


def write_mnist(root: Path, name: str = "MNIST", packed: bool = False) -> tuple:
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    made = []
    for split, n in (("train", 7), ("t10k", 3)):
        images, labels = RNG.integers(0, 256, (n, 4, 5), np.uint8), RNG.integers(0, 10, n, np.uint8)
        made += [images, labels]
        for kind, a in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{split}-{kind}-ubyte"
            if packed:
                with gzip.open(f"{path}.gz", "wb") as file:
                    file.write(idx(a))
            else:
                path.write_bytes(idx(a))
    return tuple(made)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [D.MNIST, D.FashionMNIST, D.KMNIST])
def test_mnist_is_read_from_idx_files(tmp_path: Path, kind, packed: bool):
    images, labels, test_images, test_labels = write_mnist(tmp_path, kind.__name__, packed)
    train, test = kind(tmp_path), kind(tmp_path, train=False, transform=T.PILToTensor())
    assert train.data.dtype is tgrad.uint8 and train.targets.dtype is tgrad.int64
    np.testing.assert_array_equal(train.data.numpy(), images)
    image, label = train[2]
    assert image.mode == "L" and (np.asarray(image) == images[2]).all() and label == labels[2]
    x, y = test[1]
    assert (x.numpy() == test_images[1][None]).all() and y == test_labels[1]
    assert (
        len(train) == 7 and len(train.classes) == 10 and train.class_to_idx[train.classes[3]] == 3
    )
    batch, targets = next(iter(DataLoader(test, batch_size=3)))
    assert batch.shape == (3, 1, 4, 5) and targets.tolist() == test_labels.tolist()


def test_a_missing_data_set_says_how_to_get_it(tmp_path: Path):
    with pytest.raises(RuntimeError, match="download=True"):
        D.MNIST(tmp_path)
    with pytest.raises(RuntimeError, match="download=True"):
        D.CIFAR10(tmp_path)


@pytest.mark.parametrize("code, kind", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"),
                                        (14, "f8")])  # fmt: skip
def test_idx_files_of_every_type_are_read(tmp_path: Path, code: int, kind: str):
    a = RNG.integers(0, 100, (2, 3)).astype(kind)
    (tmp_path / "a").write_bytes(idx(a, code))
    b = mnist.read_idx(str(tmp_path / "a"))
    assert b.dtype == a.dtype and (a == b).all()


GOOD = idx(np.zeros((2, 3), np.uint8))
DAMAGED = {
    "empty": b"", "cut off": GOOD[:-1], "too long": GOOD + b"\0", "no header": GOOD[:6],
    "unknown type": b"\0\0\x0a" + GOOD[3:], "a picture": b"\x89PNG" + GOOD,
    "negative size": b"\0\0\x08\x01" + struct.pack(">i", -1),
    "huge": b"\0\0\x08\x03" + struct.pack(">3i", *[2**31 - 1] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_files_are_refused(tmp_path: Path, name: str, packed: bool):
    path = tmp_path / "a"
    if packed:
        with gzip.open(f"{path}.gz", "wb") as file:
            file.write(DAMAGED[name])
    else:
        path.write_bytes(DAMAGED[name])
    with pytest.raises(RuntimeError, match=r"read_idx: .*a"):
        mnist.read_idx(str(path))


def test_a_damaged_gzip_file_is_refused(tmp_path: Path):
    for content in (gzip.compress(GOOD)[:-9], b"\0" * 20):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(RuntimeError, match=r"read_idx: .*a\.gz"):
            mnist.read_idx(str(tmp_path / "a"))


# ---- CIFAR ---------------------------------------------------------------------------------------


def octets(data: bytes) -> bytes:
    """Python 2's str, as its pickles of protocol 2 hold it."""
    if len(data) < 256:
        return b"U" + bytes([len(data)]) + data
    return b"T" + struct.pack("<i", len(data)) + data


def python2_array(a: np.ndarray) -> bytes:
    """How NumPy under Python 2 pickled an array of bytes."""
    made = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + octets(b"b") + b"\x87R"
    )
    kind = b"cnumpy\ndtype\n" + octets(b"u1") + b"K\0K\x01\x87R(K\x03" + octets(b"|") + b"NNN"
    kind += b"J\xff\xff\xff\xff" * 2 + b"K\0tb"
    shape = b"".join(b"J" + struct.pack("<i", n) for n in a.shape) + b"\x86"
    return made + b"(K\x01" + shape + kind + b"\x89" + octets(a.tobytes()) + b"tb"


def python2_dict(entries: dict[str, bytes]) -> bytes:
    body = b"".join(octets(key.encode()) + value for key, value in entries.items())
    return b"\x80\x02}(" + body + b"u."


def python2_list(items: list) -> bytes:
    return b"](" + b"".join(
        octets(i.encode()) if isinstance(i, str) else b"K" + bytes([i]) for i in items
    ) + b"e"  # fmt: skip


def write_cifar(root: Path, kind, monkeypatch) -> tuple[np.ndarray, list[int]]:
    """Batches of two images as published; the class learns their checksums. The training set."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    images, targets, sums = [], [], {}
    for name, _ in (*kind.train_list, *kind.test_list):
        data = RNG.integers(0, 256, (2, 3072), np.uint8)
        labels = RNG.integers(0, 10, 2).tolist()
        if (name, _) in kind.train_list:
            images.append(data)
            targets += labels
        entries = {"batch_label": octets(b"batch"), kind.labels_key: python2_list(labels),
                   "data": python2_array(data), "filenames": python2_list(["a.png"])}  # fmt: skip
        (folder / name).write_bytes(python2_dict(entries))
    names = python2_list([f"class {i}" for i in range(10)])
    (folder / kind.meta[0]).write_bytes(python2_dict({kind.names_key: names}))
    for path in folder.iterdir():
        sums[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(kind, part, tuple((n, sums[n]) for n, _ in getattr(kind, part)))
    monkeypatch.setattr(kind, "meta", (kind.meta[0], sums[kind.meta[0]]))
    return np.concatenate(images), targets


@pytest.mark.parametrize("kind", [D.CIFAR10, D.CIFAR100])
def test_cifar_is_read_from_the_pickles_of_python_2(tmp_path: Path, kind, monkeypatch):
    images, targets = write_cifar(tmp_path, kind, monkeypatch)
    data = kind(tmp_path)
    assert data.data.shape == (len(targets), 32, 32, 3) and data.targets == targets
    image, target = data[1]
    assert image.mode == "RGB" and target == targets[1] and data.classes[4] == "class 4"
    assert T.PILToTensor()(image).numpy().tobytes() == images[1].tobytes()
    assert len(kind(tmp_path, train=False)) == 2
    # what Python itself reads from the same file
    with open(tmp_path / kind.base_folder / kind.test_list[0][0], "rb") as file:
        theirs = pickle.load(file, encoding="latin1")
    np.testing.assert_array_equal(
        theirs["data"].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1), kind(tmp_path, False).data
    )


def test_a_batch_with_another_checksum_is_refused(tmp_path: Path, monkeypatch):
    write_cifar(tmp_path, D.CIFAR10, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    D.CIFAR10(tmp_path, train=False)
    with pytest.raises(RuntimeError, match="corrupted"):
        D.CIFAR10(tmp_path)


@pytest.mark.parametrize("content", [
    b"cos\nsystem\n(S'echo'\ntR.", b"\x80\x02cos\nsystem\nU\x04echo\x85R.",
    b"\x80\x02cbuiltins\neval\nU\x011\x85R.", b"\x80\x02}Q.", b"\x80\x02}",
])  # fmt: skip
def test_pickles_that_want_to_run_code_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match=r"load: .*/a: "):
        cifar.read_pickle(str(tmp_path / "a"))


# ---- downloading ---------------------------------------------------------------------------------


def test_downloads_are_verified_and_leave_nothing_half_done(tmp_path: Path, capsys):
    source, target = tmp_path / "source", tmp_path / "there" / "target"
    source.write_bytes(b"abc" * 1000)
    right = hashlib.md5(source.read_bytes()).hexdigest()
    missing = (tmp_path / "missing").as_uri()
    with pytest.raises(RuntimeError, match=f"expected a file with MD5 {'0' * 32}, got {right}"):
        download([source.as_uri()], str(target), "0" * 32)
    assert list(target.parent.iterdir()) == []
    with pytest.raises(RuntimeError, match=r"target: .*missing"):
        download([missing], str(target), right)
    download([missing, source.as_uri()], str(target), right)
    assert target.read_bytes() == source.read_bytes()


def test_mnist_is_downloaded_on_request_only(tmp_path: Path, monkeypatch):
    write_mnist(tmp_path / "mirror", packed=True)
    raw = tmp_path / "mirror" / "MNIST" / "raw"
    sums = tuple((n, hashlib.md5((raw / n).read_bytes()).hexdigest()) for n, _ in D.MNIST.resources)
    monkeypatch.setattr(D.MNIST, "resources", sums)
    monkeypatch.setattr(D.MNIST, "mirrors", (raw.as_uri() + "/",))
    with pytest.raises(RuntimeError, match="not found"):
        D.MNIST(tmp_path / "mine")
    assert len(D.MNIST(tmp_path / "mine", download=True)) == 7
    assert len(D.MNIST(tmp_path / "mine", train=False)) == 3


def test_cifar_takes_only_its_own_files_out_of_an_archive(tmp_path: Path, monkeypatch):
    write_cifar(tmp_path / "made", D.CIFAR10, monkeypatch)
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
        evil = tarfile.TarInfo("../evil")
        evil.size = 1
        tar.addfile(evil, io.BytesIO(b"x"))
    monkeypatch.setattr(D.CIFAR10, "url", archive.as_uri())
    monkeypatch.setattr(D.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert len(D.CIFAR10(tmp_path / "mine", download=True)) == 10
    assert not (tmp_path / "evil").exists()
    assert len(list((tmp_path / "mine" / "cifar-10-batches-py").iterdir())) == 7


# ---- folders, packaged and random ----------------------------------------------------------------


def test_image_folder_numbers_its_folders(tmp_path: Path):
    for name, colour in (("dog/a.png", 10), ("cat/x/b.PNG", 20), ("cat/a.jpg", 30)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), colour).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    data = D.ImageFolder(tmp_path, transform=T.ToTensor(), target_transform=lambda t: t + 10)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert data.targets == [0, 0, 1] and len(data) == 3 and data.imgs is data.samples
    x, y = data[2]
    assert x.shape == (3, 3, 4) and y == 11 and abs(x.mean().item() - 10 / 255) < 0.02
    assert [Path(p).name for p, _ in data.samples] == ["a.jpg", "b.PNG", "a.png"]
    texts = D.DatasetFolder(tmp_path, lambda p: Path(p).read_text(), (".txt",), allow_empty=True)
    assert texts[0] == ("no image", 0)
    with pytest.raises(FileNotFoundError, match="dog"):
        D.DatasetFolder(tmp_path, str, (".txt",))
    with pytest.raises(FileNotFoundError, match="class folder"):
        D.ImageFolder(tmp_path / "dog")
    with pytest.raises(ValueError, match="at the same time"):
        D.DatasetFolder(tmp_path, str)


def test_digits_are_those_of_the_package():
    train, test = D.Digits(), D.Digits(train=False, transform=T.ToTensor())
    assert (len(train), len(test)) == (1437, 360)
    images, labels = digits().tensors
    x, y = test[5]
    np.testing.assert_allclose(x.numpy(), images[1442].numpy(), atol=0.002)
    assert y == labels[1442].item() and np.bincount(test.targets.numpy()).min() > 30


def test_fake_data_repeats_itself_and_leaves_the_generator_alone():
    state = tgrad.get_rng_state().tolist()
    a, b = D.FakeData(5, (3, 8, 6), 4), D.FakeData(5, (3, 8, 6), 4, random_offset=1)
    assert tgrad.get_rng_state().tolist() == state
    assert a[2][0].size == (6, 8) and a[2][0].tobytes() == a[2][0].tobytes()
    assert a[2][0].tobytes() != a[3][0].tobytes() == b[2][0].tobytes()
    assert {a[i][1] for i in range(5)} <= {0, 1, 2, 3}
    with pytest.raises(IndexError):
        a[5]


def test_transforms_take_image_and_target_together():
    both = D.VisionDataset("here", transforms=lambda x, y: (y, x))
    assert both.changed(1, 2) == (2, 1)
    with pytest.raises(ValueError, match="Only transforms or"):
        D.VisionDataset("here", transforms=abs, transform=abs)
    text = repr(D.Digits(transform=T.Compose([T.RandomInvert(), T.ToTensor()])))
    assert text.split("\n")[:3] == [
        "Dataset Digits", "    Number of datapoints: 1437", "    Split: Train"
    ]  # fmt: skip
    assert "StandardTransform" in text and "Transform: Compose(" in text
