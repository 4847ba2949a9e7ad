"""What the fake driver was told and what it holds, read inside the process that uses it."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass, field

KINDS = {"context": 1, "stream": 2, "event": 3, "module": 4, "function": 5, "graph": 6, "exec": 7}


class _Record(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("args", ctypes.c_uint64 * 12),
        ("count", ctypes.c_int32),
        ("code", ctypes.c_int32),
        ("result", ctypes.c_uint64),
        ("context", ctypes.c_uint64),
        ("thread", ctypes.c_uint64),
        ("graph", ctypes.c_uint64),
        ("text", ctypes.c_char_p),
        ("params", ctypes.c_void_p),
        ("params_size", ctypes.c_uint32),
    ]


@dataclass(frozen=True)
class Call:
    """One call of an entry point. ``args`` are its arguments that are not results, as integers."""

    name: str
    args: tuple[int, ...]
    code: int  # what it returned
    result: int  # the handle or address that it made
    context: int  # current at the call
    thread: int
    graph: int  # the graph that captured it, or 0
    kernel: str = ""  # of a launch
    params: tuple[bytes, ...] = field(default=(), repr=False)  # of a launch: each parameter's bytes

    @property
    def grid(self) -> tuple[int, ...]:
        return self.args[1:4]

    @property
    def block(self) -> tuple[int, ...]:
        return self.args[4:7]

    @property
    def shared(self) -> int:
        return self.args[7]

    @property
    def stream(self) -> int:
        """The stream of a call that has one: always its last argument."""
        return self.args[-1]


def _split(blob: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(blob):
        (size,) = struct.unpack_from("<I", blob, at)
        found.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return tuple(found)


class Fake:
    """The fake library loaded in this process."""

    def __init__(self) -> None:
        self.lib = lib = ctypes.CDLL("libcuda.so.1")
        lib.fake_record.restype = ctypes.POINTER(_Record)
        lib.fake_violation.restype = ctypes.c_char_p
        for name in ("record_count", "calls", "live_bytes", "peak_bytes", "live_blocks",
                     "live_hosts", "live_objects", "violation_count"):  # fmt: skip
            getattr(lib, "fake_" + name).restype = ctypes.c_uint64

    def calls(self, *names: str) -> list[Call]:
        """Every call since :meth:`clear`, or those of the named entry points."""
        found = []
        for i in range(self.lib.fake_record_count()):
            r = self.lib.fake_record(ctypes.c_uint64(i)).contents
            name = r.name.decode()
            if not names or name in names:
                blob = ctypes.string_at(r.params, r.params_size) if r.params else b""
                found.append(Call(name, tuple(r.args[: r.count]), r.code, r.result, r.context,
                                  r.thread, r.graph, (r.text or b"").decode(),
                                  _split(blob)))  # fmt: skip
        return found

    def launches(self) -> list[Call]:
        return self.calls("cuLaunchKernel")

    def clear(self) -> None:
        """Forget the calls so far."""
        self.lib.fake_clear()

    def count(self) -> int:
        """How many calls were made in the life of the process."""
        return self.lib.fake_calls()

    # ---- what is held ----------------------------------------------------------------------------

    def live_bytes(self, device: int = 0) -> int:
        return self.lib.fake_live_bytes(device)

    def peak_bytes(self, device: int = 0) -> int:
        return self.lib.fake_peak_bytes(device)

    def live(self) -> dict[str, int]:
        """How many device blocks, pinned blocks and handles of each kind exist."""
        counts = {kind: self.lib.fake_live_objects(n) for kind, n in KINDS.items()}
        return counts | {
            "block": self.lib.fake_live_blocks(),
            "pinned": self.lib.fake_live_hosts(),
        }

    def violations(self) -> list[str]:
        """Work that touched memory which was not allocated when it ran."""
        return [
            self.lib.fake_violation(ctypes.c_uint64(i)).decode()
            for i in range(self.lib.fake_violation_count())
        ]

    def read(self, address: int, size: int) -> bytes:
        """Device memory as it is now, queued work not done."""
        to = ctypes.create_string_buffer(size)
        failed = self.lib.fake_read(to, ctypes.c_uint64(address), ctypes.c_uint64(size))
        assert not failed, f"{size} bytes at {address:#x} are not allocated"
        return to.raw

    def write(self, address: int, data: bytes) -> None:
        failed = self.lib.fake_write(ctypes.c_uint64(address), data, ctypes.c_uint64(len(data)))
        assert not failed, f"{len(data)} bytes at {address:#x} are not allocated"

    # ---- how it behaves --------------------------------------------------------------------------

    def run(self) -> None:
        """Do all queued work."""
        self.lib.fake_run()

    def eager(self, on: bool = True) -> None:
        """Whether work is done when it is queued."""
        self.lib.fake_set_eager(int(on))

    def still(self, on: bool = True) -> None:
        """Whether queries leave queued work undone; else each does one piece of it."""
        self.lib.fake_set_still(int(on))

    def recording(self, on: bool) -> None:
        self.lib.fake_set_record(int(on))

    def set_memory(self, size: int) -> None:
        """Bytes a device."""
        self.lib.fake_set_memory(ctypes.c_uint64(size))

    def fail(self, name: str = "", nth: int = 1, code: int = 2) -> None:
        """The ``nth`` call from now, of entry point ``name`` or of any, does nothing but fail."""
        self.lib.fake_fail(name.encode(), ctypes.c_uint64(nth), code)

    def poison(self, kernel: str, nth: int = 1, code: int = 700) -> None:
        """When the ``nth`` launch from now of a kernel with this in its name *runs*, the context is
        lost: every later call returns ``code``."""
        self.lib.fake_poison(kernel.encode(), ctypes.c_uint64(nth), code)

    def mend(self) -> None:
        """No more failures."""
        self.lib.fake_mend()
