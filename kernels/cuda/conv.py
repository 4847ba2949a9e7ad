"""Convolutions as implicit GEMM (Chetlur et al. 2014, arXiv:1410.0759): no im2col matrix exists.

As on the CPU, forward and input gradient are one *correlation*, a gather without a stride of its
own; the transpose of a strided convolution is one launch for each residue class of pixels, on
strided views. Images and volumes go through the same kernels, which leave out the depth of the
former when they are compiled. From CHANNELS channels on the work is done channels-last: what does
not lie so is copied once (cuDNN does the same), so that every load is of 16 bytes. A 1 x 1
convolution is a matrix product of ``matmul.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda.conv_tiles import conv_config, weight_parts
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.creation import _fill
from tgrad.kernels.cuda.depthwise import correlate_by_taps, weight_by_taps
from tgrad.kernels.cuda.implicit_gemm import (
    UNIT,
    add_parts_kernel,
    correlate_kernel,
    reciprocal,
    weight_kernel,
)
from tgrad.kernels.cuda.limits import is_wide
from tgrad.kernels.cuda.matmul import gemm
from tgrad.kernels.cuda.tiles import kind_of
from tgrad.kernels.windows import deep, residues
from tgrad.runtime import cuda, precision
from tgrad.runtime.array import CudaArray, as_strided

Pair = tuple[int, ...]  # (height, width), or (depth, height, width)
CHANNELS = 16  # of a group, from which on a step of the sum holds channels of one tap only


def options(x: CudaArray) -> dict[str, Any]:
    """Accumulator and precision for a dtype. The interpreter cannot multiply bfloat16 tiles."""
    return {
        "ACC": tl.float64 if x.dtype == np.float64 else tl.float32,
        "PRECISION": precision.conv_precision(),
        "UPCAST": cuda.is_emulated() and x.dtype.itemsize == 2,
    }


def reach(*arrays: CudaArray) -> bool:
    """Whether an offset into one of them may need 64 bits."""
    return is_wide(
        *[sum(abs(s) * n for s, n in zip(a.steps, a.shape, strict=True)) for a in arrays]
    )


def together(y: CudaArray) -> str:
    """What lies side by side in (N, C, H, W) or (N, C, D, H, W); "pixels" are those of a plane."""
    channel, row, pixel = y.steps[1], *y.steps[-2:]
    if channel == 1:
        return "channels"
    return "pixels" if pixel == 1 and row == y.shape[-1] else "rows"


def in_units(steps: Sequence[int], channel: int) -> list[int]:
    """Steps of a channels-last array in multiples of UNIT; that of the channels is 1 as it is."""
    return [s if k == channel else s // UNIT for k, s in enumerate(steps)]


def padded(channels: int) -> int:
    return triton.cdiv(channels, UNIT) * UNIT


def channels_last(x: CudaArray, groups: int) -> CudaArray:
    """x (A, C, *) with channels innermost, each group's padded by zeros to a multiple of UNIT.

    x itself where it lies so; else a copy, read and written once.
    """
    a, c, *space = x.shape
    each = c // groups
    wide = padded(each)
    other = (x.steps[0], *x.steps[2:])
    if x.steps[1] == 1 and each == wide and x.ptr % 16 == 0 and not any(s % UNIT for s in other):
        return x
    fresh = cuda.empty((a, *space, groups, wide), x.dtype)
    if wide > each:
        _fill(fresh[..., each:], fresh, 0)
    r = len(space)
    inside = fresh[..., :each].transpose(0, r + 1, r + 2, *range(1, r + 1))
    copy(inside, as_strided(x, inside.shape, (x.strides[0], each * x.strides[1], *x.strides[1:])))
    step = fresh.strides
    return as_strided(fresh, (a, groups * wide, *space), (step[0], step[-1], *step[1 : r + 1]))  # pyright: ignore[reportReturnType]


def filters_last(w: CudaArray) -> CudaArray:
    """w (G, K, C, *) with C innermost and padded likewise."""
    g, k, c, *taps_ = w.shape
    if g == 1 or w.strides[0] == k * w.strides[1]:
        flat = channels_last(as_strided(w, (g * k, c, *taps_), w.strides[1:]), 1)  # pyright: ignore[reportArgumentType]
        step = flat.strides
        return as_strided(flat, (g, k, padded(c), *taps_), (k * step[0], *step))  # pyright: ignore[reportReturnType]
    fresh = cuda.empty(w.shape, w.dtype)
    copy(fresh, w)
    return filters_last(fresh)


def correlate(
    y: CudaArray,  # (N, K, P, Q), or with O before them
    x: CudaArray,  # (N, C, H, W), or with D
    w: CudaArray,  # (G, K / G, C / G, R, S), or with T
    b: CudaArray | None,
    stride: Pair,
    offset: Pair,
    step: Pair,
    last: bool = False,
) -> None:
    """Fill y: b[k] + sum over c,r,s of x[n, c, p*stride + offset + r*step, ...] w[g,k,c,r,s].

    ``last``: x and w are channels-last, padded in C.
    """
    n, _, *size = y.shape
    groups, filters, channels, *kernel = w.shape
    if y.size == 0:
        return
    if math.prod(kernel) == 0:  # no tap reaches these pixels: a sum over no channels
        channels, kernel, last = 0, (1, 1, 1)[: len(size)], False
    elif groups > 1 and channels * filters <= 16:
        correlate_by_taps(y, x, w, b, stride, offset, step)
        return
    t, r, s = deep(kernel)
    o, p, q = deep(size)
    pixels = n * o * p * q
    kind = kind_of(x.dtype, precision.conv_precision(), last)
    c = conv_config("conv2d", kind, (filters, pixels, channels * t * r * s, groups))
    xs = in_units(x.steps, 1) if last else x.steps
    ws = in_units(w.steps, 2) if last else w.steps
    cuda.launch(
        correlate_kernel,
        (triton.cdiv(filters, c.block_m) * triton.cdiv(pixels, c.block_n), groups),
        y, x, w, w if b is None else b,
        pixels, *deep(x.shape[2:]), o, p * q, q, filters,
        channels // UNIT if last else channels,
        *deep(y.steps, 2), *deep(xs, 2), *deep(ws, 3), *deep(stride), *deep(offset), *deep(step),
        T=t, R=r, S=s, DEEP=len(size) == 3,
        CHANNELS_LAST=last, Y=together(y), UNIT=UNIT if last else 1,
        HAS_BIAS=b is not None, EVEN_C=channels % c.block_k == 0, WIDE=reach(y, x, w),
        BLOCK_F=c.block_m, BLOCK_P=c.block_n, BLOCK_K=c.block_k,
        num_warps=c.num_warps, num_stages=c.num_stages, **options(x),
    )  # fmt: skip


def by_group(w: CudaArray, groups: int) -> CudaArray:
    """(K, C / G, *) seen as (G, K / G, C / G, *); splitting an axis needs no copy."""
    each = w.shape[0] // groups
    return as_strided(w, (groups, each, *w.shape[1:]), (each * w.strides[0], *w.strides))  # pyright: ignore[reportReturnType]


def pixels_joined(x: CudaArray, groups: int) -> CudaArray | None:
    """(N, C, *) as (N, G, C / G, pixels), None where only a copy could be."""
    n, c, *space = x.shape
    sides = [(a, s) for a, s in zip(space, x.strides[2:], strict=True) if a > 1]
    if any(sides[i][1] != sides[i + 1][0] * sides[i + 1][1] for i in range(len(sides) - 1)):
        return None
    near = sides[-1][1] if sides else x.strides[-1]
    s = x.strides
    shape = (n, groups, c // groups, math.prod(space))
    return as_strided(x, shape, (s[0], c // groups * s[1], s[1], near))  # pyright: ignore[reportReturnType]


def is_product(taps_: Pair, stride: Pair, padding: Pair, size: Pair, image: Pair) -> bool:
    """Whether a convolution has one tap, which reads pixel p for pixel p."""
    ones = (1,) * len(taps_)
    return taps_ == ones and stride == ones and not any(padding) and size == image


def as_product(y: CudaArray, x: CudaArray, w: CudaArray, b: CudaArray | None) -> bool:
    """Fill y with the 1 x 1 convolution of x by one batched product, and return whether that pays.

    y[n,g] (K, H * W) = w[g] (K, C) @ x[n,g] (C, H * W). On tensor cores it does not where the
    products' rows start off 16 bytes, as images of 7 x 7 pixels have them.
    """
    groups = w.shape[0]
    joined, out = pixels_joined(x, groups), pixels_joined(y, groups)
    if joined is None or out is None or y.size == 0 or w.shape[2] * w.shape[1] <= 16:
        return False
    slow = kind_of(x.dtype, precision.conv_precision(), True) in ("float32", "float64")
    ragged = x.ptr % 16 or any(s * x.itemsize % 16 for s in joined.steps if s != 1)
    if ragged and not slow and w.shape[2] >= CHANNELS:
        return False
    c = (
        None
        if b is None
        else as_strided(b, (groups, w.shape[1], 1), (w.shape[1] * b.strides[0], b.strides[0], 0))
    )
    gemm(
        out, w[(..., *(0,) * (w.ndim - 3))], joined, 1, 0 if c is None else 1, c,  # pyright: ignore[reportArgumentType]
        precision=precision.conv_precision(),
    )  # fmt: skip
    return True


@kernel("_convolution", "cuda")
def _convolution(y, x, w, b, stride, padding, dilation, groups, size):
    w, taps_ = by_group(w, groups), w.shape[2:]
    if is_product(taps_, stride, padding, size, x.shape[2:]) and as_product(y, x, w, b):
        return
    last = w.shape[2] >= CHANNELS and y.size > 0
    if last:
        x, w = channels_last(x, groups), filters_last(w)
    offset = tuple(-p for p in padding)
    correlate(y, x, w, packed(b), stride, offset, dilation, last)


def packed(b: CudaArray | None) -> CudaArray | None:
    if b is None or b.is_contiguous:
        return b
    out = cuda.empty(b.shape, b.dtype)
    copy(out, b)
    return out


@kernel("convolution_backward_input", "cuda")
def convolution_backward_input(dx, g, w, stride, padding, dilation, groups, size):
    taps_ = w.shape[2:]
    w = by_group(w, groups)
    w = w.transpose(0, 2, 1, *range(3, w.ndim))
    if is_product(taps_, stride, padding, size, g.shape[2:]) and as_product(dx, g, w, None):
        return
    last = w.shape[2] >= CHANNELS and dx.size > 0
    if last:
        g, w = channels_last(g, groups), filters_last(w)
    for part in residues(size, taps_, stride, padding, dilation):
        w_part = w[(..., *part.every)]
        correlate(
            dx[(..., *part.pixels)],
            g,
            w_part[(..., *part.kept)],
            None,
            (1,) * len(size),
            part.offset,
            part.step,
            last,
        )


@kernel("convolution_backward_weight", "cuda")
def convolution_backward_weight(dw, g, x, stride, padding, dilation, groups, size):
    if dw.size == 0:
        return
    n, k, *image = g.shape
    filters, channels, (t, r, s), (o, p, q) = k // groups, dw.shape[1], deep(size), deep(image)
    geometry = (*deep(stride), *deep([-a for a in padding]), *deep(dilation))
    if groups > 1 and channels * filters <= 16:
        weight_by_taps(dw, g, x, geometry, groups)
        return
    last = min(channels, filters) >= CHANNELS and g.size > 0
    if last:
        g, x = channels_last(g, groups), channels_last(x, groups)
    kind = kind_of(x.dtype, precision.conv_precision(), last)
    pixels, window = n * o * p * q, t * r * s
    c = conv_config("conv2d_backward_weight", kind, (filters, channels * window, pixels, groups))
    tiles = triton.cdiv(filters, c.block_m)
    tiles *= (
        window * triton.cdiv(channels, c.block_n)
        if last
        else triton.cdiv(channels * window, c.block_n)
    )
    parts, each = weight_parts(c, tiles * groups, pixels)
    acc = np.dtype(np.float64 if dw.dtype == np.float64 else np.float32)
    out = dw if parts == 1 else cuda.empty((parts, *dw.shape), acc)
    gs, xs = (in_units(a.steps, 1) if last else a.steps for a in (g, x))
    cuda.launch(
        weight_kernel,
        (tiles, parts, groups),
        out, g, x,
        pixels, each, *deep(x.shape[2:]), o, p, q, filters, channels,
        *reciprocal(max(p * q, 1)), *reciprocal(max(q, 1)),
        dw.size, *deep(out.steps[-dw.ndim :], 2), *deep(gs, 2), *deep(xs, 2), *geometry,
        T=t, R=r, S=s, DEEP=len(size) == 3,
        CHANNELS_LAST=last, UNIT=UNIT if last else 1, WIDE=reach(g, x, out),
        BLOCK_F=c.block_m, BLOCK_C=c.block_n, BLOCK_P=c.block_k,
        num_warps=c.num_warps, num_stages=c.num_stages, **options(x),
    )  # fmt: skip
    if parts > 1:
        block = 1024
        cuda.launch(
            add_parts_kernel, (triton.cdiv(dw.size, block),), dw, out, dw.size, parts, BLOCK=block
        )
