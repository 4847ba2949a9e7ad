"""Arithmetic of sliding windows, for the kernels of both devices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


def deep(values: Sequence[int], lead: int = 0) -> tuple[int, ...]:
    """Numbers of (depth, height, width) after ``lead`` others; images get a 1 for their depth."""
    if len(values) == lead + 3:
        return tuple(values)
    return (*values[:lead], 1, *values[lead:])


class Taps(NamedTuple):
    """Of one residue class of pixels: which taps reach it, and from where.

    Pixel ``first + i * stride`` gathers tap ``start + t * every`` from ``i + offset + t * step``.
    """

    start: int
    every: int
    offset: int
    step: int
    number: int


def taps(first: int, stride: int, padding: int, dilation: int, size: int) -> Taps:
    """The transpose of a convolution along one axis, as a gather without a stride.

    dx[h] = sum of g[p] w[r] over p * stride - padding + r * dilation = h. For h = first + i *
    stride the taps r that divide evenly form one arithmetic sequence.
    """
    common = math.gcd(stride, dilation)
    every = stride // common
    for r in range(min(every, size)):
        rest = first + padding - r * dilation
        if rest % stride == 0:
            return Taps(
                r, every, rest // stride, -(dilation // common), (size - r - 1) // every + 1
            )
    return Taps(0, 1, 0, 1, 0)


class Residue(NamedTuple):
    """One residue class of pixels of a transposed convolution, along every axis."""

    pixels: tuple[slice, ...]  # of the class
    every: tuple[slice, ...]  # of the window: taps that reach them, and further ones ...
    kept: tuple[slice, ...]  # ... which this cuts off
    offset: tuple[int, ...]
    step: tuple[int, ...]


def residues(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[Residue]:
    """The gathers without a stride that make up a transposed convolution of ``size`` pixels."""
    axes = range(len(size))
    for first in itertools.product(*[range(min(stride[i], size[i])) for i in axes]):
        t = [taps(first[i], stride[i], padding[i], dilation[i], kernel[i]) for i in axes]
        yield Residue(
            tuple(slice(first[i], None, stride[i]) for i in axes),
            tuple(slice(a.start, None, a.every) for a in t),
            tuple(slice(a.number) for a in t),
            tuple(a.offset for a in t),
            tuple(a.step for a in t),
        )


def valid_range(offset: int, stride: int, size: int, limit: int) -> tuple[int, int]:
    """(start, stop) of the p in range(size) with 0 <= p * stride + offset < limit; may be empty."""
    start = max(0, -(offset // stride))
    stop = min(size, (limit - offset + stride - 1) // stride)
    return start, max(stop, start)


class Axis(NamedTuple):
    """Pooling windows along one axis: window p reads source[p] + t * dilation for t < length[p].

    Only taps inside the image are counted; ``first`` is the number of the first of them in the
    window, ``weight`` the number of elements that a mean divides by.
    """

    source: list[int]
    length: list[int]
    first: list[int]
    weight: list[int]


def pooling_axis(
    size: int,
    limit: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int = 1,
    adaptive: bool = False,
    include_pad: bool = False,
) -> Axis:
    """The windows of an axis of ``limit`` pixels; adaptive ones differ in size by at most one."""
    if adaptive:
        source = [p * limit // size for p in range(size)]
        count = [-(-(p + 1) * limit // size) - source[p] for p in range(size)]
        return Axis(source, count, [0] * size, count)
    starts = [p * stride - padding for p in range(size)]
    first = [-(a // dilation) if a < 0 else 0 for a in starts]
    source = [a + f * dilation for a, f in zip(starts, first, strict=True)]
    count = [
        max(min(kernel - f, (limit - s + dilation - 1) // dilation), 0)
        for s, f in zip(source, first, strict=True)
    ]
    weight = [min(a + kernel, limit + padding) - a for a in starts] if include_pad else count
    return Axis(source, count, first, weight)
