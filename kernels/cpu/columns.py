"""Convolutions as products with the im2col matrix, a piece of it at a time.

A piece is a band of output rows, or a few planes or small images, whose columns stay in the L2
cache between being gathered and being multiplied; several threads gather and multiply pieces of
their own. Columns lie in one of two ways. Channels first, every tap copies runs of whole image rows
and the product is the output as it lies in memory. Channels last, every pixel copies the channels
of neighbouring taps, which are the longer runs where images are small and channels many.
Everything here is of volumes; images are volumes of one plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tgrad.kernels.cpu.frame import Frame, Window
from tgrad.kernels.windows import deep
from tgrad.runtime import blas, memory, threads

Size = tuple[int, ...]  # (depth, height, width)
BYTES = 1 << 20  # of columns made at a time
PIXELS = 256  # of output at least in a piece: with fewer, BLAS repacks the weights too often
LONG = 24  # pixels of an output row from which on rows are copied
PARALLEL = 1 << 28  # multiplications in all; below, BLAS's own threads are faster
FEW = 16  # channels of a group; with more, products are large enough for BLAS's threads


class Piece(NamedTuple):
    images: slice
    planes: slice
    rows: slice

    def of(self, a: np.ndarray) -> np.ndarray:
        """Its pixels of a (N, ..., O, P, Q) as (n, ..., pixels), a view of a dense array."""
        part = a[(self.images, ..., self.planes, self.rows, slice(None))]
        return part.reshape(*part.shape[:-3], -1, copy=False)


def cut(n: int, most: int, shares: int) -> int:
    """The length of pieces of at most ``most`` of ``n``, whose number suits so many shares."""
    pieces = -(-n // max(most, 1))
    return -(-n // (-(-pieces // shares) * shares))


class Columns:
    """What is gathered of x (N, C, D, H, W) for an output of ``size``, and in which pieces."""

    def __init__(
        self, x: np.ndarray, size: Size, kernel: Size, stride: Size, offset: Size, step: Size,
        groups: int,
    ):  # fmt: skip
        self.x, self.size, self.kernel, self.stride, self.step = x, size, kernel, stride, step
        self.groups, self.each = groups, x.shape[1] // groups
        self.last = size[2] < LONG and self.each * kernel[2] > 2 * size[2]
        self.windows = [
            Window(offset[i], (size[i] - 1) * stride[i] + (kernel[i] - 1) * step[i] + 1, limit)
            for i, limit in enumerate(x.shape[2:])
        ]
        self.pixel = math.prod(kernel) * x.shape[1]  # elements of columns for one pixel

    def piece(self, shares: int) -> Size:
        """The largest piece's (images, planes, rows), so that every share gets as many."""
        n, (o, p, q) = len(self.x), self.size
        pixels = max(BYTES // (self.pixel * self.x.itemsize), PIXELS)
        if pixels >= o * p * q:
            return cut(n, pixels // (o * p * q), shares), o, p
        shares = 1 if n % shares == 0 else shares
        if pixels >= p * q:
            return 1, cut(o, pixels // (p * q), shares), p
        return 1, 1, cut(p, pixels // q, 1 if o % shares == 0 else shares)

    def pieces(self, shares: int) -> list[Piece]:
        sizes, limits = self.piece(shares), (len(self.x), *self.size)
        steps = [
            [slice(i, min(i + size, limit)) for i in range(0, limit, size)]
            for size, limit in zip(sizes, limits, strict=False)
        ]
        return [Piece(i, o, p) for i in steps[0] for o in steps[1] for p in steps[2]]


class Gather:
    """The buffers of one thread, for pieces of up to so many images, planes and rows."""

    def __init__(self, columns: Columns, images: int, planes: int, rows: int):
        x, pixels = columns.x, images * planes * rows * columns.size[2]
        self.columns = columns
        self.frame = Frame(images, x, columns.windows, columns.last)
        self.buffer = memory.empty((pixels * columns.pixel,), x.dtype)
        self.loaded, self.padded = None, x

    def matrix(self, piece: Piece) -> np.ndarray:
        """The columns of a piece; overwritten by the next call.

        (n, G, C / G * T * R * S, pixels), or (G, n * pixels, T * R * S * C / G), channels last.
        """
        at = self.columns
        if piece.images != self.loaded:
            self.padded, self.loaded = self.frame.fill(at.x[piece.images]), piece.images
        inner = (
            slice(piece.planes.start * at.stride[0], None),
            slice(piece.rows.start * at.stride[1], None),
        )
        images = self.padded[
            (slice(None), *inner) if at.last else (slice(None), slice(None), *inner)
        ]
        n, planes, rows = len(images), piece.planes.stop - piece.planes.start, piece.rows.stop
        size = (planes, rows - piece.rows.start, at.size[2])
        if at.last:
            a, *axes, e = images.strides
            shape = (at.groups, n, *size, *at.kernel, at.each)
            found = (at.groups, n * math.prod(size), -1)
        else:
            a, e, *axes = images.strides
            shape = (n, at.groups, at.each, *at.kernel, *size)
            found = (n, at.groups, -1, math.prod(size))
        taps = [h * step for h, step in zip(axes, at.step, strict=True)]
        pixels = [h * stride for h, stride in zip(axes, at.stride, strict=True)]
        group = e * at.each
        strides = (group, a, *pixels, *taps, e) if at.last else (a, group, e, *taps, *pixels)
        out = self.buffer[: math.prod(shape)].reshape(shape)
        out[...] = as_strided(images, shape, strides)
        return out.reshape(found)


def each_piece(
    columns: Columns, filters: int, work: Callable[[Iterator[tuple[Piece, np.ndarray]], int], None]
) -> None:
    """Call ``work(pieces, share)`` for shares of the pieces, in threads where that pays.

    ``pieces`` yields each with its columns.
    """
    amount = len(columns.x) * math.prod(columns.size) * columns.pixel * filters // columns.groups
    pays = amount >= PARALLEL and columns.each <= FEW
    shares = threads.get_num_threads() if pays else 1
    pieces = columns.pieces(shares)
    share = -(-len(pieces) // shares)

    def walk(start: int, stop: int) -> None:
        gather = Gather(columns, *columns.piece(shares))
        with np.errstate(all="ignore"):
            work(((piece, gather.matrix(piece)) for piece in pieces[start:stop]), start // share)

    if shares > 1:
        blas.split(walk, len(pieces))
    else:
        walk(0, len(pieces))


def correlate(y, x, w, b, stride: Size, offset: Size, step: Size) -> None:
    """y (N, K, O, P, Q) = w (G, K / G, C / G, T, R, S) @ im2col(x); also without O and T."""
    if y.ndim == 4:
        y, x, w = y[:, :, None], x[:, :, None], w[:, :, :, None]
        stride, offset, step = deep(stride), (0, *offset), deep(step)
    groups, each = w.shape[:2]
    columns = Columns(x, y.shape[2:], w.shape[3:], stride, offset, step, groups)
    if columns.last:
        pixels_first(y, columns, w, b)
        return
    direct = y.flags.c_contiguous and y.dtype == x.dtype
    out = y if direct else memory.empty(y.shape, x.dtype)
    grouped = out.reshape(len(y), groups, each, *y.shape[2:])
    matrix = np.ascontiguousarray(w).reshape(groups, each, -1)

    def work(pieces: Iterator[tuple[Piece, np.ndarray]], share: int) -> None:
        for piece, part in pieces:
            target = piece.of(grouped)
            np.matmul(matrix, part, out=target)
            if b is not None:
                target += b.reshape(groups, each, 1)

    each_piece(columns, y.shape[1], work)
    if not direct:
        y[...] = out


def pixels_first(y, columns: Columns, w, b) -> None:
    """The same with channels last: products are pixels by filters, and are turned into y."""
    groups, each = w.shape[:2]
    matrix = np.ascontiguousarray(w.transpose(0, 3, 4, 5, 2, 1)).reshape(groups, -1, each)

    def work(pieces: Iterator[tuple[Piece, np.ndarray]], share: int) -> None:
        for (images, planes, rows), part in pieces:
            out = memory.empty((groups, part.shape[1], each), part.dtype)
            np.matmul(part, matrix, out=out)
            if b is not None:
                out += b.reshape(groups, 1, each)
            for group in range(groups):
                target = y[images, group * each : (group + 1) * each, planes, rows]
                whole = out[group].reshape(len(target), *target.shape[2:], each)
                target[...] = np.moveaxis(whole, -1, 1)

    each_piece(columns, y.shape[1], work)


def weight(dw, g, x, stride: Size, offset: Size, step: Size, groups: int) -> None:
    """dw (K, C / G, T, R, S) = g @ im2col(x)^T over all pixels, every share of them in order.

    The products are those of dw^T: with more rows than columns BLAS is up to 1.5 times as fast.
    """
    if dw.ndim == 4:
        dw, g, x = dw[:, :, None], g[:, :, None], x[:, :, None]
        stride, offset, step = deep(stride), (0, *offset), deep(step)
    k, channels, *kernel = dw.shape
    each = k // groups
    columns = Columns(x, g.shape[2:], tuple(kernel), stride, offset, step, groups)
    total = np.zeros((threads.get_num_threads(), groups, columns.pixel // groups, each), x.dtype)
    g = np.ascontiguousarray(g).reshape(len(g), groups, each, *g.shape[2:])

    def work(pieces: Iterator[tuple[Piece, np.ndarray]], share: int) -> None:
        for piece, part in pieces:
            some = piece.of(g)
            if columns.last:
                some = some.transpose(1, 2, 0, 3).reshape(groups, each, -1)
                total[share] += np.matmul(part.swapaxes(1, 2), some.swapaxes(1, 2))
            elif len(some) == 1:
                total[share] += np.matmul(part[0], some[0].swapaxes(1, 2))
            else:
                total[share] += np.matmul(part, some.swapaxes(2, 3)).sum(0)

    each_piece(columns, k, work)
    whole = np.add.reduce(total, axis=0).swapaxes(1, 2)  # (G, K / G, ...)
    if columns.last:
        whole = np.moveaxis(whole.reshape(groups, each, *kernel, channels), -1, 2)
    dw[...] = whole.reshape(dw.shape)


def spread(dx, g, w, stride: Size, padding: Size, dilation: Size, groups: int) -> None:
    """The transpose of a convolution: w^T @ g is added to where columns would come from.

    Cheaper than gathering g where there are fewer channels than filters.
    """
    if dx.ndim == 4:
        dx, g, w = dx[:, :, None], g[:, :, None], w[:, :, None]
        stride, padding, dilation = deep(stride), (0, *padding), deep(dilation)
    (n, c, *image), (k, _, *kernel), size = dx.shape, w.shape, g.shape[2:]
    taps, row = c * math.prod(kernel), size[1] * size[2]
    matrix = np.ascontiguousarray(w.reshape(groups, k // groups, -1).swapaxes(1, 2))
    g = np.ascontiguousarray(g).reshape(n, groups, k // groups, *size)
    most = max(BYTES // (taps * g.itemsize), PIXELS)
    planes, rows = (max(1, min(size[0], most // row)), max(1, min(size[1], most // size[2])))
    spans = [
        max((size[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1, image[i] + padding[i])
        for i in range(3)
    ]
    inside = tuple(slice(p, p + length) for p, length in zip(padding, image, strict=True))

    def pixels(start: int, count: int, axis: int, tap: int) -> slice:
        first = start * stride[axis] + tap * dilation[axis]
        return slice(first, first + (count - 1) * stride[axis] + 1, stride[axis])

    def add(frame: np.ndarray, piece: Piece, buffer: np.ndarray) -> None:
        some = piece.of(g)[0]
        part = buffer[: taps * some.shape[2]]
        np.matmul(matrix, some, out=part.reshape(groups, -1, some.shape[2]))
        count = piece.planes.stop - piece.planes.start
        part = part.reshape(c, *kernel, count, -1, size[2])
        for t, r, s in np.ndindex(*kernel):
            frame[
                :,
                pixels(piece.planes.start, count, 0, t),
                pixels(piece.rows.start, part.shape[5], 1, r),
                pixels(0, size[2], 2, s),
            ] += part[:, t, r, s]

    def walk(start: int, stop: int) -> None:
        frame = memory.empty((c, *spans), g.dtype)
        buffer = memory.empty((taps * planes * rows * size[2],), g.dtype)
        with np.errstate(all="ignore"):
            for i in range(start, stop):
                frame[...] = 0
                for o in range(0, size[0], planes):
                    for p in range(0, size[1], rows):
                        piece = Piece(
                            slice(i, i + 1),
                            slice(o, min(o + planes, size[0])),
                            slice(p, min(p + rows, size[1])),
                        )
                        add(frame, piece, buffer)
                dx[i] = frame[(slice(None), *inside)]

    if n * math.prod(size) * taps * k // groups >= PARALLEL:
        blas.split(walk, n)
    else:
        walk(0, n)
