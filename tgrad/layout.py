"""Shapes and memory layouts as PyTorch programs name them. Every tgrad tensor is ``strided``."""

from __future__ import annotations

import math
from typing import Any


class Size(tuple):
    """A shape: a tuple of ints that knows its product. Slices and sums of it are shapes too."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self)

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if found.__class__ is tuple else found

    def __add__(self, other: tuple[int, ...]) -> Size:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Size(tuple.__add__(self, other))

    def __repr__(self) -> str:
        return f"tgrad.Size({list(self)})"


class layout:
    """How elements are stored; ``strided`` is the only one."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"tgrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(layout):
    """The order of the axes in memory that a copy is to have."""


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")  # N, H, W, C in memory for (N, C, H, W)
channels_last_3d = memory_format("channels_last_3d")


def axis_order(format: object, ndim: int) -> tuple[int, ...] | None:
    """The axes from the slowest to the fastest in memory, None for row-major.

    Raises: TypeError unless ``format`` is a memory format, RuntimeError for a wrong rank.
    """
    if format is None or format is contiguous_format or format is preserve_format:
        return None
    if not isinstance(format, memory_format):
        raise TypeError(
            f"argument 'memory_format' must be tgrad.memory_format, not {type(format).__name__}"
        )
    rank = 4 if format is channels_last else 5
    if ndim != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {format.name} format")
    return (0, *range(2, rank), 1)
