"""Pooling in NumPy: one axis after the other, so that a window of R x S costs R + S passes.

The mean's column pass is one GEMM with a 0/1 matrix; the maximum's passes keep, beside the running
maximum, the tap that gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tgrad.dispatch import kernel
from tgrad.kernels.windows import Axis, pooling_axis, valid_range
from tgrad.runtime import memory, threads

CHUNK = 1 << 17  # elements of images at a time: what a maximum keeps beside them stays in L2
PARALLEL = 1 << 22  # elements of images in all; below, a second thread costs more than it saves
WIDE = 160  # pixels; above, adding shifted columns beats a GEMM that multiplies mostly by 0


def widened(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype.itemsize < 4 and x.dtype.kind not in "iub" else x


# ---- maximum -------------------------------------------------------------------------------------


class Geometry:
    """Both axes of a pooling call."""

    def __init__(self, size, image, kernel, stride, padding, dilation, adaptive: bool):
        self.size, self.kernel, self.adaptive = size, kernel, adaptive
        self.stride, self.dilation = stride, dilation
        self.axes = [
            pooling_axis(size[i], image[i], kernel[i], stride[i], padding[i], dilation[i], adaptive)
            for i in (0, 1)
        ]
        self.offset = (-padding[0], -padding[1])
        self.image = image

    def parts(self, i: int, tap: int):
        """(windows, pixels): the indices along axis i where ``tap`` lies inside the image."""
        if self.adaptive:
            axis = self.axes[i]
            chosen = [p for p in range(self.size[i]) if tap < axis.length[p]]
            return chosen, [axis.source[p] + tap for p in chosen]
        offset = self.offset[i] + tap * self.dilation[i]
        start, stop = valid_range(offset, self.stride[i], self.size[i], self.image[i])
        first = start * self.stride[i] + offset
        last = first + (stop - start) * self.stride[i]
        return slice(start, stop), slice(
            first, max(last - self.stride[i] + 1, first), self.stride[i]
        )


def along(i: int, index) -> tuple:
    """An index of axis i of (height, width) in an array of (N, C, height, width)."""
    return (..., index, slice(None)) if i == 0 else (..., index)


def pieces(shape: tuple[int, ...], pixels: int) -> Iterator[tuple[slice, slice]]:
    """Parts of (N, C) that hold about CHUNK elements of images of so many ``pixels``."""
    n, c = shape[:2]
    channels = max(1, min(c, CHUNK // max(pixels, 1)))
    images = max(1, CHUNK // max(pixels * c, 1)) if channels == c else 1
    for i in range(0, n, images):
        for j in range(0, c, channels):
            yield slice(i, i + images), slice(j, j + channels)


def each_piece(
    work: Callable[[tuple[slice, slice]], None],
    shape: tuple[int, ...],
    pixels: int,
    threaded: bool = False,
) -> None:
    """Call ``work(piece)`` for all :func:`pieces`; ``threaded``: in threads, where that pays."""
    found = list(pieces(shape, pixels))

    def walk(start: int, stop: int) -> None:
        with np.errstate(all="ignore"):
            for piece in found[start:stop]:
                work(piece)

    if threaded and len(found) > 1 and shape[0] * shape[1] * pixels >= PARALLEL:
        threads.split(walk, len(found))
    else:
        walk(0, len(found))


@kernel("_max_pool2d", "cpu")
def _max_pool2d(y, code, x, size, kernel, stride, padding, dilation, adaptive, coded):
    if y.size == 0:
        return
    at = Geometry(size, x.shape[2:], kernel, stride, padding, dilation, adaptive)

    def work(piece: tuple[slice, slice]) -> None:
        maxima(at, y[piece], code[piece] if coded else None, widened(x[piece]))

    each_piece(work, x.shape, x.shape[2] * x.shape[3], threaded=True)


def maxima(at: Geometry, y: np.ndarray, code: np.ndarray | None, x: np.ndarray) -> None:
    """Fill y, and code where it is given, for a few images."""
    dtype = None if code is None else code.dtype
    across, taps = running_maximum(at, 1, x, None, dtype)
    best, taps = running_maximum(at, 0, across, taps, dtype)
    for i in (0, 1):
        empty = [p for p, n in enumerate(at.axes[i].length) if n == 0]
        if empty:  # dilated over the image: no pixel at all
            lowest = -np.inf if best.dtype.kind == "f" else np.iinfo(best.dtype).min
            best[along(i, empty)] = lowest
    y[...] = best
    if code is not None and taps is not None:
        code[...] = taps
        if best.dtype.kind == "f" and np.isnan(best).any():
            mark_nans(code, np.isnan(x), at)


def first_pixels(at: Geometry, i: int, x: np.ndarray) -> np.ndarray:
    """The element of the first tap inside the image of each window along axis i, copied."""
    axis = at.axes[i]
    limit = x.shape[2 + i] - 1
    if at.adaptive:
        return x[along(i, axis.source)]
    cut = sum(f > 0 for f in axis.first)  # windows that begin in the padding
    best = np.empty((*x.shape[: 2 + i], len(axis.source), *x.shape[3 + i :]), x.dtype)
    step = at.stride[i]
    start = cut * step + at.offset[i]
    stop = start + (len(axis.source) - cut) * step - step + 1
    best[along(i, slice(cut, None))] = x[along(i, slice(start, max(stop, start), step))]
    for p in range(cut):
        best[along(i, p)] = x[along(i, min(axis.source[p], limit))]
    return best


def running_maximum(at: Geometry, i: int, x: np.ndarray, codes: np.ndarray | None, dtype):
    """(largest, tap) over each window along axis i; ``codes`` are those of an inner axis.

    Codes only grow with the tap, so that a maximum of bytes (64 to an instruction) keeps the last
    tap that was an improvement.
    """
    axis, scale = at.axes[i], 1 if i == 1 else at.kernel[1]
    alone = at.kernel[i] == at.stride[i] == 1 and not at.adaptive and at.offset[i] == 0
    if alone and (codes is not None or dtype is None):
        return x, codes
    best = first_pixels(at, i, x)
    taps = None
    if dtype is not None:
        start = np.array(axis.first, dtype) * dtype.type(scale)
        start = start[:, None] if i == 0 else start
        taps = np.empty(best.shape, dtype)
        np.add(start, 0 if codes is None else first_pixels(at, i, codes), out=taps)
    for tap in range(1, at.kernel[i]):  # tap 0 comes first wherever it is inside
        windows, pixels = at.parts(i, tap)
        new = np.ascontiguousarray(x[along(i, pixels)])
        if new.size == 0:
            continue
        old = best[along(i, windows)]
        if taps is not None and dtype is not None:
            better = np.greater(new, old).view(np.uint8)
            better = better if dtype == np.uint8 else better.astype(dtype)
            number = dtype.type(tap * scale)
            better *= number if codes is None else codes[along(i, pixels)] + number
            kept = taps[along(i, windows)]
            taps[along(i, windows)] = np.maximum(kept, better, out=better)
        best[along(i, windows)] = np.maximum(old, new, out=old)  # `new` may be the input itself
    return best, taps


def mark_nans(code: np.ndarray, nan: np.ndarray, at: Geometry) -> None:
    """The last NaN of each window that holds one is the winner, as in PyTorch."""
    for r in range(at.kernel[0]):
        rows, h = at.parts(0, r)
        for s in range(at.kernel[1]):
            columns, v = at.parts(1, s)
            found = nan[along(0, h)][along(1, v)]
            part = code[along(0, rows)][along(1, columns)]
            part = np.where(found, code.dtype.type(r * at.kernel[1] + s), part)
            whole = code[along(0, rows)]
            whole[along(1, columns)] = part
            code[along(0, rows)] = whole


@kernel("max_pool2d_backward", "cpu")
def max_pool2d_backward(dx, g, code, size, kernel, stride, padding, dilation, adaptive):
    if g.size == 0:
        dx[...] = 0
        return
    at = Geometry(g.shape[2:], size, kernel, stride, padding, dilation, adaptive)
    spread = scatter if adaptive else spread_by_taps

    def work(piece: tuple[slice, slice]) -> None:
        some, out = np.ascontiguousarray(widened(g[piece])), dx[piece]
        total = out if out.dtype == some.dtype else memory.empty(out.shape, some.dtype)
        total[...] = 0
        spread(total, some, code[piece], at)
        if total is not out:
            out[...] = total

    each_piece(work, dx.shape, size[0] * size[1])


def scatter(total: np.ndarray, g: np.ndarray, code: np.ndarray, at: Geometry) -> None:
    """Add g to its winners one by one: adaptive windows may begin at the same pixel."""
    flat = total.reshape(*total.shape[:2], -1, copy=False)
    index = winners(code, at).reshape(*flat.shape[:2], -1)
    n, c = np.ogrid[: flat.shape[0], : flat.shape[1]]
    np.add.at(flat, (n[..., None], c[..., None], index), g.reshape(index.shape))


def spread_by_taps(total: np.ndarray, g: np.ndarray, code: np.ndarray, at: Geometry) -> None:
    """Add g to its winners, all those of one tap at a time."""
    word = np.dtype(f"i{g.dtype.itemsize}")
    apart = all(d * (k - 1) < s for k, s, d in zip(at.kernel, at.stride, at.dilation))  # noqa: B905
    for r in range(at.kernel[0]):
        rows, h = at.parts(0, r)
        for s in range(at.kernel[1]):
            columns, v = at.parts(1, s)
            inside = (..., rows, columns)
            into = total[..., h, v]
            won = code[inside] == code.dtype.type(r * at.kernel[1] + s)
            # g or +0 by its bits: all ones where won, and no multiplication of an infinity by 0
            bits = np.negative(won.view(np.int8)).astype(word)
            bits &= g[inside].view(word)
            if apart:  # each pixel is in one window at most
                into[...] = bits.view(g.dtype)
            else:
                into += bits.view(g.dtype)


def winners(code: np.ndarray, at: Geometry) -> np.ndarray:
    """The flat index into the image of the pixel that each code names."""
    start = []
    for i in (0, 1):
        axis = at.axes[i]
        begin = [s - f * at.dilation[i] for s, f in zip(axis.source, axis.first, strict=True)]
        start.append(np.array(begin, np.int64))
    r, s = np.divmod(code.astype(np.int64), at.kernel[1])
    h = start[0][:, None] + r * at.dilation[0]
    v = start[1] + s * at.dilation[1]
    return h * at.image[1] + v


@kernel("_max_pool2d_winners", "cpu")
def _max_pool2d_winners(y, x, code, size, kernel, stride, padding, dilation, adaptive):
    if y.size == 0:
        return
    at = Geometry(code.shape[2:], x.shape[2:], kernel, stride, padding, dilation, adaptive)
    flat = x.reshape(*x.shape[:2], -1)
    index = winners(code, at).reshape(*x.shape[:2], -1)
    np.clip(index, 0, flat.shape[2] - 1, out=index)
    y[...] = np.take_along_axis(flat, index, 2).reshape(y.shape)


@kernel("_pool_indices", "cpu")
def _pool_indices(y, code, image, kernel, stride, padding, dilation, adaptive):
    if y.size:
        size = code.shape[2:]
        y[...] = winners(code, Geometry(size, image, kernel, stride, padding, dilation, adaptive))


# ---- mean ----------------------------------------------------------------------------------------


def mean_axes(size, image, kernel, stride, padding, include_pad, adaptive) -> list[Axis]:
    return [
        pooling_axis(size[i], image[i], kernel[i], stride[i], padding[i], 1, adaptive, include_pad)
        for i in (0, 1)
    ]


def divisors(axes: list[Axis], divisor: int | None, dtype: np.dtype) -> np.ndarray:
    """What each window's sum is divided by, (P, Q)."""
    if divisor is not None:
        return np.full((len(axes[0].weight), len(axes[1].weight)), divisor, dtype)
    return np.multiply.outer(np.array(axes[0].weight, dtype), np.array(axes[1].weight, dtype))


