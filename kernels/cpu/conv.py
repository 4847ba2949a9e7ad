"""Convolutions in NumPy: Winograd for 3x3, plain GEMM for 1x1, im2col for the rest.

Every forward and input-gradient convolution is one *correlation*, a gather
``y[n,k,p,q] = sum over c,r,s of x[n, c, p*stride + offset + r*step, ...] w[g,k,c,r,s]`` with x zero
outside. A strided convolution's transpose is one such gather for each residue class of pixels.
Volumes are convolved as the sum over taps of the depth, or as images whose channels are those of
several planes.
"""

from __future__ import annotations

import math

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.cpu import columns, depthwise, volume, winograd
from tgrad.kernels.cpu.volume import Planes
from tgrad.kernels.windows import residues
from tgrad.runtime import memory

Pair = tuple[int, ...]  # (height, width), or (depth, height, width)
FEWER = 4  # times as many filters as channels, from which on a gradient is spread, not gathered


@kernel("_convolution", "cpu")
def _convolution(y, x, w, b, stride, padding, dilation, groups, size):
    filters = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    with np.errstate(all="ignore"):
        correlate(y, x, filters, b, stride, tuple(-p for p in padding), dilation)


@kernel("convolution_backward_input", "cpu")
def convolution_backward_input(dx, g, w, stride, padding, dilation, groups, size):
    kernel_size, filters, channels = w.shape[2:], w.shape[0] // groups, w.shape[1]
    fewer = filters >= (FEWER if max(stride) == 1 else 2) * channels
    if fewer and g.size and dx.size and channels * filters > 8 and g.shape[-1] >= columns.LONG:
        dtype = accumulator(dx.dtype)
        g, w = g.astype(dtype, copy=False), w.astype(dtype, copy=False)
        columns.spread(dx, g, w, stride, padding, dilation, groups)
        return
    w = w.reshape(groups, filters, *w.shape[1:]).swapaxes(1, 2)
    ones = (1,) * len(size)
    with np.errstate(all="ignore"):
        for part in residues(size, kernel_size, stride, padding, dilation):
            taps = w[(..., *part.every)][(..., *part.kept)]
            correlate(dx[(..., *part.pixels)], g, taps, None, ones, part.offset, part.step)


def accumulator(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)


def correlate(
    y: np.ndarray,  # (N, K, P, Q), or with O before them
    x: np.ndarray,  # (N, C, H, W), or with D
    w: np.ndarray,  # (G, K / G, C / G, R, S), or with T
    b: np.ndarray | None,
    stride: Pair,
    offset: Pair,
    step: Pair,
) -> None:
    """Fill y by the algorithm that is fastest for these sizes. See the module."""
    if y.size == 0:
        return
    if math.prod(w.shape) == 0 or x.size == 0:
        y[...] = 0 if b is None else b.reshape(-1, *(1,) * (y.ndim - 2))
        return
    dtype = accumulator(y.dtype)
    x, w = x.astype(dtype, copy=False), w.astype(dtype, copy=False)
    b = None if b is None else b.astype(dtype, copy=False)
    for axis in range(len(step)):  # steps backwards are steps forwards through a reversed filter
        if step[axis] < 0:
            w = np.flip(w, 3 + axis)
            low = offset[axis] + (w.shape[3 + axis] - 1) * step[axis]
            offset = (*offset[:axis], low, *offset[axis + 1 :])
            step = (*step[:axis], -step[axis], *step[axis + 1 :])
    if y.ndim == 5:
        volumes(y, x, w, b, stride, offset, step)
        return
    groups, filters, channels, r, s = w.shape
    if groups > 1 and channels * filters <= 8:
        depthwise.correlate(y, x, w, b, stride, offset, step)
    elif (r, s, groups, stride, offset) == (1, 1, 1, (1, 1), (0, 0)) and x.shape[2:] == y.shape[2:]:
        pointwise(y, x, w[0, :, :, 0, 0], b)
    elif winograd.pays(y, w, stride, step):
        winograd.correlate(y, x, w[0], b, offset)
    else:
        columns.correlate(y, x, w, b, stride, offset, step)


