"""Random numbers with NumPy: Philox words in cache-sized chunks, turned into samples in place."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import kernel
from tgrad.runtime import memory, threads
from tgrad.runtime.quiet import quiet
from tgrad.runtime.random import LANES, words

CHUNK = 32768  # elements, a multiple of 8 so that a chunk starts with a Philox block
SHARE = 131072  # elements a thread takes at a time
PARALLEL = 1 << 20  # elements from which threads pay


def narrow(key: int, counter: int, start: int, n: int) -> np.ndarray:
    """The 32-bit integers of elements ``start`` to ``start + n``; a new array."""
    return words(key, counter + start // (2 * LANES), (n + 1) // 2).view(np.uint32)[:n]


def wide(key: int, counter: int, start: int, n: int) -> np.ndarray:
    """The 64-bit integers of elements ``start`` to ``start + n``; a new array."""
    return words(key, counter + start // LANES, n)


def by_chunks(y: np.ndarray, fill: Callable[[np.ndarray, int], None]) -> None:
    """``fill(piece, start)`` for consecutive flat pieces of ``y``, whatever its strides.

    Large tensors are shared out among threads, whose pieces are larger: 128k elements keep two of
    them from fighting for the interpreter's lock.
    """
    dense = y.flags.c_contiguous
    flat = (y if dense else memory.empty(y.shape, y.dtype)).reshape(-1)
    if flat.size <= CHUNK:
        quiet.run(fill, flat, 0)
    elif flat.size < PARALLEL:
        quiet.run(pieces, flat, fill, 0, flat.size, CHUNK)
    else:
        threads.split(lambda i, j: quiet.run(pieces, flat, fill, i, j, SHARE), flat.size, SHARE)
    if not dense:
        y[...] = flat.reshape(y.shape)


def pieces(
    flat: np.ndarray, fill: Callable[[np.ndarray, int], None], first: int, end: int, step: int
) -> None:
    for start in range(first, end, step):
        fill(flat[start : min(start + step, end)], start)


# ---- uniform numbers -----------------------------------------------------------------------------

MANTISSA = {dtypes.float16.numpy: 11, dtypes.bfloat16.numpy: 8, dtypes.float64.numpy: 53}


def unit(dtype: np.dtype, key: int, counter: int, start: int, n: int) -> np.ndarray:
    """Uniform in [0, 1) with as many bits as the dtype's mantissa: 53, 24, 11 or 8."""
    size = MANTISSA.get(dtype, 24)
    if size == 53:
        bits = wide(key, counter, start, n)
        bits >>= 11
        return bits.view(np.int64) * 2.0**-53
    bits = narrow(key, counter, start, n)
    bits >>= 32 - size
    u = bits.view(np.int32).astype(np.float32)
    u *= 2.0**-size
    return u


def open_unit(double: bool, key: int, counter: int, start: int, n: int) -> np.ndarray:
    """Uniform in (0, 1), neither end included: (integer + 1/2) / 2^23, or / 2^52."""
    if double:
        bits = wide(key, counter, start, n)
        bits >>= 12
        return (bits.view(np.int64) + 0.5) * 2.0**-52
    bits = narrow(key, counter, start, n)
    bits >>= 9
    u = bits.view(np.int32).astype(np.float32)
    u += np.float32(0.5)
    u *= np.float32(2.0**-23)
    return u


