"""The writing half of PyTorch's format: objects as a pickle in which tensors carry torch's names.

Tensors that overlap in memory share a storage. torch is not imported, so that its names cannot be
written by Python's own lookup: :class:`Name` stands for one. A storage's size is written where it
is first named, before all of its views are known; hence a first, fast walk that collects them.
"""

from __future__ import annotations

import ctypes
import io
import pickle
from bisect import bisect_right
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from tgrad import dtypes
from tgrad.conversion import address
from tgrad.device import device
from tgrad.dispatch import wrap
from tgrad.layout import layout, memory_format
from tgrad.nn.parameter import Parameter
from tgrad.runtime import cuda
from tgrad.tensor import Size, Tensor

STORAGES = {
    dtypes.float64: "DoubleStorage", dtypes.float32: "FloatStorage",
    dtypes.float16: "HalfStorage", dtypes.bfloat16: "BFloat16Storage",
    dtypes.int64: "LongStorage", dtypes.int32: "IntStorage", dtypes.int16: "ShortStorage",
    dtypes.int8: "CharStorage", dtypes.uint8: "ByteStorage", dtypes.bool_: "BoolStorage",
    dtypes.complex64: "ComplexFloatStorage", dtypes.complex128: "ComplexDoubleStorage",
}  # fmt: skip


class Name(NamedTuple):
    """A global of the file that is not looked up here."""

    module: str
    name: str

    def __call__(self, *args: Any) -> Any:
        raise AssertionError(f"{self.module}.{self.name} is a name in a file, not a function")


NAMES: dict[tuple[str, str], Name] = {}


def name(module: str, attribute: str) -> Name:
    """The one :class:`Name` of a global, so that a file names it once."""
    return NAMES.setdefault((module, attribute), Name(module, attribute))


