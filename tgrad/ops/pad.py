"""Padding: constants around a tensor, or its own elements mirrored, repeated or wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import composite
from tgrad.ops.put import index_select

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

MODES = ("constant", "reflect", "replicate", "circular")


@composite(spaces=("nn.functional",))
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """The input with pad[2 i] elements before and pad[2 i + 1] after along dim -1 - i.

    ``mode``: "constant" puts ``value`` (0 unless given) there and cuts off where a number is
    negative; "reflect" mirrors without the edge, "replicate" repeats the edge, "circular" wraps
    around, for the last 1, 2 or 3 dims of 2 to 5.

    Raises: RuntimeError for an odd or too long ``pad``, or one that asks a mode for more than the
    dim has, or ``value`` with another mode; NotImplementedError for another mode or number of dims.
    """
    pad = [int(p) for p in pad]
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {len(pad)}")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        return _constant(input, pad, 0.0 if value is None else value)
    if value not in (None, 0):
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    dims = len(pad) // 2
    if not 1 <= dims <= 3 or input.ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now, got "
            f"padding length {len(pad)} for {input.ndim} dims"
        )
    y = input
    for i in range(dims):
        before, after = pad[2 * i], pad[2 * i + 1]
        if before or after:
            d = input.ndim - 1 - i
            places = sources(mode, input.shape[d], before, after)
            y = index_select(y, d, y.new_tensor(places, dtype=dtypes.int64))
    return y


def _constant(x: Tensor, pad: list[int], value: float) -> Tensor:
    shape: list[int] = list(x.shape)
    inside = [slice(None)] * len(shape)
    for i in range(len(pad) // 2):
        d, (before, after) = len(shape) - 1 - i, pad[2 * i : 2 * i + 2]
        n = kept = shape[d]
        if before < 0 or after < 0:
            kept = max(n + min(before, 0) + min(after, 0), 0)
            x = x.narrow(d, max(-before, 0), kept)
        shape[d] = n + before + after
        if shape[d] < 0 or -min(before, 0) - min(after, 0) > kept + shape[d]:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {before} and {after} resulted in a "
                f"negative output size, which is invalid. Check dimension {d} of your input."
            )
        start = max(before, 0)
        inside[d] = slice(start, start + kept)
    y = x.new_full(shape, value)
    y[tuple(inside)].copy_(x)
    return y


def sources(mode: str, n: int, before: int, after: int) -> np.ndarray:
    """Which element of n stands at each place of the padded dim. Raises: RuntimeError."""
    if n + before + after <= 0:
        raise RuntimeError(
            f"input size {n} with padding ({before}, {after}) is too small: nothing would be left"
        )
    at = np.arange(-before, n + after)
    if mode == "replicate":
        return at.clip(0, n - 1)
    if mode == "circular":
        if max(before, after) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        return at % n
    if max(before, after) >= n:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but "
            f"got: padding ({before}, {after}) at a dimension of size {n}"
        )
    at = np.abs(at)
    return np.where(at >= n, 2 * (n - 1) - at, at)
