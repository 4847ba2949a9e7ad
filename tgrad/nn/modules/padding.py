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


class _ConstantPadNd(_Pad):
    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """``value`` around the last dim."""

    rank = 1


class ConstantPad2d(_ConstantPadNd):
    """``value`` around the last two dims."""

    rank = 2


class ConstantPad3d(_ConstantPadNd):
    """``value`` around the last three dims."""

    rank = 3


class _ZeroPad(_ConstantPadNd):
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


class _ReflectionPadNd(_Pad):
    """Elements mirrored at the edges."""

    mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """The elements mirrored at the edges of the last dim, the edge itself not repeated."""

    rank = 1


class ReflectionPad2d(_ReflectionPadNd):
    """:class:`ReflectionPad1d` of the last two dims."""

    rank = 2


class ReflectionPad3d(_ReflectionPadNd):
    """:class:`ReflectionPad1d` of the last three dims."""

    rank = 3


class _ReplicationPadNd(_Pad):
    """The edges repeated."""

    mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """The edges of the last dim repeated."""

    rank = 1


class ReplicationPad2d(_ReplicationPadNd):
    """The edges of the last two dims repeated."""

    rank = 2


class ReplicationPad3d(_ReplicationPadNd):
    """The edges of the last three dims repeated."""

    rank = 3


class _CircularPadNd(_Pad):
    """The other end goes on."""

    mode = "circular"


class CircularPad1d(_CircularPadNd):
    """The last dim continued by its other end."""

    rank = 1


class CircularPad2d(_CircularPadNd):
    """:class:`CircularPad1d` of the last two dims."""

    rank = 2


class CircularPad3d(_CircularPadNd):
    """:class:`CircularPad1d` of the last three dims."""

    rank = 3
