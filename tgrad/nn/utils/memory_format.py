"""The order in memory of the weights of convolutions."""

from __future__ import annotations

from typing import Any

from tgrad.layout import memory_format as Format
from tgrad.nn import modules


def _convert(module: Any, format: Format, names: tuple[str, ...]) -> Any:
    kinds = tuple(getattr(modules, n) for n in names if hasattr(modules, n))
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().contiguous(memory_format=format)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: Format) -> Any:
    """Lay the weights of every Conv2d and ConvTranspose2d out in ``memory_format``."""
    return _convert(module, memory_format, ("Conv2d", "ConvTranspose2d"))


def convert_conv3d_weight_memory_format(module: Any, memory_format: Format) -> Any:
    """Lay the weights of every Conv3d and ConvTranspose3d out in ``memory_format``."""
    return _convert(module, memory_format, ("Conv3d", "ConvTranspose3d"))