class Storage:
    """A stretch of memory that goes to the file as one record. ``start``, ``stop``: addresses."""

    def __init__(self, tensor: Tensor, start: int, stop: int):
        self.tensors, self.start, self.stop = [tensor], start, stop
        self.key: str | None = None

    def data(self) -> Any:
        """The bytes, on the host."""
        a = self.tensors[0].array
        size = self.stop - self.start
        if size == 0:
            return b""
        if isinstance(a, np.ndarray):
            return np.ndarray((size,), np.uint8, _memory(self.start, size))
        n = size // a.itemsize
        flat = cuda.CudaArray(a.owner, self.start, (n,), (a.itemsize,), a.dtype, a.device)
        return cuda.active().to_host(flat).view(np.uint8)

    @property
    def reference(self) -> tuple:
        """What the file says in the place of the storage."""
        t = self.tensors[0]
        return ("storage", name("torch", STORAGES[t.dtype]), self.key, str(t.device),
                (self.stop - self.start) // t.itemsize)  # fmt: skip


def _memory(start: int, size: int) -> Any:
    """Memory that the tensors of a storage keep alive, as a buffer."""
    return (ctypes.c_char * size).from_address(start)


def extent(t: Tensor) -> tuple[int, int]:
    """The addresses of a tensor's first byte and past its last one."""
    a = t.array
    start = address(a)
    if not a.size:
        return start, start
    last = sum(s * (n - 1) for n, s in zip(a.shape, a.strides, strict=True))
    return start, start + last + a.itemsize


def plain(t: Tensor) -> Tensor:
    """``t``, or a contiguous copy where a file cannot say its strides."""
    a = t.array
    if all(s >= 0 and s % a.itemsize == 0 for s in a.strides) or not a.size:
        return t
    return t.detach().clone()


class Storages:
    """The storages of one file: tensors that overlap in memory are in the same."""

    def __init__(self, tensors: list[Tensor]):
        self.written: list[Storage] = []  # in the order of their keys
        self.places: dict[device, tuple[list[int], list[Storage]]] = {}
        self.empty: dict[int, Storage] = {}
        self.kept: dict[int, Tensor] = {}  # copies in the place of tensors, by the original's id
        by_device: dict[device, list[Storage]] = {}
        for t in tensors:
            p = self.plain(t)
            start, stop = extent(p)
            if stop > start:
                by_device.setdefault(p.device, []).append(Storage(p, start, stop))
        for where, found in by_device.items():
            merged: list[Storage] = []
            for s in sorted(found, key=lambda s: s.start):
                if merged and s.start < merged[-1].stop:
                    merged[-1].stop = max(merged[-1].stop, s.stop)
                    merged[-1].tensors += s.tensors
                else:
                    merged.append(s)
            self.places[where] = [s.start for s in merged], merged

    def plain(self, t: Tensor) -> Tensor:
        if id(t) not in self.kept:
            p = plain(t)
            if p is t:
                return t
            self.kept[id(t)] = p
        return self.kept[id(t)]

    def find(self, t: Tensor) -> tuple[Storage, int]:
        """The storage of a tensor, and how many elements after its start it begins."""
        start, stop = extent(t)
        starts, found = self.places.get(t.device, ([], []))
        i = bisect_right(starts, start) - 1
        if start == stop or i < 0 or stop > found[i].stop:  # empty, or made since the first walk
            storage = Storage(t, start, stop)
        else:
            storage = found[i]
        offset = start - storage.start
        if any(o.dtype is not t.dtype for o in storage.tensors) or offset % t.itemsize:
            raise RuntimeError(
                "save: cannot save multiple tensors or storages that view the same data as "
                "different types"
            )
        if storage.key is None:
            storage.key = str(len(self.written))
            self.written.append(storage)
        return storage, offset // t.itemsize


class _Finder(pickle.Pickler):
    """Walks an object as pickling does and collects its tensors."""

    def __init__(self, protocol: int):
        super().__init__(_Nowhere(), protocol)
        self.tensors: list[Tensor] = []  # kept alive: a freed one's memory would be used again

    def persistent_id(self, obj: Any) -> int | None:
        if isinstance(obj, Tensor):
            self.tensors.append(obj)
            return 0
        return 0 if isinstance(obj, Name) else None


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


_Base: Any = pickle._Pickler  # pyright: ignore[reportAttributeAccessIssue]


class _Pickler(_Base):
    """Python's own pickler, in Python, since the one in C cannot write a name it cannot import."""

    def __init__(self, file: Any, protocol: int, storages: Storages):
        super().__init__(file, protocol)
        self.storages = storages

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if type(obj) is Name:
            self._save_name(obj)
        else:
            super().save(obj, save_persistent_id)

    def _save_name(self, obj: Name) -> None:
        known = self.memo.get(id(obj))
        if known is not None:
            self.write(self.get(known[0]))
            return
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def persistent_id(self, obj: Any) -> tuple | None:
        return obj.reference if type(obj) is Storage else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Parameter):
            data = wrap(obj.array, obj.device)
            return name("torch._utils", "_rebuild_parameter"), (
                data, obj.requires_grad, OrderedDict(),
            )  # fmt: skip
        if isinstance(obj, Tensor):
            return self._tensor(obj)
        if isinstance(obj, dtypes.dtype):
            return _constant, (name("torch", obj.name),)
        if isinstance(obj, device):
            index = () if obj.index is None else (obj.index,)
            return name("torch", "device"), (obj.type, *index)
        if isinstance(obj, Size):
            return name("torch", "Size"), (tuple(obj),)
        if isinstance(obj, memory_format):
            return _constant, (name("torch", obj.name),)
        if isinstance(obj, layout):
            return name("torch.serialization", "_get_layout"), (f"torch.{obj.name}",)
        return NotImplemented

    def save_reduce(self, func: Any, args: Any, *rest: Any, **options: Any) -> None:
        if func is _constant:
            self.save(args[0])
        else:
            super().save_reduce(func, args, *rest, **options)

    def _tensor(self, t: Tensor) -> tuple:
        p = self.storages.plain(t)
        storage, offset = self.storages.find(p)
        return name("torch._utils", "_rebuild_tensor_v2"), (
            storage, offset, tuple(p.shape), p.stride(), t.requires_grad, OrderedDict(),
        )  # fmt: skip


def _constant(value: Any) -> Any:
    """Marks a reduction that is a name alone."""
    return value


def dump(obj: Any, protocol: int) -> tuple[bytes, list[Storage]]:
    """The pickle of ``obj`` and the storages it speaks of, in the order of their keys."""
    finder = _Finder(protocol)
    finder.dump(obj)
    storages = Storages(finder.tensors)
    buffer = io.BytesIO()
    _Pickler(buffer, protocol, storages).dump(obj)
    return buffer.getvalue(), storages.written
