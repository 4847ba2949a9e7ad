"""PyTorch's container: a zip file of stored records, each beginning at a multiple of 64 bytes.

Format: PKWARE's APPNOTE 6.3.9 with zip64. Alignment is what makes a file mappable; the gap is an
extra field of the local header. The reader takes nothing for granted: records are stored, lie
inside the file, do not overlap, and their checksums hold.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import IO, Any

ALIGN = 64
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<IIQI")
_UTF8 = 0x0800  # names are UTF-8
_DATE = 0x21  # 1980-01-01: equal contents make equal files
_PADDING = 0xD935  # the extra field that other tools use for alignment
_LARGE = 0xFFFFFFFF


class Writer:
    """Writes records one after the other; the file needs ``write`` alone."""

    def __init__(self, file: IO[bytes], root: str):
        self.file, self.root, self.position = file, root, 0
        self.directory: list[bytes] = []

    def _write(self, data: Any) -> None:
        self.file.write(data)
        self.position += memoryview(data).nbytes

    def add(self, name: str, data: Any) -> None:
        """One record from an object with the buffer protocol (bytes)."""
        size, start = memoryview(data).nbytes, self.position
        crc, raw = zlib.crc32(data), f"{self.root}/{name}".encode()
        extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= _LARGE else b""
        gap = -(start + _LOCAL.size + len(raw) + len(extra) + 6) % ALIGN
        padding = struct.pack("<HHH", _PADDING, 2 + gap, ALIGN) + bytes(gap)
        short = min(size, _LARGE)
        version = 45 if size >= _LARGE or start >= _LARGE else 20
        self._write(
            _LOCAL.pack(0x04034B50, version, _UTF8, 0, 0, _DATE, crc, short, short, len(raw),
                        len(extra) + len(padding)) + raw + extra + padding
        )  # fmt: skip
        self._write(data)
        values = [size, size] if size >= _LARGE else []
        values += [start] if start >= _LARGE else []
        extra = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values) if values else b""
        self.directory.append(
            _CENTRAL.pack(0x02014B50, version, version, _UTF8, 0, 0, _DATE, crc, short, short,
                          len(raw), len(extra), 0, 0, 0, 0, min(start, _LARGE)) + raw + extra
        )  # fmt: skip

    def close(self) -> None:
        """The list of records, which makes the file whole."""
        start, n = self.position, len(self.directory)
        whole = b"".join(self.directory)
        if n >= 0xFFFF or start >= _LARGE or len(whole) >= _LARGE:
            end = start + len(whole)
            whole += _END64.pack(0x06064B50, 44, 45, 45, 0, 0, n, n, len(whole), start)
            whole += _LOCATOR64.pack(0x07064B50, 0, end, 1)
            size = end - start
        else:
            size = len(whole)
        n, size, start = min(n, 0xFFFF), min(size, _LARGE), min(start, _LARGE)
        self._write(whole + _END.pack(0x06054B50, 0, 0, n, n, size, start, 0))


class Reader:
    """The records of a file by name (without the root folder).

    Raises: RuntimeError naming the file and the fault for anything but a whole archive.
    """

    def __init__(self, file: Any, title: str):
        self.file, self.title = file, title
        self.end = file.seek(0, os.SEEK_END)
        infos = self._directory()
        roots = {i.filename.rpartition("/data.pkl")[0] for i in infos
                 if i.filename.endswith("/data.pkl") and i.filename.count("/") == 1}  # fmt: skip
        if len(roots) != 1:
            kind = "a TorchScript archive" if any("/code/" in i.filename for i in infos) else "none"
            raise self.fault(f"expected one data.pkl in one folder, found {len(roots)} ({kind})")
        self.root = roots.pop()
        self.records: dict[str, tuple[int, int, int]] = {}  # name: (offset, size, crc)
        for info in infos:
            self._enter(info)
        self._check_apart()

    def fault(self, what: str) -> RuntimeError:
        return RuntimeError(f"load: {self.title}: {what}")

    def _directory(self) -> list[zipfile.ZipInfo]:
        try:
            return zipfile.ZipFile(self.file).infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError,
                OSError, LookupError) as e:  # fmt: skip
            raise self.fault(f"the zip archive is truncated or corrupt ({e})") from e

    def _enter(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        root, slash, inner = name.partition("/")
        if not slash or root != self.root or not inner or ".." in name.split("/") or "\\" in name:
            raise self.fault(f"record {name!r} lies outside of the archive's folder {self.root!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise self.fault(f"record {name!r} is compressed; PyTorch's files store their records")
        if info.flag_bits & 1:
            raise self.fault(f"record {name!r} is encrypted")
        if inner in self.records:
            raise self.fault(f"record {name!r} is there twice")
        self.file.seek(info.header_offset)
        head = self.file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            raise self.fault(f"record {name!r} has no header at byte {info.header_offset}")
        *_, name_length, extra_length = _LOCAL.unpack(head)
        start = info.header_offset + _LOCAL.size + name_length + extra_length
        if start + info.file_size > self.end:
            raise self.fault(f"record {name!r} of {info.file_size} bytes goes past the file's end")
        self.records[inner] = start, info.file_size, info.CRC

    def _check_apart(self) -> None:
        last, before = 0, ""
        for start, size, name in sorted((s, n, k) for k, (s, n, _) in self.records.items()):
            if start < last:
                raise self.fault(f"records {before!r} and {name!r} overlap")
            last, before = start + size, name

    def place(self, name: str) -> tuple[int, int]:
        """(offset in the file, size) of a record."""
        if name not in self.records:
            raise self.fault(f"record {self.root}/{name} is missing")
        start, size, _ = self.records[name]
        return start, size

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of a record of at most ``limit`` bytes."""
        size = self.place(name)[1]
        if limit is not None and size > limit:
            raise self.fault(
                f"record {self.root}/{name} has {size} bytes, at most {limit} expected"
            )
        data = bytearray(size)
        self.read_into(name, data)
        return bytes(data)

    def read_into(self, name: str, buffer: Any) -> None:
        """Fill ``buffer``, which has the record's size, and check the checksum."""
        start, size = self.place(name)
        view = memoryview(buffer).cast("B") if size else memoryview(b"")
        self.file.seek(start)
        filled = 0
        while filled < size:
            part = self.file.read(min(size - filled, 1 << 24))
            if not part:
                raise self.fault(f"record {self.root}/{name} ends after {filled} of {size} bytes")
            view[filled : filled + len(part)] = part
            filled += len(part)
        crc = self.records[name][2]
        if crc and zlib.crc32(view) != crc:  # 0: PyTorch was told to write none
            raise self.fault(f"record {self.root}/{name} is corrupt: its checksum is wrong")
