"""Devices: interned names, so that two tensors' devices compare with ``is``."""

from __future__ import annotations

import threading

from tgrad.runtime.current import here

KINDS = ("cpu", "cuda")


class device:
    """``device("cuda", 1)``, ``device("cuda:1")``, ``device("cpu")``; also a context manager.

    Inside ``with device(...)`` tensors are created there. Raises RuntimeError for unknown names.
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None
    _interned: dict[tuple[str, int | None], device] = {}  # noqa: RUF012 - shared on purpose

    def __new__(cls, type: str | int | device, index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        if not isinstance(type, str):
            raise TypeError(f"device: expected a str, int or device, got {type!r}")
        name, colon, number = type.partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed "
                    f"explicitly: {type}"
                )
            if not number.isdecimal() or (number[0] == "0" and number != "0"):
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        if name not in KINDS:
            raise RuntimeError(
                f"Expected one of {', '.join(KINDS)} device type at start of device string: {type}"
            )
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must not be negative, got {index}")
        key = (name, index)
        if key not in cls._interned:
            self = object.__new__(cls)
            self.type, self.index = name, index
            cls._interned[key] = self
        return cls._interned[key]

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        _default.entered.append(_default.device)
        _default.device = resolve(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _default.device = _default.entered.pop()


CPU = device("cpu")
CUDA = device("cuda", 0)
_ANY_CUDA = device("cuda")  # the current one of the thread


class _Default(threading.local):
    def __init__(self) -> None:
        self.device = CPU
        self.entered: list[device] = []


_default = _Default()


def resolve(where: str | int | device | None) -> device:
    """The device a tensor lives on: the default for None, and an index for every GPU."""
    found = _default.device if where is None else device(where)
    if found is not _ANY_CUDA:
        return found
    index = here.place.index
    return device("cuda", index) if index else CUDA


def get_default_device() -> device:
    """Where tensors are created when no device is named."""
    return _default.device


def set_default_device(device: str | int | device | None) -> None:
    """Create tensors on ``device`` from now on in this thread; None means the CPU."""
    _default.device = CPU if device is None else resolve(device)
