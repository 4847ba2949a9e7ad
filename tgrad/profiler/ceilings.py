"""What a device can do at most, measured when it is first asked: a large copy, a large product."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import tgrad
from tgrad import cuda

ROUNDS = 7


class Ceiling(NamedTuple):
    """Bytes moved and floating-point operations done in a second."""

    bytes: float
    flops: float

    def least_us(self, moved: int, flops: int) -> float:
        """The roofline: no op that moves and multiplies so much can take less (Williams et al.
        2009, doi:10.1145/1498765.1498785)."""
        return max(moved / self.bytes, flops / self.flops) * 1e6


@functools.cache
def ceiling(device: str, dtype: str) -> Ceiling | None:
    """The ceilings of "cpu" or "cuda" for products in ``dtype``; None where time means nothing.

    Takes some tenths of a second.
    """
    if device == "cuda" and "emulated" in cuda.get_device_name():
        return None
    n, side = (1 << 28, 8192) if device == "cuda" else (1 << 26, 1024)
    with tgrad.no_grad():
        x = tgrad.ones(n, dtype=tgrad.uint8, device=device)
        y = tgrad.empty_like(x)
        moved = 2 * n / seconds(lambda: y.copy_(x), device)
        element = getattr(tgrad, dtype)
        a = tgrad.ones(side, side, dtype=element, device=device)
        flops = 2 * side**3 / seconds(lambda: a @ a, device)
    return Ceiling(moved, flops)


def seconds(run: Callable[[], object], device: str) -> float:
    """The least time of some calls."""
    best = float("inf")
    for _ in range(ROUNDS):
        if device == "cuda":
            cuda.synchronize()
        start = time.perf_counter()
        run()
        if device == "cuda":
            cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
