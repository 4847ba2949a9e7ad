"""Compiled kernels and where they are kept: one file each, in the user's cache directory.

A file is written beside its place and moved there in one step, so that processes may share the
directory: each reads whole files or none, and two that make the same kernel write the same bytes.
A file that does not match its checksum counts as absent and is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

FORMAT = b"tgrad kernel 1"
SUFFIX = ".kernel"


class Binary(NamedTuple):
    """A kernel's machine code and what launching it takes.

    ``parameters`` are the names and Triton types of the arguments that remain at run time, in the
    order of the cubin's parameters; two pointers follow them there, to global scratch and to
    profile scratch.
    """

    name: str  # of the entry in the cubin
    arch: int  # 90 for sm_90
    parameters: tuple[tuple[str, str], ...]
    num_warps: int  # of a program as compiled: warp specialisation adds to what was asked for
    num_ctas: int  # programs of a cluster
    shared: int  # bytes of shared memory a program
    global_scratch: int  # bytes of global memory a program
    global_scratch_align: int
    seconds: float  # that compiling took
    cubin: bytes
    packed_ptx: bytes

    @property
    def ptx(self) -> str:
        """The assembly text that the machine code was made of."""
        return zlib.decompress(self.packed_ptx).decode()


def directory() -> Path:
    """``TGRAD_CACHE_DIR``, or ``tgrad/kernels`` in the user's cache directory."""
    chosen = os.environ.get("TGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    # The specification of XDG says that a relative path there is to be ignored.
    base = Path(cache) if cache and os.path.isabs(cache) else Path.home() / ".cache"
    return base / "tgrad" / "kernels"


def path_of(key: str) -> Path:
    return directory() / key[:2] / (key[2:] + SUFFIX)


def pack(binary: Binary) -> bytes:
    """The file's contents: format, checksum of the rest, header, machine code, assembly text."""
    fields = binary._asdict()
    codes = [fields.pop("cubin"), fields.pop("packed_ptx")]
    header = json.dumps({**fields, "sizes": [len(code) for code in codes]}).encode()
    body = header + b"\n" + b"".join(codes)
    return b"\n".join((FORMAT, hashlib.sha256(body).hexdigest().encode(), body))


def unpack(data: bytes) -> Binary | None:
    """The kernel of a file's contents; None where they are not what :func:`pack` made."""
    head, _, rest = data.partition(b"\n")
    checksum, _, body = rest.partition(b"\n")
    if head != FORMAT or checksum.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
        return None
    header, _, codes = body.partition(b"\n")
    fields = json.loads(header)
    size = fields.pop("sizes")[0]
    fields["parameters"] = tuple((name, kind) for name, kind in fields["parameters"])
    return Binary(**fields, cubin=codes[:size], packed_ptx=codes[size:])


def load(key: str) -> Binary | None:
    """The kernel kept under ``key``, or None."""
    try:
        data = path_of(key).read_bytes()
    except OSError:  # absent, or a directory that may not be read
        return None
    return unpack(data)


def store(key: str, binary: Binary) -> None:
    """Keep ``binary`` under ``key``; one warning a process where the directory does not let us."""
    place = path_of(key)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pack(binary))
            os.replace(temporary, place)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as e:
        if not _Told.unwritable:
            _Told.unwritable = True
            warnings.warn(
                f"compiled kernels cannot be kept in {directory()} ({e}) and are compiled again by "
                "every process; TGRAD_CACHE_DIR chooses another directory",
                RuntimeWarning,
                stacklevel=2,
            )


class _Told:
    unwritable = False
