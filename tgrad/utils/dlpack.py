"""``tgrad.utils.dlpack``: tensors to and from capsules, for libraries that ask for one by hand.

Most take the tensor itself: ``numpy.from_dlpack(x)``, ``cupy.from_dlpack(x)``.
"""

from __future__ import annotations

from typing import Any

from tgrad.creation import from_dlpack
from tgrad.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over the tensor's memory, to be taken once. Waits for no stream."""
    return tensor.__dlpack__()
