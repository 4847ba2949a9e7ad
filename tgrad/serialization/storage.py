"""The reading half's storages: records of the archive as memory, and tensors as views of them."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np

from tgrad import dtypes
from tgrad.device import CPU, CUDA, device, resolve
from tgrad.dispatch import wrap
from tgrad.runtime import cuda, memory
from tgrad.runtime.array import as_strided
from tgrad.serialization.archive import Reader
from tgrad.tensor import Tensor

MapLocation = Callable[..., Any] | device | str | Mapping[str, str] | None


class StorageType:
    """What a storage's class says: its elements' dtype, None for bytes of any."""

    def __init__(self, dtype: dtypes.dtype | None):
        self.dtype = dtype


class Storage:
    """One stretch of memory on a device, as ``map_location`` sees it."""

    def __init__(self, array: Any, where: device, dtype: dtypes.dtype | None):
        self.array, self.device, self._dtype = array, where, dtype

    @property
    def dtype(self) -> dtypes.dtype:
        return self._dtype or dtypes.uint8

    def nbytes(self) -> int:
        """The number of bytes."""
        return self.array.nbytes

    def __len__(self) -> int:
        return self.array.size

    def cpu(self) -> Storage:
        """The storage in host memory."""
        return self.to("cpu")

    def cuda(self, device: int | str | device | None = None) -> Storage:
        """The storage on a GPU."""
        return self.to(CUDA if device is None else device)

    def to(self, device: int | str | device) -> Storage:
        """The storage on a device. Raises RuntimeError where it is not there."""
        where = resolve(device)
        if where is self.device:
            return self
        if where.type == "cuda":
            _check_gpu(where)
        moved = cuda.active().from_host(self.array) if where.type == "cuda" else (
            cuda.active().to_host(self.array)
        )  # fmt: skip
        return Storage(moved, where, self._dtype)


def is_storage(obj: object) -> bool:
    """Whether ``obj`` is a :class:`Storage`, as ``map_location`` functions get them."""
    return isinstance(obj, Storage)


def _check_gpu(where: device) -> None:
    if not cuda.is_available():
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but tgrad.cuda.is_available() is "
            "False. If you are running on a CPU-only machine, please use tgrad.load with "
            "map_location=tgrad.device('cpu') to map your storages to the CPU."
        )
    count = cuda.active().device_count()
    if (where.index or 0) >= count:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {where.index} but "
            f"tgrad.cuda.device_count() is {count}. Please use tgrad.load with map_location to map "
            "your storages to an existing device."
        )


def _restore(storage: Storage, location: str) -> Storage:
    """The storage where a location says it is to be."""
    kind, _, index = location.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (index.isdecimal() and len(index) < 5)):
        raise RuntimeError(
            f"don't know how to restore data location of Storage (tagged with {location})"
        )
    return storage.to(CPU if kind == "cpu" else location)


def mover(map_location: MapLocation) -> Callable[[Storage, str], Storage]:
    """What puts each storage where ``map_location`` wants it. Raises TypeError for other things."""
    if map_location is None:
        return _restore
    if isinstance(map_location, (str, device)):
        target = str(device(map_location))
        return lambda storage, location: _restore(storage, target)
    if isinstance(map_location, Mapping):
        return lambda storage, location: _restore(storage, map_location.get(location, location))
    if not callable(map_location):
        raise TypeError(
            "load(): map_location must be a device, a str, a dict of locations or a function, not "
            f"{type(map_location).__name__}"
        )

    def move(storage: Storage, location: str) -> Storage:
        moved = map_location(storage, location)
        if moved is not None and not isinstance(moved, Storage):
            raise TypeError(f"map_location returned {type(moved).__name__}, expected a storage")
        return _restore(storage, location) if moved is None else moved

    return move


class Storages:
    """The storages of one file by key, read when they are first named."""

    def __init__(self, archive: Reader, map_location: MapLocation, mapped: mmap.mmap | None):
        self.archive, self.move, self.mapped = archive, mover(map_location), mapped
        self.known: dict[str, tuple[tuple, Storage]] = {}
        order = archive.read("byteorder", 16) if "byteorder" in archive.records else b"little"
        if order not in (b"little", b"big"):
            raise archive.fault(f"unknown byte order {order!r}")
        self.swapped = order.decode() != sys.byteorder

    def get(self, pid: Any) -> Storage:
        """The storage that a persistent id names, if what it says agrees with the record."""
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise UnpicklingError("a persistent id that names no storage")
        _, kind, key, location, numel = pid
        if not isinstance(kind, StorageType) or not all(type(s) is str for s in (key, location)):
            raise UnpicklingError("a persistent id of other types than a storage's")
        if type(numel) is not int or numel < 0:
            raise UnpicklingError(f"a storage of {numel!r} elements")
        said = (kind, location, numel)
        if key not in self.known:
            self.known[key] = said, self._read(kind, key, location, numel)
        known, storage = self.known[key]
        if known != said:
            raise UnpicklingError(f"storage {key!r} is described in two ways")
        return storage

    def _read(self, kind: StorageType, key: str, location: str, numel: int) -> Storage:
        name = f"data/{key}"
        if "/" in key or name not in self.archive.records:
            raise UnpicklingError(f"storage {key!r} has no record")
        dtype = kind.dtype or dtypes.uint8
        offset, size = self.archive.place(name)
        if size != numel * dtype.itemsize:
            raise UnpicklingError(
                f"storage {key!r} is said to have {numel} elements of {dtype.name} "
                f"({numel * dtype.itemsize} bytes), its record has {size} bytes"
            )
        if self.mapped is not None and offset % dtype.itemsize == 0 and size:
            a = np.ndarray((numel,), dtype.numpy, self.mapped, offset)
        else:
            a = memory.empty((numel,), dtype.numpy)
            self.archive.read_into(name, a.view(np.uint8))
        if self.swapped:
            if kind.dtype is None:
                raise UnpicklingError("bytes of unknown type in the other byte order")
            a = _swapped(a, dtype)
        return self.move(Storage(a, CPU, kind.dtype), location)


def _swapped(a: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    """The elements from the other byte order."""
    width = dtype.to_real().itemsize
    return a.view(f"u{width}").byteswap().view(a.dtype)


# ---- tensors over them ---------------------------------------------------------------------------


def rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    """A strided view of a storage, wholly inside it. Raises UnpicklingError otherwise."""
    if not isinstance(storage, Storage) or storage._dtype is None:
        raise UnpicklingError("a tensor without a typed storage")
    return _view(storage, storage._dtype, offset, size, stride, requires_grad, hooks, metadata)


def rebuild_untyped(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    """:func:`rebuild_tensor` over bytes, with the dtype apart."""
    if not isinstance(storage, Storage) or not isinstance(dtype, dtypes.dtype):
        raise UnpicklingError("a tensor without a storage and a dtype")
    return _view(storage, dtype, offset, size, stride, requires_grad, hooks, metadata)


def _view(
    storage: Storage, dtype: dtypes.dtype, offset: Any, size: Any, stride: Any,
    requires_grad: Any, hooks: Any, metadata: Any,
) -> Tensor:  # fmt: skip
    for what, values in (("shape", size), ("strides", stride), ("offset", (offset,))):
        if type(values) is not tuple or not all(type(n) is int and n >= 0 for n in values):
            raise UnpicklingError(f"a tensor with the {what} {values!r}")
    if len(size) != len(stride) or len(size) > 64:
        raise UnpicklingError(f"a tensor of shape {size} with strides {stride}")
    if type(requires_grad) is not bool or hooks:
        raise UnpicklingError("a tensor with hooks, or a requires_grad that is no bool")
    item, a = dtype.itemsize, storage.array
    n = offset if 0 in size else (
        offset + 1 + sum(s * (k - 1) for k, s in zip(size, stride, strict=True))
    )  # fmt: skip
    if n * item > a.nbytes:
        raise UnpicklingError(
            f"a tensor of shape {size}, strides {stride} and offset {offset} needs {n} elements, "
            f"its storage has {a.nbytes // item}"
        )
    strides = tuple(s * item for s in stride)
    try:
        if isinstance(a, np.ndarray):
            a = np.ndarray(size, dtype.numpy, a.view(np.uint8), offset * item, strides)  # pyright: ignore[reportArgumentType]
        else:
            a = as_strided(a if a.dtype == dtype.numpy else _cast(a, dtype), size, strides,
                           offset * item)  # fmt: skip
    except (ValueError, OverflowError) as e:  # a product of sizes beyond 64 bits
        raise UnpicklingError(f"a tensor of shape {size}: {e}") from e
    return _finish(wrap(a, storage.device), requires_grad, metadata)


def _cast(a: Any, dtype: dtypes.dtype) -> Any:
    return cuda.CudaArray(a.owner, a.ptr, (a.nbytes // dtype.itemsize,), (dtype.itemsize,),
                          dtype.numpy, a.device)  # fmt: skip


def _finish(t: Tensor, requires_grad: bool, metadata: Any) -> Tensor:
    """Do what torch had put off (conjugation, negation), then start recording."""
    if metadata:
        if type(metadata) is not dict or not set(metadata) <= {"conj", "neg"}:
            raise UnpicklingError(f"a tensor with the metadata {metadata!r}")
        t = t.conj().resolve_conj() if metadata.get("conj") else t
        t = -t if metadata.get("neg") else t
    if requires_grad and t.dtype.category < dtypes.FLOAT:
        raise UnpicklingError(f"a tensor of {t.dtype.name} that requires grad")
    return t.requires_grad_(True) if requires_grad else t
