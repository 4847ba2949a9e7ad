"""Padding layers: one class per mode and number of dims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.nn import functional as F
from tgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class _Pad(Module):
    """``padding`` before and after each of the last ``rank`` dims, one number for all or pairs.

    Shape: (N, C, *sizes) or (C, *sizes); the pairs are in PyTorch's order, last dim first.
    """

    rank: int
    mode: str

    def __init__(self, padding: int | tuple[int, ...]):
        super().__init__()
        every = (padding,) * (2 * self.rank) if isinstance(padding, int) else tuple(padding)
        self.padding = every

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """``value`` around the last dim."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """``value`` around the last two dims."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """``value`` around the last three dims."""

    rank = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | tuple[int, ...]):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Zeros around the last dim."""

    rank = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two dims."""

    rank = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around the last three dims."""

    rank = 3


class ReflectionPad1d(_Pad):
    """The elements mirrored at the edges of the last dim, the edge itself not repeated."""

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """:class:`ReflectionPad1d` of the last two dims."""

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """:class:`ReflectionPad1d` of the last three dims."""

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The edges of the last dim repeated."""

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The edges of the last two dims repeated."""

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The edges of the last three dims repeated."""

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The last dim continued by its other end."""

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """:class:`CircularPad1d` of the last two dims."""

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """:class:`CircularPad1d` of the last three dims."""

    rank, mode = 3, "circular"
