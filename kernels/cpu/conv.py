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
from numpy.lib.stride_tricks import as_strided

from tgrad.dispatch import kernel
from tgrad.kernels.cpu import depthwise, volume, winograd
from tgrad.kernels.cpu.frame import Frame, Window
from tgrad.kernels.cpu.volume import Planes
from tgrad.kernels.windows import residues, valid_range
from tgrad.runtime import memory

Pair = tuple[int, ...]  # (height, width), or (depth, height, width)
COLUMNS = 3 << 20  # bytes of im2col matrix made at a time: larger ones leave the cache


@kernel("_convolution", "cpu")
def _convolution(y, x, w, b, stride, padding, dilation, groups, size):
    filters = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    with np.errstate(all="ignore"):
        correlate(y, x, filters, b, stride, tuple(-p for p in padding), dilation)


@kernel("convolution_backward_input", "cpu")
def convolution_backward_input(dx, g, w, stride, padding, dilation, groups, size):
    kernel_size = w.shape[2:]
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
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
        by_columns(y, x, w, b, stride, offset, step)


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
        by_depth(y, x, w, b, stride, offset, step)


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


def meetings(columns: Columns, x: np.ndarray, taps: int, depth: int, stride, offset, step):
    """(tap, output planes, columns of the planes that they meet) of one volume x (D, C, H, W).

    The columns (G, planes, P * Q, R * S * C / G) are made once for all taps of the depth.
    """
    for d in range(0, len(x), columns.images):
        part = columns.of(x[d : d + columns.images])
        count = min(columns.images, len(x) - d)
        part = part.reshape(len(part), count, -1, part.shape[2])
        for t in range(taps):
            first = offset + t * step - d
            start, stop = valid_range(first, stride, depth, count)
            if stop > start:
                begin = start * stride + first
                yield t, slice(start, stop), part[:, begin::stride][:, : stop - start]


def by_depth(y, x, w, b, stride: Pair, offset: Pair, step: Pair) -> None:
    """y = the sum over taps t of im2col(plane) @ w[t], one volume at a time."""
    groups, each, _, taps, r, s = w.shape
    o, p, q = y.shape[2:]
    columns = Columns(x[0].swapaxes(0, 1), (p, q), (r, s), stride[1:], offset[1:], step[1:], groups)
    matrix = np.ascontiguousarray(w.transpose(3, 0, 4, 5, 2, 1)).reshape(taps, groups, 1, -1, each)
    total = memory.empty((groups, o, p * q, each), x.dtype)
    buffer = memory.empty((groups * min(columns.images, o) * p * q * each,), x.dtype)
    for image, out in zip(x, y, strict=True):
        total[...] = 0 if b is None else b.reshape(groups, 1, 1, each)
        found = meetings(columns, image.swapaxes(0, 1), taps, o, stride[0], offset[0], step[0])
        for t, planes, part in found:
            term = buffer[: groups * part.shape[1] * p * q * each]
            term = term.reshape(groups, -1, p * q, each)
            total[:, planes] += np.matmul(part, matrix[t], out=term)
        whole = total.reshape(groups, o, p, q, each).transpose(0, 4, 1, 2, 3)
        for g in range(groups):
            out[g * each : (g + 1) * each] = whole[g]


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


# ---- im2col --------------------------------------------------------------------------------------


