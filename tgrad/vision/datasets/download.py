"""Files from the network, on request only: what has not the expected checksum is not kept."""

from __future__ import annotations

import hashlib
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from typing import IO

from tgrad.serialization.atomic import replacing

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte


def md5_of(path: str) -> str:
    """The checksum of a file."""
    found = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def check_integrity(path: str, md5: str | None = None) -> bool:
    """Whether the file is there and has the checksum."""
    return os.path.isfile(path) and (md5 is None or md5_of(path) == md5)


def download(urls: Sequence[str], path: str, md5: str) -> None:
    """Fetch the first of ``urls`` that answers; ``path`` appears when it is whole and right.

    Raises: RuntimeError for another checksum, or where none answers.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    faults = []
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, replacing(path) as file:
                size = answer.headers.get("Content-Length")
                found = _copied(answer, file, os.path.basename(path), int(size) if size else None)
                if found != md5:
                    raise RuntimeError(
                        f"download: {url}: expected a file with MD5 {md5}, got {found}"
                    )
            return
        except (OSError, urllib.error.URLError) as e:  # try the next mirror
            faults.append(f"{url}: {e}")
    raise RuntimeError(f"download: {os.path.basename(path)}: {'; '.join(faults)}")


def _copied(source: IO[bytes], target: IO[bytes], name: str, size: int | None) -> str:
    """Copy all bytes; returns their checksum."""
    from tqdm import tqdm

    found = hashlib.md5(usedforsecurity=False)
    with tqdm(desc=name, total=size, unit="B", unit_scale=True) as bar:
        while chunk := source.read(CHUNK):
            found.update(chunk)
            target.write(chunk)
            bar.update(len(chunk))
    return found.hexdigest()


def extract(archive: str, folder: str, names: Iterable[str]) -> None:
    """The named regular files of a tar archive, into ``folder`` under their last names.

    Nothing else in the archive is looked at, so that no path or link in it can lead elsewhere.
    Raises: KeyError for a name that is not there.
    """
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(archive) as tar:
        for name in names:
            member = tar.extractfile(name)
            if member is None:
                raise KeyError(f"{archive}: {name} is no regular file")
            with member, replacing(os.path.join(folder, os.path.basename(name))) as file:
                while chunk := member.read(CHUNK):
                    file.write(chunk)