def indicator(axis: Axis, limit: int, dtype: np.dtype) -> np.ndarray:
    """(P, H): 1 where pixel h lies in window p."""
    found = np.zeros((len(axis.source), limit), dtype)
    for p, (start, n) in enumerate(zip(axis.source, axis.length, strict=True)):
        found[p, start : start + n] = 1
    return found


def sum_columns(x: np.ndarray, axis: Axis) -> np.ndarray:
    """Sums of x over the windows along its last axis.

    A GEMM spreads infinities and NaN over whole rows; where some came out, the windows are summed
    one by one.
    """
    q = len(axis.source)
    if x.shape[-1] <= WIDE:
        out = memory.empty((*x.shape[:-1], q), x.dtype)
        rows = out.reshape(-1, q)
        np.matmul(x.reshape(-1, x.shape[-1]), indicator(axis, x.shape[-1], x.dtype).T, out=rows)
        if np.isfinite(rows.sum()):
            return out
    return sum_rows(x[..., None], axis)[..., 0]


def regular(axis: Axis) -> list[slice] | None:
    """The pixels of every tap where all windows are equally long and far apart, else None."""
    count, length = len(axis.source), axis.length[0]
    step = axis.source[1] - axis.source[0] if count > 1 else 1
    wanted = range(axis.source[0], axis.source[0] + count * step, step) if step else []
    if axis.source != list(wanted) or axis.length != [length] * count or not length:
        return None
    last = (count - 1) * step + 1
    return [slice(i, i + last, step) for i in range(axis.source[0], axis.source[0] + length)]


