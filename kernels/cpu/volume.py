"""Volumes as images: a plane of a 3-d convolution's output sees T planes as T times C channels.

What is made of a volume is T copies of it, some planes at a time; R * S of them, as im2col would
have, never exist, and every way of convolving images serves volumes too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tgrad.kernels.windows import valid_range
from tgrad.runtime import memory

CHUNK = 8 << 20  # bytes of planes at a time


def filters(w: np.ndarray) -> np.ndarray:
    """w (G, K, C, T, R, S) as (G, K, T * C, R, S)."""
    g, k, c, t, r, s = w.shape
    return np.ascontiguousarray(w.transpose(0, 1, 3, 2, 4, 5)).reshape(g, k, t * c, r, s)


class Planes:
    """The input planes of some output planes (n, o) at a time, in a buffer that is used again."""

    def __init__(
        self, x: np.ndarray, depth: int, taps: int, stride: int, offset: int, step: int, groups: int
    ):
        n, channels, _, h, w = x.shape
        self.x, self.taps, self.stride, self.offset, self.step = x, taps, stride, offset, step
        self.inner = (groups, taps, channels // groups, h, w)
        each = math.prod(self.inner)
        planes = max(1, CHUNK // max(each * x.itemsize, 1))
        self.o, self.depth = min(depth, planes), depth
        self.n = max(1, min(n, planes // depth)) if self.o == depth else 1
        self.buffer = memory.empty((self.n * self.o * each,), x.dtype)

    def __iter__(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """(images, planes, what they see as (n * o, G * T * C, H, W)), overwritten by the next."""
        for i in range(0, len(self.x), self.n):
            for j in range(0, self.depth, self.o):
                images, planes = slice(i, i + self.n), slice(j, min(j + self.o, self.depth))
                yield images, planes, self.gather(self.x[images], planes)

    def gather(self, x: np.ndarray, planes: slice) -> np.ndarray:
        n, count = len(x), planes.stop - planes.start
        g, _, c, h, w = self.inner
        shape = (n, count, *self.inner)
        out = self.buffer[: math.prod(shape)].reshape(shape)
        for t in range(self.taps):
            first = planes.start * self.stride + self.offset + t * self.step
            start, stop = valid_range(first, self.stride, count, x.shape[2])
            out[:, :start, :, t] = 0
            out[:, stop:, :, t] = 0
            if stop > start:
                begin = start * self.stride + first
                part = x[:, :, begin : begin + (stop - start - 1) * self.stride + 1 : self.stride]
                part = part.reshape(n, g, c, stop - start, h, w)
                out[:, start:stop, :, t] = part.transpose(0, 3, 1, 2, 4, 5)
        return out.reshape(n * count, -1, h, w)


def planes_of(a: np.ndarray, images: slice, planes: slice) -> np.ndarray:
    """The planes of a (N, K, O, P, Q) as (n * o, K, P, Q): a view of one volume, a copy of more."""
    part = a[images, :, planes].swapaxes(1, 2)
    return part[0] if len(part) == 1 else part.reshape(-1, *part.shape[2:])
