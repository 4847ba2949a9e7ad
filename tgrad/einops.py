"""tgrad's tensors for einops, and its layers: ``from tgrad.einops import rearrange, Rearrange``.

einops finds a library's tensors through a class of its own, which stands here; once this module is
imported, ``einops.rearrange`` and the others take tgrad's tensors too, wherever they are called.
``from einops.layers.torch import Rearrange`` is ``from tgrad.einops import Rearrange``. einops
itself is needed: ``pip install 'tgrad[einops]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import einops._backends
from einops import asnumpy, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import tgrad
from tgrad import nn
from tgrad.tensor import Tensor

__all__ = ["EinMix", "Rearrange", "Reduce", "asnumpy", "einsum", "pack", "parse_shape", "rearrange",
           "reduce", "repeat", "unpack"]  # fmt: skip


class TgradBackend(einops._backends.AbstractBackend):
    """What einops does with a tensor, in tgrad's ops."""

    framework_name = "tgrad"

    def is_appropriate_type(self, tensor: object) -> bool:
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: Any) -> Tensor:
        return tgrad.from_numpy(x)

    def to_numpy(self, x: Tensor) -> Any:
        return x.detach().cpu().numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        return tgrad.arange(start, stop, dtype=tgrad.int64)

    def reduce(self, x: Tensor, operation: str, axes: Sequence[int]) -> Tensor:
        if operation in ("prod", "any", "all"):  # of one dim at a time, the last first
            for d in sorted(axes, reverse=True):
                x = getattr(x, operation)(d)
            return x
        found = {"min": x.amin, "max": x.amax, "sum": x.sum, "mean": x.mean}.get(operation)
        if found is None:
            raise NotImplementedError(f"reduce: unknown reduction {operation!r}")
        return found(tuple(axes))

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return x.permute(*axes)

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return tgrad.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return x.unsqueeze(new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
        sizes = [-1] * n_axes
        for position, length in pos2len.items():
            x = x.unsqueeze(position)
            sizes[position] = length
        return x.expand(*sizes)

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        return x.repeat(*repeats)

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return tgrad.cat(tensors, axis)

    def is_float_type(self, x: Tensor) -> bool:
        return x.dtype.is_floating_point

    def layers(self) -> Any:
        return tgrad.einops

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return tgrad.einsum(pattern, *x)


class Rearrange(RearrangeMixin, nn.Module):
    """:func:`rearrange` as a layer: ``Rearrange("n c h w -> n (c h w)")``."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


class Reduce(ReduceMixin, nn.Module):
    """:func:`reduce` as a layer: ``Reduce("n c h w -> n c", "mean")``."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


def _layer(pattern: str | None, lengths: dict | None) -> Rearrange | None:
    return None if pattern is None else Rearrange(pattern, **(lengths or {}))


class EinMix(_EinmixMixin, nn.Module):
    """A linear layer between patterns: ``EinMix("n t c -> n t d", "c d", c=8, d=4)``.

    Weights and bias start uniform, within the bounds that einops works out of the pattern.
    """

    def _create_parameters(
        self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float
    ) -> None:
        w = tgrad.zeros(weight_shape).uniform_(-weight_bound, weight_bound)
        self.weight, self.bias = nn.Parameter(w), None
        if bias_shape is not None:
            self.bias = nn.Parameter(tgrad.zeros(bias_shape).uniform_(-bias_bound, bias_bound))

    def _create_rearrange_layers(
        self,
        pre_reshape_pattern: str | None,
        pre_reshape_lengths: dict | None,
        post_reshape_pattern: str | None,
        post_reshape_lengths: dict | None,
    ) -> None:
        self.pre_rearrange = _layer(pre_reshape_pattern, pre_reshape_lengths)
        self.post_rearrange = _layer(post_reshape_pattern, post_reshape_lengths)

    def forward(self, input: Tensor) -> Tensor:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        y = tgrad.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return y if self.post_rearrange is None else self.post_rearrange(y)
