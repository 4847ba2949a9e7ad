"""``tgrad.types``: names for annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

from tgrad.device import device
from tgrad.dtypes import dtype
from tgrad.layout import Size, layout
from tgrad.serialization.storage import Storage
from tgrad.tensor import Tensor

__all__ = ["Device", "FileLike", "Number", "Storage"]

Number = int | float | bool
Device = device | str | int | None  # None: the default device
FileLike = str | os.PathLike[str] | IO[bytes]

_Number = (int, float, bool)
_TensorOrTensors = Tensor | Sequence[Tensor]
_device, _dtype, _layout = device, dtype, layout
_size = Size | list[int] | tuple[int, ...]
_bool, _bytes, _complex, _float = bool, bytes, complex, float
_int, _str = int, str