def normals(double: bool, key: int, counter: int, start: int, n: int) -> np.ndarray:
    """Standard normal: elements 2k and 2k+1 from one radius and one angle."""
    pairs = n + n % 2
    if double:
        bits = wide(key, counter, start, pairs).reshape(-1, 2)
        u = ((bits[:, 0] >> 11).view(np.int64) + 1) * 2.0**-53
        angle = (bits[:, 1] >> 11).view(np.int64) * (math.pi * 2.0**-52)
    else:
        word = words(key, counter + start // (2 * LANES), pairs // 2)
        u = word.astype(np.uint32).astype(np.float32)
        u *= 2.0**-32
        u += 2.0**-33
        word >>= 40
        angle = word.view(np.int64).astype(np.float32)
        angle *= math.pi * 2.0**-23
    radius = np.log(u, out=u)
    radius *= -2
    np.sqrt(radius, out=radius)
    y = np.empty((u.size, 2), u.dtype)
    other = np.cos(angle)
    other *= radius
    y[:, 0] = other
    np.sin(angle, out=angle)
    angle *= radius
    y[:, 1] = angle
    return y.reshape(-1)[:n]


# ---- kernels -------------------------------------------------------------------------------------


@kernel("_sample", "cpu")
def _sample(y, x, kind, a, b, key, counter):
    double = y.dtype == np.float64

    def fill(piece: np.ndarray, start: int) -> None:
        at = (key, counter, start, piece.size)
        if kind == "uniform":
            s = unit(y.dtype, *at)
            if (a, b) != (0, 1):
                s *= s.dtype.type(b - a)
                s += s.dtype.type(a)
        elif kind in ("normal", "log_normal"):
            s = normals(double, *at)
            if (a, b) != (0, 1):
                s *= s.dtype.type(b)
                s += s.dtype.type(a)
            if kind == "log_normal":
                np.exp(s, out=s)
        else:
            s = open_unit(double, *at)
            if kind == "cauchy":
                s -= s.dtype.type(0.5)
                s *= s.dtype.type(math.pi)
                np.tan(s, out=s)
                s *= s.dtype.type(b)
                s += s.dtype.type(a)
            else:
                np.log(s, out=s)
                if kind == "exponential":
                    s *= s.dtype.type(-1 / a)
                else:
                    s *= s.dtype.type(1 / math.log1p(-a))
                    np.ceil(s, out=s)
        np.copyto(piece, s, casting="unsafe")

    by_chunks(y, fill)


def upper_product(bits: np.ndarray, span: int) -> np.ndarray:
    """The upper 64 bits of ``bits * span``, by 32-bit halves."""
    low, high = np.uint64(span & 0xFFFFFFFF), np.uint64(span >> 32)
    x0, x1 = bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)
    middle = x1 * low + (x0 * low >> np.uint64(32))
    if not high:
        return middle >> np.uint64(32)
    carry = x0 * high + (middle & np.uint64(0xFFFFFFFF))
    return x1 * high + (middle >> np.uint64(32)) + (carry >> np.uint64(32))


@kernel("_integers", "cpu")
def _integers(y, x, low, span, key, counter):
    def fill(piece: np.ndarray, start: int) -> None:
        if span <= 1 << 16:
            bits = narrow(key, counter, start, piece.size).astype(np.uint64)
            bits *= np.uint64(span)
            bits >>= np.uint64(32)
        else:
            bits = upper_product(wide(key, counter, start, piece.size), span)
        value = bits.view(np.int64)
        value += np.int64(low)
        np.copyto(piece, value, casting="unsafe")

    by_chunks(y, fill)


@kernel("_bernoulli_number", "cpu")
def _bernoulli_number(y, x, p, key, counter):
    threshold = math.floor(p * 2.0**32 + 0.5)

    def fill(piece: np.ndarray, start: int) -> None:
        bits = narrow(key, counter, start, piece.size)
        piece[...] = True if threshold > 0xFFFFFFFF else bits < np.uint32(threshold)

    by_chunks(y, fill)


@kernel("_bernoulli", "cpu")
def _bernoulli(y, x, p, key, counter):
    p = np.broadcast_to(p, y.shape)
    p = (p if p.flags.c_contiguous else np.ascontiguousarray(p)).reshape(-1)

    def fill(piece: np.ndarray, start: int) -> None:
        bits = narrow(key, counter, start, piece.size)
        threshold = p[start : start + piece.size].astype(np.float64)
        threshold *= 2.0**32
        threshold += 0.5
        piece[...] = bits < np.floor(threshold)

    by_chunks(y, fill)


@kernel("_keys", "cpu")
def _keys(y, x, bits, key, counter):
    mask = np.int64((1 << bits) - 1)

    def fill(piece: np.ndarray, start: int) -> None:
        word = wide(key, counter, start, piece.size)
        word >>= np.uint64(1)
        value = word.view(np.int64)
        value &= ~mask
        value |= np.arange(start, start + piece.size)
        piece[...] = value

    by_chunks(y, fill)


@kernel("_low_bits", "cpu")
def _low_bits(y, x, bits):
    np.bitwise_and(x, np.int64((1 << bits) - 1), out=y)


@kernel("_draw", "cpu")
def _draw(y, x, num_samples, key, counter):
    u = (wide(key, counter, 0, y.size) >> np.uint64(11)).view(np.int64) * 2.0**-53
    u = u.reshape(y.shape)
    cumulative = x.cumsum(1, dtype=np.float64)
    for row, c in enumerate(cumulative):
        # The clip leaves trailing zero weights out: their sum is that of the last positive one.
        last = np.searchsorted(c, c[-1], side="left")
        y[row] = np.minimum(np.searchsorted(c, u[row] * c[-1], side="right"), last)