class Columns:
    """The im2col matrix of some images at a time, in buffers that stay in the cache.

    (G, N * P * Q, R * S * C / G), channels innermost.
    """

    def __init__(self, x, size: Pair, kernel: Pair, stride: Pair, offset: Pair, step: Pair, groups):
        self.size, self.kernel, self.stride, self.step, self.groups = (
            size,
            kernel,
            stride,
            step,
            groups,
        )
        span = [(size[i] - 1) * stride[i] + (kernel[i] - 1) * step[i] + 1 for i in (0, 1)]
        rows, cols = (Window(offset[i], span[i], x.shape[2 + i]) for i in (0, 1))
        each = math.prod(size) * math.prod(kernel) * x.shape[1]
        self.images = max(1, min(len(x), COLUMNS // (each * x.itemsize)))
        self.frame = Frame(self.images, x, rows, cols)
        self.plain = (*kernel, groups, *stride) == (1, 1, 1, 1, 1)
        self.buffer = memory.empty((0 if self.plain else self.images * each,), x.dtype)

    def of(self, x: np.ndarray) -> np.ndarray:
        """The matrix of images x; overwritten by the next call."""
        images = self.frame.fill(x)
        n, c = len(x), x.shape[1]
        if self.plain:
            return images.reshape(1, -1, c)
        a, h, v, e = images.strides
        (r, s), each = self.kernel, c // self.groups
        shape = (self.groups, n, *self.size, r, s, each)
        windows = as_strided(images, shape, (
            e * each, a, h * self.stride[0], v * self.stride[1], h * self.step[0], v * self.step[1],
            e))  # fmt: skip
        out = self.buffer[: math.prod(shape)].reshape(shape)
        out[...] = windows
        return out.reshape(self.groups, -1, r * s * each)


def by_columns(y, x, w, b, stride: Pair, offset: Pair, step: Pair) -> None:
    """y = im2col(x) @ w, some images at a time."""
    groups, each, _, r, s = w.shape
    size = y.shape[2:]
    columns = Columns(x, size, (r, s), stride, offset, step, groups)
    matrix = np.ascontiguousarray(w.transpose(0, 3, 4, 2, 1)).reshape(groups, -1, each)
    buffer = memory.empty((columns.images * math.prod(size) * groups * each,), x.dtype)
    for i in range(0, len(x), columns.images):
        part = columns.of(x[i : i + columns.images])
        n = part.shape[1] // math.prod(size)
        out = buffer[: part.shape[1] * groups * each].reshape(groups, -1, each)
        np.matmul(part, matrix, out=out)
        if b is not None:
            out += b.reshape(groups, 1, each)
        whole = out.reshape(groups, n, *size, each).transpose(1, 0, 4, 2, 3)
        for group in range(groups):
            y[i : i + n, group * each : (group + 1) * each] = whole[:, group]


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
    weight = depthwise.weight if few else weight_by_columns
    weight(dw, g, x, stride, offset, step, groups)


def weight_by_planes(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    """dw of volumes: the sum over some planes at a time of that of images, in groups of few."""
    k, c, t, r, s = dw.shape
    if groups == 1 or t * c * (k // groups) > 8:
        weight_by_depth(dw, g, x, stride, offset, step, groups)
        return
    total = np.zeros((k, t * c, r, s), x.dtype)
    term = np.empty_like(total)
    for images, depth, seen in Planes(x, g.shape[2], t, stride[0], offset[0], step[0], groups):
        some = volume.planes_of(g, images, depth)
        depthwise.weight(term, some, seen, stride[1:], offset[1:], step[1:], groups)
        total += term
    dw[...] = total.reshape(k, t, c, r, s).swapaxes(1, 2)


def weight_by_depth(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    """dw[t] = g @ im2col(plane) over the planes that tap t meets, in order."""
    k, c, taps, r, s = dw.shape
    each, (o, p, q) = k // groups, g.shape[2:]
    columns = Columns(x[0].swapaxes(0, 1), (p, q), (r, s), stride[1:], offset[1:], step[1:], groups)
    total = np.zeros((taps, groups, each, r * s * c), x.dtype)
    for image, grad in zip(x, g, strict=True):
        rows = np.ascontiguousarray(grad.reshape(groups, each, o, p * q).swapaxes(1, 2))
        found = meetings(columns, image.swapaxes(0, 1), taps, o, stride[0], offset[0], step[0])
        for t, planes, part in found:
            total[t] += np.matmul(rows[:, planes], part).sum(1)
    dw[...] = total.reshape(taps, k, r, s, c).transpose(1, 4, 0, 2, 3)


def weight_by_columns(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    """dw = g @ im2col(x) over all pixels, some images at a time, in image order."""
    k, channels, r, s = dw.shape
    each = k // groups
    columns = Columns(x, g.shape[2:], (r, s), stride, offset, step, groups)
    total = np.zeros((groups, each, r * s * channels), x.dtype)
    term = np.empty_like(total)
    for i in range(0, len(x), columns.images):
        part = columns.of(x[i : i + columns.images])
        some = g[i : i + columns.images]
        some = some.reshape(len(some), groups, each, -1).transpose(1, 2, 0, 3)
        np.matmul(some.reshape(groups, each, -1), part, out=term)
        total += term
    dw[...] = total.reshape(groups, each, r, s, channels).transpose(0, 1, 4, 2, 3).reshape(dw.shape)