def volumes(y, x, w, b, stride: Pair, offset: Pair, step: Pair) -> None:
    """Fill y (N, K, O, P, Q) by the algorithm that is fastest for these sizes."""
    n, k = y.shape[:2]
    one = (w.shape[3:], stride, offset) == ((1, 1, 1), (1, 1, 1), (0, 0, 0))
    if one and x.shape[2:] == y.shape[2:] and y.flags.c_contiguous:
        images = x.reshape(n, x.shape[1], -1, x.shape[4])  # planes lie like rows of one image
        whole = y.reshape(n, k, -1, y.shape[4])
        correlate(whole, images, w[:, :, :, 0], b, (1, 1), (0, 0), (1, 1))
        return
    flat = volume.filters(w)
    few = len(w) > 1 and flat.shape[1] * flat.shape[2] <= 8
    if few or winograd.pays(y[:, :, 0], flat, stride[1:], step[1:]):
        by_planes(y, x, flat, b, stride, offset, step, w.shape[3])
    else:
        columns.correlate(y, x, w, b, stride, offset, step)


def by_planes(y, x, w, b, stride: Pair, offset: Pair, step: Pair, taps: int) -> None:
    """y of volumes, some planes at a time, as images of T times the channels."""
    for images, depth, seen in Planes(x, y.shape[2], taps, stride[0], offset[0], step[0], len(w)):
        whole = images.stop - images.start > 1
        out = y[images.start, :, depth].swapaxes(0, 1)
        if whole:
            out = memory.empty((len(seen), y.shape[1], *y.shape[3:]), y.dtype)
        correlate(out, seen, w, b, stride[1:], offset[1:], step[1:])
        if whole:
            target = y[images, :, depth].swapaxes(1, 2)
            target[...] = out.reshape(target.shape)


# ---- 1x1 -----------------------------------------------------------------------------------------


def pointwise(y: np.ndarray, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> None:
    """y[n] = w @ x[n] over pixels: one GEMM per image, nothing rearranged."""
    n, c, h, v = x.shape
    if not x.flags.c_contiguous:
        x = fill(memory.empty(x.shape, x.dtype), x)
    direct = y.flags.c_contiguous and y.dtype == x.dtype
    out = y if direct else memory.empty(y.shape, x.dtype)
    np.matmul(np.ascontiguousarray(w), x.reshape(n, c, h * v), out=out.reshape(n, -1, h * v))
    if b is not None:
        out += b[:, None, None]
    if not direct:
        y[...] = out


def fill(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    y[...] = x
    return y


# ---- gradient of the weight ----------------------------------------------------------------------


@kernel("convolution_backward_weight", "cpu")
def convolution_backward_weight(dw, g, x, stride, padding, dilation, groups, size):
    if dw.size == 0:
        return
    if g.size == 0 or x.size == 0:
        dw[...] = 0
        return
    dtype = accumulator(dw.dtype)
    g, x = g.astype(dtype, copy=False), x.astype(dtype, copy=False)
    offset = tuple(-p for p in padding)
    weight = weight_by_planes if dw.ndim == 5 else weight_of_images
    with np.errstate(all="ignore"):
        weight(dw, g, x, stride, offset, dilation, groups)


def weight_of_images(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    few = groups > 1 and dw.shape[1] * (dw.shape[0] // groups) <= 8
    weight = depthwise.weight if few else columns.weight
    weight(dw, g, x, stride, offset, step, groups)


def weight_by_planes(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    """dw of volumes: the sum over some planes at a time of that of images, in groups of few."""
    k, c, t, r, s = dw.shape
    if groups == 1 or t * c * (k // groups) > 8:
        columns.weight(dw, g, x, stride, offset, step, groups)
        return
    total = np.zeros((k, t * c, r, s), x.dtype)
    term = np.empty_like(total)
    for images, depth, seen in Planes(x, g.shape[2], t, stride[0], offset[0], step[0], groups):
        some = volume.planes_of(g, images, depth)
        depthwise.weight(term, some, seen, stride[1:], offset[1:], step[1:], groups)
        total += term
    dw[...] = total.reshape(k, t, c, r, s).swapaxes(1, 2)
