"""Convolutions in groups of very few channels: no GEMM worth its name, so sums of shifted images.

Where the stride is 1, images lie in zeros with all rows end to end: a tap is then one contiguous
shift of everything, its few values past each row's end are computed too and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tgrad.kernels.windows import valid_range
from tgrad.runtime import memory, threads

Pair = tuple[int, ...]  # (height, width)
CHUNK = 1 << 16  # elements of output at a time: smaller ones cost more calls than cache misses
PARALLEL = 1 << 26  # operations in all; below, a second thread costs more than it saves


class Rows:
    """Zero-padded images (N, G, C, rows, width) as (N, G, C, rows * width), for one chunk."""

    def __init__(self, x: np.ndarray, size: Pair, kernel: Pair, offset: Pair, step: Pair):
        height, self.width = (size[i] + (kernel[i] - 1) * step[i] for i in (0, 1))
        self.length = (size[0] - 1) * self.width + size[1]  # of a tap's run
        flat = memory.empty((*x.shape[:3], height * self.width), x.dtype)
        image = flat.reshape(*x.shape[:3], height, self.width)
        inside, source = [], []
        for i, n in enumerate((height, self.width)):
            start, stop = max(0, -offset[i]), min(n, x.shape[3 + i] - offset[i])
            inside.append(slice(start, max(start, stop)))
            source.append(slice(start + offset[i], max(start, stop) + offset[i]))
        image[...] = 0
        image[..., inside[0], inside[1]] = x[..., source[0], source[1]]
        self.flat, self.step = flat, step

    def tap(self, i: int, j: int) -> np.ndarray:
        """(N, G, C, length): what tap (i, j) of every window reads."""
        start = i * self.step[0] * self.width + j * self.step[1]
        return self.flat[..., start : start + self.length]


def each_piece(
    work: Callable[[slice, slice], None], n: int, groups: int, each: int, cost: int
) -> None:
    """Call ``work(images, groups)`` for all pieces, in threads where ``cost`` operations pay."""
    found = list(pieces(n, groups, each))

    def walk(start: int, stop: int) -> None:
        with np.errstate(all="ignore"):
            for piece in found[start:stop]:
                work(*piece)

    if len(found) > 1 and cost >= PARALLEL:
        threads.split(walk, len(found))
    else:
        walk(0, len(found))


def pieces(n: int, groups: int, each: int) -> Iterator[tuple[slice, slice]]:
    """Parts of (N, G) that hold about CHUNK elements, ``each`` per image and group."""
    g = max(1, min(groups, CHUNK // max(each, 1)))
    images = max(1, CHUNK // max(each * groups, 1))
    for i in range(0, n, images):
        for j in range(0, groups, g):
            yield slice(i, i + images), slice(j, j + g)


def correlate(y, x, w, b, stride: Pair, offset: Pair, step: Pair) -> None:
    """y = the sum over taps of x shifted, times a weight per channel."""
    groups, each, channels = w.shape[:3]
    n, size = len(x), y.shape[2:]
    x = x.reshape(n, groups, channels, *x.shape[2:])
    out = y.reshape(n, groups, each, *size) if y.flags.c_contiguous else None
    whole = memory.empty((n, groups, each, *size), y.dtype) if out is None else out
    add = add_rows if tuple(stride) == (1, 1) else add_slices

    def work(images: slice, part: slice) -> None:
        bias = 0 if b is None else b.reshape(groups, each, 1, 1)[part]
        add(whole[images, part], x[images, part], w[part], bias, stride, offset, step)

    each_piece(work, n, groups, each * size[0] * size[1], y.size * w[0, 0].size)
    if out is None:
        y[...] = whole.reshape(y.shape)


def add_rows(y, x, w, bias, stride: Pair, offset: Pair, step: Pair) -> None:
    """Fill one chunk of y with the sum with stride 1, bias included."""
    groups, each, channels, r, s = w.shape
    size = y.shape[3:]
    rows = Rows(x, size, (r, s), offset, step)
    total = memory.empty((len(x), groups, each, size[0] * rows.width), x.dtype)
    run = total[..., : rows.length]
    term = memory.empty(run.shape, x.dtype)
    for k, (i, j, c) in enumerate(np.ndindex(r, s, channels)):
        into = term if k else run
        np.multiply(rows.tap(i, j)[:, :, c, None], w[:, :, c, i, j, None], out=into)
        if k:
            run += term
    whole = total.reshape(*total.shape[:3], size[0], rows.width)[..., : size[1]]
    np.add(whole, bias, out=y, casting="unsafe")


def shifts(x, kernel: Pair, size: Pair, stride: Pair, offset: Pair, step: Pair):
    """(tap, windows, pixels) for every tap that reads inside the images: slices of both axes."""
    for i, j in np.ndindex(*kernel):
        windows, pixels = [], []
        for axis, tap in ((0, i), (1, j)):
            first = offset[axis] + tap * step[axis]
            start, stop = valid_range(first, stride[axis], size[axis], x.shape[3 + axis])
            begin = start * stride[axis] + first
            windows.append(slice(start, stop))
            pixels.append(slice(begin, max(begin + (stop - start) * stride[axis], 0), stride[axis]))
        if all(a.stop > a.start for a in windows):
            yield (i, j), tuple(windows), tuple(pixels)


def add_slices(y, x, w, bias, stride: Pair, offset: Pair, step: Pair) -> None:
    """Fill one chunk of y with the sum with any stride, bias included."""
    channels, r, s = w.shape[2:]
    size = y.shape[3:]
    total = y if y.dtype == x.dtype else memory.empty(y.shape, x.dtype)
    total[...] = bias
    term = memory.empty(y.shape, x.dtype)
    for (i, j), windows, pixels in shifts(x, (r, s), size, stride, offset, step):
        into = total[..., windows[0], windows[1]]
        shifted = x[..., pixels[0], pixels[1]][..., : into.shape[3], : into.shape[4]]
        product = term[..., windows[0], windows[1]]
        for c in range(channels):
            np.multiply(shifted[:, :, c, None], w[:, :, c, i, j, None, None], out=product)
            into += product
    if total is not y:
        y[...] = total


def weight(dw, g, x, stride: Pair, offset: Pair, step: Pair, groups: int) -> None:
    """dw of one tap = the sum over pixels of g times x shifted."""
    (k, channels, r, s), size = dw.shape, g.shape[2:]
    n, each = len(x), k // groups
    x = x.reshape(n, groups, channels, *x.shape[2:])
    g = g.reshape(n, groups, each, *size)
    total = np.zeros((groups, each, channels, r, s), x.dtype)
    add = dot_rows if tuple(stride) == (1, 1) else dot_slices
    terms = {}

    def work(images: slice, part: slice) -> None:
        term = terms[images.start, part.start] = part, np.zeros_like(total[part])
        add(term[1], g[images, part], x[images, part], stride, offset, step)

    each_piece(work, n, groups, each * size[0] * size[1], g.size * channels * r * s)
    for key in sorted(terms):  # in one order, whichever thread was first
        part, term = terms[key]
        total[part] += term
    if add is dot_rows and not np.isfinite(total).all():  # 0 past a row's end times an infinity
        total[...] = 0
        dot_slices(total, g, x, stride, offset, step)
    dw[...] = total.reshape(dw.shape)


def dot_rows(total, g, x, stride: Pair, offset: Pair, step: Pair) -> None:
    """Add one chunk's gradient with stride 1; g is zero past the end of each row."""
    r, s = total.shape[3:]
    size = g.shape[3:]
    rows = Rows(x, size, (r, s), offset, step)
    wide = np.zeros((*g.shape[:4], rows.width), g.dtype)
    wide[..., : size[1]] = g
    run = wide.reshape(*g.shape[:3], -1)[..., : rows.length]
    for i, j in np.ndindex(r, s):
        products = np.vecdot(run[:, :, :, None], rows.tap(i, j)[:, :, None])
        total[..., i, j] += products.sum(0)


def dot_slices(total, g, x, stride: Pair, offset: Pair, step: Pair) -> None:
    """Add one chunk's gradient with any stride."""
    for (i, j), windows, pixels in shifts(x, total.shape[3:], g.shape[3:], stride, offset, step):
        some = g[..., windows[0], windows[1]]
        shifted = x[..., pixels[0], pixels[1]][..., : some.shape[3], : some.shape[4]]
        total[..., i, j] += np.einsum("ngkpq,ngcpq->gkc", some, shifted)