def sum_rows(x: np.ndarray, axis: Axis) -> np.ndarray:
    """Sums of x over the windows along its last axis but one."""
    out = memory.empty((*x.shape[:-2], len(axis.source), x.shape[-1]), x.dtype)
    taps = regular(axis)
    if taps is not None:
        out[...] = x[..., taps[0], :]
        for tap in taps[1:]:
            out += x[..., tap, :]
        return out
    for p, (start, n) in enumerate(zip(axis.source, axis.length, strict=True)):
        np.add.reduce(x[..., start : start + n, :], axis=-2, out=out[..., p, :])
    return out


def spread_columns(g: np.ndarray, axis: Axis, limit: int) -> np.ndarray:
    """The transpose of :func:`sum_columns`."""
    if limit <= WIDE:
        out = memory.empty((*g.shape[:-1], limit), g.dtype)
        rows = out.reshape(-1, limit)
        np.matmul(g.reshape(-1, g.shape[-1]), indicator(axis, limit, g.dtype), out=rows)
        if np.isfinite(rows.sum()):
            return out
    return spread_rows(g[..., None], axis, limit)[..., 0]


def spread_rows(g: np.ndarray, axis: Axis, limit: int) -> np.ndarray:
    """The transpose of :func:`sum_rows`."""
    out = memory.empty((*g.shape[:-2], limit, g.shape[-1]), g.dtype)
    out[...] = 0
    taps = regular(axis)
    if taps is not None:
        for tap in taps:
            out[..., tap, :] += g
        return out
    for p, (start, n) in enumerate(zip(axis.source, axis.length, strict=True)):
        out[..., start : start + n, :] += g[..., p : p + 1, :]
    return out


