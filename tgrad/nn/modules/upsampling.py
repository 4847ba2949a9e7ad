"""Layers that make images larger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgrad.nn import functional as F
from tgrad.nn.modules.module import Module

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

Size = int | tuple[int, ...]
Ratio = float | tuple[float, ...]


class Upsample(Module):
    """:func:`tgrad.nn.functional.interpolate` to ``size``, or by ``scale_factor``.

    Shape: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Ratio | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(f) for f in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("recompute_scale_factor", True)  # what older files mean
        self.__dict__.update(state)

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """:class:`Upsample` of images by copies of the nearest pixel."""

    def __init__(self, size: Size | None = None, scale_factor: Ratio | None = None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """:class:`Upsample` of images, bilinear with aligned corners."""

    def __init__(self, size: Size | None = None, scale_factor: Ratio | None = None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
