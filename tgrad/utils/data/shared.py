"""Batches through shared memory: arrays are written where the other process reads them.

A :class:`Slot` is anonymous memory that both processes map and that has no name: nothing can be
left behind, and the size of ``/dev/shm`` limits nothing. The worker writes a batch's arrays one
after the other and pickles only what holds them together; the loader makes arrays over the same
pages. A slot is written again when no array lies over it any more, which its reference count tells.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.device import CPU, device
from tgrad.dispatch import wrap
from tgrad.runtime import memory
from tgrad.runtime.shared import ALIGN, anonymous
from tgrad.tensor import Tensor

SMALLEST = 1 << 16


class Slot:
    """Shared memory that grows. ``fd`` is inherited by workers; each side maps it by itself."""

    def __init__(self, fd: int | None = None):
        self.fd = anonymous() if fd is None else fd
        self.memory: mmap.mmap | None = None
        self.in_flight = False  # given to the worker, its batch not yet received

    def map(self, size: int) -> mmap.mmap:
        """The memory, of at least ``size`` bytes."""
        if self.memory is None or len(self.memory) < size:
            size = max(memory.size_class(max(size, SMALLEST)), SMALLEST)
            size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            if os.fstat(self.fd).st_size < size:
                os.ftruncate(self.fd, size)
            self.memory = mmap.mmap(self.fd, size)
        return self.memory

    def close(self) -> None:
        """Give up the descriptor; arrays over the memory keep it."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.memory = -1, None

    def __reduce__(self) -> tuple:
        from multiprocessing.reduction import DupFd

        return _received, (DupFd(self.fd),)  # while a worker is being started


def _received(duplicate: Any) -> Slot:
    return Slot(duplicate.detach())


def _resting_count() -> int:
    """The references to memory that its slot and a local name hold, and nothing else."""
    slot = Slot(-1)
    slot.memory = mmap.mmap(-1, mmap.PAGESIZE)
    pages = slot.memory
    return sys.getrefcount(pages)


RESTING = _resting_count()


class _Packer(pickle.Pickler):
    """Pickles a batch with its arrays' places in the place of the arrays."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.arrays: list[tuple[int, np.ndarray]] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> tuple | None:
        kind = type(obj)
        if kind is Tensor:
            if obj.requires_grad and not obj.is_leaf:
                raise RuntimeError(
                    "a worker cannot send a computed tensor that requires grad: its graph stays "
                    "in the worker. If you just want to transfer the data, call detach() first."
                )
            where = None if obj.device is CPU else str(obj.device)
            return (self._place(obj.host()), obj.shape, obj.dtype.name, obj.requires_grad, where)
        if kind is np.ndarray and obj.dtype.kind in "biufcmM":
            return (self._place(obj), obj.shape, obj.dtype.str)
        return None

    def _place(self, a: np.ndarray) -> int:
        start = self.size
        self.arrays.append((start, a))
        self.size = -(-(start + a.nbytes) // ALIGN) * ALIGN
        return start


class _Unpacker(pickle.Unpickler):
    """Makes a batch of arrays over ``memory``, or of copies."""

    def __init__(self, data: bytes, memory: mmap.mmap | None, lend: bool):
        super().__init__(io.BytesIO(data))
        self.memory, self.lend = memory, lend

    def persistent_load(self, pid: tuple) -> Any:
        start, shape, name = pid[:3]
        tensor = len(pid) == 5
        a: Any = np.ndarray(shape, BY_NAME[name].numpy if tensor else name, self.memory, start)
        if not self.lend:
            copy = memory.empty(shape, a.dtype)
            np.copyto(copy, a)
            a = copy
        if not tensor:
            return a
        t = wrap(a, CPU)
        if pid[4] is not None:
            t = t.to(device(pid[4]))
        return t.requires_grad_(True) if pid[3] else t


BY_NAME = {d.name: d for d in dtypes.ALL}
Layout = tuple[Any, list[tuple[tuple[int, ...], np.dtype, int]]]
FLAT, NESTED = b"F", b"N"


def pack(batch: Any, slot: Slot, inline: int) -> tuple[bytes, int, int]:
    """Write the arrays of ``batch``; what holds them together comes as bytes.

    Also returns where those bytes stand in the slot instead, if there are more than ``inline``
    (else 0), and how much of the slot is used.
    """
    arrays: list[tuple[int, np.ndarray]] = []
    flat = _flat(batch)
    if flat is not None:
        container, tensors = flat
        entries, size = [], 0
        for t in tensors:
            arrays.append((size, t.host()))
            entries.append((t.array.shape, t.dtype.name, size))
            size = -(-(size + t.nbytes) // ALIGN) * ALIGN
        data = FLAT + pickle.dumps((container, entries), pickle.HIGHEST_PROTOCOL)
    else:
        file = io.BytesIO()
        packer = _Packer(file)
        packer.dump(batch)
        data, arrays, size = NESTED + file.getvalue(), packer.arrays, packer.size
    extra = size + ALIGN if len(data) > inline else 0
    used = extra + len(data) if extra else size
    if used:
        target = slot.map(used)
        for start, a in arrays:
            if a.size:
                np.copyto(np.ndarray(a.shape, a.dtype, target, start), a)
        if extra:
            target[extra:used] = data
            data = b""
    return data, extra, used


def _flat(batch: Any) -> tuple[Any, list[Tensor]] | None:
    """(keys, list or tuple, tensors) of the commonest batches, which are told in few words."""
    kind = type(batch)
    if kind is dict:
        container, tensors = list(batch), list(batch.values())
        if not all(type(key) is str for key in container):
            return None
    elif kind is list or kind is tuple:
        container, tensors = kind.__name__, batch
    else:
        return None
    if not all(type(t) is Tensor and t.device is CPU and not t.requires_grad for t in tensors):
        return None
    return container, tensors


class Opener:
    """Makes the batches of :func:`pack`; descriptions that came before are not read again."""

    def __init__(self) -> None:
        self.known: dict[bytes, Layout] = {}

    def unpack(self, data: bytes, extra: int, used: int, slot: Slot, lend: bool) -> Any:
        """A batch; ``lend`` lays its arrays over the slot itself."""
        pages = slot.memory
        if used and (pages is None or len(pages) < used):
            pages = slot.map(used)
        if extra and pages is not None:
            data = pages[extra:used]
        layout = self.known.get(data)
        if layout is None:
            if data[:1] == NESTED:
                return _Unpacker(data[1:], pages, lend).load()
            container, entries = pickle.loads(data[1:])
            layout = container, [(shape, BY_NAME[n].numpy, start) for shape, n, start in entries]
            if len(self.known) < 64:
                self.known[data] = layout
        container, entries = layout
        tensors = [wrap(np.ndarray(s, d, pages, start), CPU) for s, d, start in entries]
        if not lend:
            for t in tensors:
                a = memory.empty(t.array.shape, t.array.dtype)
                np.copyto(a, t.array)
                t.array = a
        if container == "list":
            return tensors
        return (
            tuple(tensors) if container == "tuple" else dict(zip(container, tensors, strict=True))
        )