@kernel("_avg_pool2d", "cpu")
def _avg_pool2d(y, x, size, kernel, stride, padding, include_pad, divisor, adaptive, dtype):
    if y.size == 0:
        return
    axes = mean_axes(size, x.shape[2:], kernel, stride, padding, include_pad, adaptive)
    by = divisors(axes, divisor, widened(x[:0]).dtype)

    def work(piece: tuple[slice, slice]) -> None:
        total = sum_columns(sum_rows(widened(x[piece]), axes[0]), axes[1])
        np.divide(total, by, out=y[piece], casting="unsafe")

    each_piece(work, x.shape, x.shape[2] * x.shape[3])


@kernel("avg_pool2d_backward", "cpu")
def avg_pool2d_backward(
    dx, g, size, kernel, stride, padding, include_pad, divisor, adaptive, dtype
):
    if g.size == 0:
        dx[...] = 0
        return
    axes = mean_axes(g.shape[2:], size, kernel, stride, padding, include_pad, adaptive)
    by = divisors(axes, divisor, widened(g[:0]).dtype)

    def work(piece: tuple[slice, slice]) -> None:
        share = np.divide(widened(g[piece]), by)
        dx[piece] = spread_rows(spread_columns(share, axes[1], size[1]), axes[0], size[0])

    each_piece(work, dx.shape, size[0] * size[1])
