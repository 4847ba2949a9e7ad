"""``.safetensors`` files through the ``safetensors`` package, which is an extra."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes
from tgrad.device import CPU
from tgrad.dispatch import wrap
from tgrad.serialization import atomic
from tgrad.serialization.storage import MapLocation, Storage, mover
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from types import ModuleType

CODES = {
    "F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16,
    "I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8,
    "U8": dtypes.uint8, "BOOL": dtypes.bool_, "C64": dtypes.complex64,
}  # fmt: skip


def is_meant(f: Any) -> bool:
    """Whether ``f`` is a path of this format."""
    return isinstance(f, (str, os.PathLike)) and os.fspath(f).endswith(".safetensors")


def _package() -> ModuleType:
    try:
        return importlib.import_module("safetensors")
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(
            "files that end in .safetensors need the safetensors package: "
            "pip install 'tgrad[safetensors]'",
            name="safetensors",
        ) from e


def save_file(tensors: Any, filename: Any, metadata: dict[str, str] | None = None) -> None:
    """Write a dict of tensors by name.

    Raises: TypeError for anything else, RuntimeError for tensors that share memory: the format
    cannot say so.
    """
    package = _package()
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save_file: expected a dict of tensors, got {type(tensors).__name__}")
    _check_apart(tensors)
    arrays, specs = [], {}
    for key, t in tensors.items():
        a = np.ascontiguousarray(t.detach().host())
        arrays.append(a)  # alive until they are written
        specs[key] = _spec(package, t, a)

    path = os.fspath(filename)

    def fill(file: Any) -> None:
        file.write(package.serialize(specs, metadata=metadata))

    atomic.write(path, fill)


def _spec(package: Any, t: Tensor, a: np.ndarray) -> Any:
    if t.dtype not in CODES.values():
        raise TypeError(f"save_file: the format has no {t.dtype.name}")
    return package.TensorSpec(dtype=t.dtype.name, shape=tuple(t.shape), data_ptr=a.ctypes.data,
                              data_len=a.nbytes)  # fmt: skip


def _check_apart(tensors: Mapping[str, Any]) -> None:
    from tgrad.serialization.pickler import extent

    places = []
    for key, t in tensors.items():
        if not isinstance(key, str) or not isinstance(t, Tensor):
            raise TypeError(f"save_file: {key!r} is {type(t).__name__}, expected a Tensor by name")
        start, stop = extent(t)
        if stop > start:
            places.append((str(t.device), start, stop, key))
    places.sort()
    for (d, _, stop, a), (e, start, _, b) in pairwise(places):
        if d == e and start < stop:
            raise RuntimeError(
                f"save_file: {a!r} and {b!r} share memory, which this format cannot say; clone one "
                "of them or leave it out"
            )


def load_file(filename: Any, device: MapLocation = "cpu") -> dict[str, Tensor]:
    """The tensors of a file by name, on ``device``."""
    package = _package()
    path, move = os.fspath(filename), mover(device)
    with open(path, "rb") as file:
        data = file.read()
    try:
        found = package.deserialize(data)
    except package.SafetensorError as e:
        raise RuntimeError(f"load: {path}: the file is truncated or corrupt ({e})") from e
    made = {}
    for key, entry in found:
        dtype = CODES.get(entry["dtype"])
        if dtype is None:
            raise TypeError(f"load: {path}: {key!r} has elements of {entry['dtype']}, unknown here")
        a = np.frombuffer(bytearray(entry["data"]), np.uint8).view(dtype.numpy)
        storage = move(Storage(a, CPU, dtype), "cpu")
        made[key] = wrap(storage.array.reshape(tuple(entry["shape"])), storage.device)
    return made
