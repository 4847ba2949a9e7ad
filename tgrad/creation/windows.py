"""Windows of signals: Hann, Hamming, Blackman, Bartlett, Kaiser.

``periodic`` leaves out the last of N + 1 points, as spectra want it; else the window is symmetric.
Options are those of :mod:`tgrad.creation.sizes`; the dtype is floating, half ones are computed in
float32. Raises: RuntimeError for other dtypes and negative lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.creation.sizes import Options, Target, arange, ones
from tgrad.dispatch import OPS
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Unpack


def window(
    name: str, length: int, periodic: bool, options: Options, at: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """``at(k, N - 1)`` for the points k of a window of N, the last left out if ``periodic``."""
    target = Target(name, options)
    if target.dtype.category != dtypes.FLOAT:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {target.dtype.name}")
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    kind = dtypes.float32 if target.dtype.itemsize < 4 else target.dtype
    if length <= 1:
        made = ones(length, dtype=kind, device=target.where)
    else:
        n = length + 1 if periodic else length
        made = at(arange(length, dtype=kind, device=target.where), n - 1)
    return target.finish(name, made.to(target.dtype))


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    **options: Unpack[Options],
) -> Tensor:
    """alpha - beta cos(2 pi k / (N - 1))."""
    return window("hamming_window", window_length, periodic, options,
                  lambda k, last: alpha - beta * (k * (2 * math.pi / last)).cos())  # fmt: skip


def hann_window(window_length: int, periodic: bool = True, **options: Unpack[Options]) -> Tensor:
    """sin(pi k / (N - 1))^2."""
    return window("hann_window", window_length, periodic, options,
                  lambda k, last: (k * (math.pi / last)).sin().square())  # fmt: skip


def blackman_window(
    window_length: int, periodic: bool = True, **options: Unpack[Options]
) -> Tensor:
    """0.42 - 0.5 cos(2 pi k / (N - 1)) + 0.08 cos(4 pi k / (N - 1))."""

    def at(k: Tensor, last: int) -> Tensor:
        angle = k * (2 * math.pi / last)
        return 0.42 - 0.5 * angle.cos() + 0.08 * (angle * 2).cos()

    return window("blackman_window", window_length, periodic, options, at)


def bartlett_window(
    window_length: int, periodic: bool = True, **options: Unpack[Options]
) -> Tensor:
    """1 - |2 k / (N - 1) - 1|: a triangle."""
    return window("bartlett_window", window_length, periodic, options,
                  lambda k, last: 1 - (k * (2 / last) - 1).abs())  # fmt: skip


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **options: Unpack[Options]
) -> Tensor:
    """I0(beta sqrt(1 - (2 k / (N - 1) - 1)^2)) / I0(beta) (Kaiser 1966)."""

    def at(k: Tensor, last: int) -> Tensor:
        off = k * (2 / last) - 1
        inside = (1 - off.square()).clamp(min=0).sqrt() * beta
        i0 = OPS["i0"].function
        return i0(inside) / i0(k.new_tensor(beta, dtype=k.dtype))

    return window("kaiser_window", window_length, periodic, options, at)
