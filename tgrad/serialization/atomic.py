"""Files that are replaced in one step: a crash at any moment leaves the old or the new one whole.

The new content goes to a temporary file in the same folder, is forced to the disk and takes the
old file's name; then the folder is forced to the disk too. Until the rename nobody sees it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from typing import IO, Any

try:
    import fcntl
except ImportError:  # not a POSIX system: files that a killed writer left stay
    fcntl = None


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to write, which becomes ``path`` when the block ends and vanishes if it raises.

    The mode of an existing file is kept, a link is followed. What is no regular file (a pipe,
    ``/dev/null``) is written directly. Temporary files of writers that were killed are removed.
    """
    path = os.path.realpath(path)
    old = _status(path)
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(f"save: {path} is a folder")
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(path, "wb") as file:
            yield file
        return
    _remove_stale(path)
    temporary, file = _create(path)
    try:
        with file:
            if old is not None:
                os.chmod(temporary, stat.S_IMODE(old.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # an open file cannot be renamed on Windows
            os.replace(temporary, path)
    except BaseException:  # also the interrupt from the keyboard
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(path))


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _prefix(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:180]}.")


def _create(path: str) -> tuple[str, IO[bytes]]:
    """A new file beside ``path``, locked for as long as it is open."""
    while True:
        temporary = f"{_prefix(path)}{uuid.uuid4().hex[:12]}.tmp"
        file = open(temporary, "xb")  # noqa: SIM115 - the caller closes it
        if fcntl is None:
            return temporary, file
        with contextlib.suppress(OSError):  # a file system without locks: nobody else cleans there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # else another writer took it for a dead one's
            return temporary, file
        file.close()


def _remove_stale(path: str) -> None:
    """Remove temporary files for ``path`` that nobody holds: their writers were killed."""
    if fcntl is None:
        return
    for name in glob.glob(glob.escape(_prefix(path)) + "?" * 12 + ".tmp"):
        with contextlib.suppress(OSError), open(name, "rb") as file:  # locked, gone, not ours
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name)


def _sync_folder(folder: str) -> None:
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems do not sync folders
            os.fsync(fd)
    finally:
        os.close(fd)


def write(target: Any, fill: Callable[[IO[bytes]], None]) -> None:
    """Run ``fill`` on a path (replaced in one step) or on an object with ``write``."""
    if isinstance(target, (str, os.PathLike)):
        with replacing(os.fspath(target)) as file:
            fill(file)
    else:
        fill(target)
        flush = getattr(target, "flush", None)
        if flush is not None:
            flush()
