"""Saving and loading: PyTorch's own zip files, without torch, and ``.safetensors``.

``load`` makes tensors and plain containers of them and nothing else: a file cannot run code. Files
are replaced in one step: see ``atomic.py``.
"""

from __future__ import annotations

import contextlib
import io
import mmap as mapping
import os
import pickle
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

from tgrad.serialization import atomic, tensors_file
from tgrad.serialization.allowed import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    lookup,
    safe_globals,
)
from tgrad.serialization.archive import Reader, Writer
from tgrad.serialization.pickler import dump
from tgrad.serialization.storage import MapLocation, Storages
from tgrad.serialization.unpickler import Unpickler, globals_of

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals",
           "get_unsafe_globals_in_checkpoint", "load", "safe_globals", "save"]  # fmt: skip

File = str | os.PathLike | IO[bytes]
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before version 1.6


def save(obj: Any, f: File, pickle_module: Any = None, pickle_protocol: int = 2) -> None:
    """Write ``obj`` to a file in PyTorch's format, which ``torch.load`` reads too.

    ``f`` is a path, which is replaced in one step, so that a crash at any moment leaves the old or
    the new file whole; or an object with ``write``. Tensors that overlap in memory still do after
    loading; unlike PyTorch's, a file holds only the stretch that they cover. A path that ends in
    ``.safetensors`` gets that format (of a dict of tensors).
    Raises: RuntimeError for tensors of different dtypes over the same memory.
    """
    if pickle_module is not None and pickle_module is not pickle:
        raise ValueError("save: only Python's own pickle module writes this format")
    if tensors_file.is_meant(f):
        tensors_file.save_file(obj, f)
        return
    data, storages = dump(obj, pickle_protocol)
    root = "archive"
    if isinstance(f, (str, os.PathLike)):
        root = os.path.splitext(os.path.basename(os.fspath(f)))[0].replace("\\", "_") or root

    def fill(file: IO[bytes]) -> None:
        writer = Writer(file, root)
        crc = zlib.crc32(data)
        writer.add("data.pkl", data)
        writer.add(".format_version", b"1")
        writer.add(".storage_alignment", b"64")
        writer.add("byteorder", sys.byteorder.encode())
        for i, storage in enumerate(storages):
            content = storage.data()
            crc = zlib.crc32(content, crc)
            writer.add(f"data/{i}", content)
        writer.add("version", b"3\n")
        writer.add(".data/serialization_id", f"{crc:020d}{len(data):020d}".encode())
        writer.close()

    atomic.write(f, fill)


def load(
    f: File,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool = True,
    mmap: bool | None = None,
) -> Any:
    """What ``save`` or ``torch.save`` wrote: tensors, parameters, numbers, text, containers.

    The file cannot run code. Classes beyond tgrad's list are refused by name unless the program
    vouches for them (``tgrad.serialization.add_safe_globals``); ``weights_only=False`` changes
    nothing in that, unlike in PyTorch. ``map_location`` (a device, a dict of locations or a
    function of storage and location) says where tensors go; ``mmap=True`` maps the file's pages
    as they are touched, private to this process.
    Raises: pickle.UnpicklingError for what is refused, RuntimeError for a truncated or corrupt
    file, ValueError for ``mmap`` of a file that is no path.
    """
    if pickle_module is not None:
        raise RuntimeError("load: pickle_module cannot be given: no pickle module reads the file")
    if not isinstance(weights_only, bool):
        raise TypeError(f"load(): weights_only must be a bool, not {type(weights_only).__name__}")
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file filename in order to use the mmap argument")
    if tensors_file.is_meant(f):
        return tensors_file.load_file(f, map_location)
    with _opened(f) as (file, title):
        archive = _archive(file, title)
        version = archive.read("version", 64).strip()
        if not version.isdigit() or not 1 <= int(version) <= 10:
            raise archive.fault(f"version {version!r} of the format is not known")
        pages = None
        if mmap:
            pages = mapping.mmap(file.fileno(), 0, access=mapping.ACCESS_COPY)
        storages = Storages(archive, map_location, pages)
        return Unpickler(archive.read("data.pkl"), title, storages.get).load()


def get_unsafe_globals_in_checkpoint(f: File) -> list[str]:
    """The names in a file that :func:`load` would refuse."""
    with _opened(f) as (file, title):
        data = _archive(file, title).read("data.pkl")
    try:
        names = globals_of(data)
    except (ValueError, UnicodeDecodeError) as e:
        raise pickle.UnpicklingError(f"load: {title}: malformed pickle: {e}") from e
    return sorted(n for n in names if lookup(*n.rpartition(".")[::2]) is None)


@contextlib.contextmanager
def _opened(f: File) -> Iterator[tuple[IO[bytes], str]]:
    """The file to read and what it is called in errors."""
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            yield file, os.fspath(f)
        return
    if not hasattr(f, "read"):
        raise AttributeError(f"load: expected a path or a file to read, got {type(f).__name__}")
    if not hasattr(f, "seek") or f.tell():  # or an archive that begins in the middle of a file
        f = io.BytesIO(f.read())
    yield f, str(getattr(f, "name", "the file"))


def _archive(file: IO[bytes], title: str) -> Reader:
    file.seek(0)
    head = file.read(len(LEGACY))
    if not head:
        raise EOFError(f"load: {title}: the file is empty")
    if head == LEGACY:
        raise RuntimeError(
            f"load: {title}: a file of PyTorch before 1.6, which is no zip archive; load it in "
            "PyTorch and save it again"
        )
    if head[:4] != b"PK\x03\x04":
        raise RuntimeError(
            f"load: {title}: not a zip archive of PyTorch's (it begins {head[:4]!r})"
        )
    return Reader(file, title)
