"""Random numbers in Triton: Philox-4x64-10 by counter, and the distributions made from its bits.

A program of these kernels computes BLOCKS consecutive Philox blocks, 4 * BLOCKS words, and writes
what they give in one coalesced store. Nothing is read: bytes moved are the output's.
"""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.kernels.cuda import maths
from tgrad.kernels.cuda.copy import copy
from tgrad.kernels.cuda.lines import block_of
from tgrad.kernels.cuda.special import turned
from tgrad.kernels.cuda.tiles import machine
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray, expand, is_contiguous

# The interpreter's 64-bit umulhi is a Python loop over elements: there it is put together from
# 32-bit halves, 40 times faster.
HALVES = tl.constexpr(cuda.is_emulated())
DOUBLE = tl.constexpr(53)  # bits of a float64 uniform number
BELOW, UP_TO = tl.constexpr(False), tl.constexpr(True)  # what a binary search counts


@triton.jit
def umulhi(x, y):
    """The upper 64 bits of the product of two uint64."""
    if HALVES:
        x0, x1 = x & 0xFFFFFFFF, x >> 32
        y0, y1 = y & 0xFFFFFFFF, y >> 32
        middle = x1 * y0 + ((x0 * y0) >> 32)
        low = x0 * y1 + (middle & 0xFFFFFFFF)
        return x1 * y1 + (middle >> 32) + (low >> 32)
    return tl.umulhi(x, y)


@triton.jit
def philox4x64(key, counter):
    """The four words (uint64, of ``counter``'s shape) of block ``counter`` of the stream ``key``.

    Equal to ``tgrad.runtime.random.words(key, counter, 4)``, and to ``tl.philox_impl`` on
    ``counter + 1``: NumPy increments before it draws. ``counter`` is a uint64 tensor, ``key`` a
    uint64 tensor or scalar.
    """
    c0 = counter + 1
    c1, c2, c3 = c0 * 0, c0 * 0, c0 * 0
    k0, k1 = c1 + key, c1
    A = tl.full((), 0xD2E7470EE14C6C93, tl.uint64)
    B = tl.full((), 0xCA5A826395121157, tl.uint64)
    for _ in tl.static_range(10):  # pyright: ignore[reportGeneralTypeIssues]
        hi0, lo0 = umulhi(c0, A), c0 * A
        hi2, lo2 = umulhi(c2, B), c2 * B
        c0, c1, c2, c3 = hi2 ^ c1 ^ k0, lo2, hi0 ^ c3 ^ k1, lo0
        k0 += tl.full((), 0x9E3779B97F4A7C15, tl.uint64)
        k1 += tl.full((), 0xBB67AE8584CAA73B, tl.uint64)
    return c0, c1, c2, c3


@triton.jit
def word(value):
    """An integer argument as uint64, whatever width the launcher gave it; or where one lies: a
    CUDA graph's keys and counters are in memory that is written before each replay."""
    if isinstance(value, tl.tensor):  # noqa: SIM102 - Triton knows at compile time; `and` it traces
        if value.dtype.is_ptr():  # pyright: ignore[reportAttributeAccessIssue]
            value = tl.load(value)
    return tl.full((), value, tl.int64).to(tl.uint64)


def signed(value: int | CudaArray) -> np.int64 | CudaArray:
    """A 64-bit word as the int64 that carries it into a kernel; one in device memory as it is.

    Of that width whatever its value, so that a counter does not change the code that it runs.
    """
    if isinstance(value, CudaArray):
        return value
    return np.int64(value - (1 << 64) if value >> 63 else value)


PLAIN = ["n", "columns", "samples"]  # sizes; their values are not worth a variant each


@triton.jit
def take(x_ptr, offs, n, EVEN: tl.constexpr):
    """Load what of a block lies inside n elements, 16 bytes at a time: EVEN, 16 divides n."""
    if EVEN:
        x = tl.load(x_ptr + offs, mask=offs < n // 16 * 16, other=0)
    elif tl.max(offs, 0) < n:
        x = tl.load(x_ptr + offs)
    else:
        x = tl.load(x_ptr + offs, mask=offs < n, other=0)
    return x


@triton.jit
def put(y_ptr, y, offs, n, EVEN: tl.constexpr):
    """Store what of a block lies inside n elements, likewise."""
    y = maths.to(y, y_ptr.dtype.element_ty)
    if EVEN:
        tl.store(y_ptr + offs, y, mask=offs < n // 16 * 16)
    elif tl.max(offs, 0) < n:
        tl.store(y_ptr + offs, y)
    else:
        tl.store(y_ptr + offs, y, mask=offs < n)


# ---- bits of a program ---------------------------------------------------------------------------


@triton.jit
def program_words(key, counter, BLOCKS: tl.constexpr):
    """The program's BLOCKS Philox blocks, lane by lane."""
    first = tl.program_id(0).to(tl.int64) * BLOCKS
    blocks = word(counter) + (first + tl.arange(0, BLOCKS)).to(tl.uint64)
    return philox4x64(word(key), blocks)


@triton.jit
def wide(key, counter, BLOCKS: tl.constexpr):
    """The program's 4 * BLOCKS words in order, uint64."""
    w0, w1, w2, w3 = program_words(key, counter, BLOCKS)
    return tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))


@triton.jit
def narrow(key, counter, BLOCKS: tl.constexpr):
    """The program's 8 * BLOCKS 32-bit integers in order: of each word the low half first."""
    w = wide(key, counter, BLOCKS)
    return tl.interleave(w.to(tl.uint32), (w >> 32).to(tl.uint32))


@triton.jit
def program_offsets(N: tl.constexpr):
    """The elements that the program writes, N of them, 64 bits wide."""
    return tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)


# ---- samples -------------------------------------------------------------------------------------


@triton.jit
def unit(key, counter, SIZE: tl.constexpr, BLOCKS: tl.constexpr):
    """Uniform in [0, 1) with SIZE bits, exact in the dtype that has such a mantissa."""
    if SIZE == 53:
        u = (wide(key, counter, BLOCKS) >> 11).to(tl.int64).to(tl.float64) * (2.0**-53)
    else:
        bits = narrow(key, counter, BLOCKS) >> (32 - SIZE)
        u = bits.to(tl.int32).to(tl.float32) * (2.0**-SIZE)
    return u


@triton.jit
def open_unit(key, counter, DOUBLE: tl.constexpr, BLOCKS: tl.constexpr):
    """Uniform in (0, 1), neither end included: (integer + 1/2) / 2^23, or / 2^52."""
    if DOUBLE:
        u = ((wide(key, counter, BLOCKS) >> 12).to(tl.int64).to(tl.float64) + 0.5) * (2.0**-52)
    else:
        u = ((narrow(key, counter, BLOCKS) >> 9).to(tl.int32).to(tl.float32) + 0.5) * (2.0**-23)
    return u


@triton.jit
def normals(key, counter, DOUBLE: tl.constexpr, BLOCKS: tl.constexpr):
    """Standard normal by Box and Muller: elements 2k and 2k+1 from one radius and one angle."""
    w0, w1, w2, w3 = program_words(key, counter, BLOCKS)
    if DOUBLE:
        first, second = tl.interleave(w0, w2), tl.interleave(w1, w3)
        u = ((first >> 11).to(tl.int64) + 1).to(tl.float64) * (2.0**-53)
        turn = (second >> 11).to(tl.int64).to(tl.float64) * (2.0**-53)
    else:
        w = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))
        u = w.to(tl.uint32).to(tl.float32) * (2.0**-32) + (2.0**-33)
        turn = (w >> 40).to(tl.int32).to(tl.float32) * (2.0**-24)
    radius = tl.sqrt(-2 * tl.log(u))
    cos, sin = turned(turn, DOUBLE)
    return tl.interleave(radius * cos, radius * sin)


@triton.jit(do_not_specialize=PLAIN)
def sample_kernel(
    y_ptr, n, key, counter, scale, shift,
    KIND: tl.constexpr, SIZE: tl.constexpr, EVEN: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """scale * s + shift, with s of the distribution KIND, made of SIZE-bit uniform numbers."""
    DOUBLE: tl.constexpr = SIZE == 53
    if KIND == "uniform":
        y = unit(key, counter, SIZE, BLOCKS) * scale + shift
    elif KIND == "normal":
        y = normals(key, counter, DOUBLE, BLOCKS) * scale + shift
    elif KIND == "log_normal":
        y = tl.exp(normals(key, counter, DOUBLE, BLOCKS) * scale + shift)
    elif KIND == "cauchy":
        angle = (open_unit(key, counter, DOUBLE, BLOCKS) - 0.5) * 3.141592653589793
        y = tl.sin(angle) / tl.cos(angle) * scale + shift
    elif KIND == "exponential":
        y = tl.log(open_unit(key, counter, DOUBLE, BLOCKS)) * scale
    else:
        y = tl.ceil(tl.log(open_unit(key, counter, DOUBLE, BLOCKS)) * scale)
    N: tl.constexpr = (4 if DOUBLE else 8) * BLOCKS
    offs = program_offsets(N)
    put(y_ptr, y, offs, n, EVEN)


@triton.jit(do_not_specialize=PLAIN)
def integers_kernel(
    y_ptr, n, key, counter, low, span, BITS: tl.constexpr, EVEN: tl.constexpr, BLOCKS: tl.constexpr
):
    """low + the upper half of span * (BITS random bits)."""
    if BITS == 32:
        N: tl.constexpr = 8 * BLOCKS
        y = (narrow(key, counter, BLOCKS).to(tl.uint64) * word(span)) >> 32
    else:
        N: tl.constexpr = 4 * BLOCKS
        y = umulhi(wide(key, counter, BLOCKS), word(span))
    y = (y + word(low)).to(tl.int64)
    offs = program_offsets(N)
    put(y_ptr, y, offs, n, EVEN)


@triton.jit(do_not_specialize=PLAIN)
def bernoulli_kernel(
    y_ptr, p_ptr, n, key, counter, threshold,
    TENSOR: tl.constexpr, EVEN: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """1 where 32 random bits are below p * 2^32: p by element, or ready as ``threshold``."""
    offs = program_offsets(8 * BLOCKS)
    bits = narrow(key, counter, BLOCKS)
    if TENSOR:
        p = take(p_ptr, offs, n, EVEN)
        if p_ptr.dtype.element_ty != tl.float64:
            p = p.to(tl.float32)
        y = bits.to(tl.float64) < tl.floor(p.to(tl.float64) * 4294967296.0 + 0.5)
    else:
        y = bits.to(tl.uint64) < word(threshold)
    put(y_ptr, y.to(tl.int8), offs, n, EVEN)


@triton.jit(do_not_specialize=PLAIN)
def keys_kernel(y_ptr, n, key, counter, mask, EVEN: tl.constexpr, BLOCKS: tl.constexpr):
    """63 random bits whose lowest are the element's own index."""
    offs = program_offsets(4 * BLOCKS)
    y = (wide(key, counter, BLOCKS) >> 1).to(tl.int64) & ~tl.full((), mask, tl.int64)
    put(y_ptr, y | offs, offs, n, EVEN)


@triton.jit(do_not_specialize=PLAIN)
def low_bits_kernel(y_ptr, x_ptr, n, mask, BLOCK: tl.constexpr):
    """y = x & mask."""
    offs = program_offsets(BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)
    tl.store(y_ptr + offs, x & tl.full((), mask, tl.int64), mask=offs < n)


@triton.jit(do_not_specialize=PLAIN)
def cumulative_kernel(c_ptr, x_ptr, n, BLOCK: tl.constexpr):
    """c[row] = running sum of x[row] in float64; one program a row. Reads x once, writes c once."""
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros((), tl.float64)
    for start in range(0, n, BLOCK):
        offs = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * n + offs, mask=offs < n, other=0)
        x = (x if x_ptr.dtype.element_ty == tl.float64 else x.to(tl.float32)).to(tl.float64)
        tl.store(c_ptr + row * n + offs, tl.cumsum(x, 0) + total, mask=offs < n)
        total += tl.sum(x, 0)


@triton.jit
def search(c_ptr, n, target, EQUAL: tl.constexpr, STEPS: tl.constexpr):
    """How many of c[0:n] are below ``target`` (EQUAL: or equal to it)."""
    low = (target * 0).to(tl.int32)
    high = low + n
    for _ in range(STEPS):
        middle = (low + high) // 2
        open_ = low < high
        c = tl.load(c_ptr + middle, mask=open_, other=0)
        below = c <= target if EQUAL else c < target
        low = tl.where(open_ & below, middle + 1, low)
        high = tl.where(open_ & ~below, middle, high)
    return low


@triton.jit(do_not_specialize=PLAIN)
def draw_kernel(
    y_ptr, c_ptr, n, columns, samples, key, counter,
    STEPS: tl.constexpr, EVEN: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """y = the first index whose cumulative weight passes u * total; 4 * BLOCKS a program."""
    offs = program_offsets(4 * BLOCKS)
    mask = offs < n
    u = unit(key, counter, DOUBLE, BLOCKS)
    c_ptr += tl.where(mask, offs // samples, 0) * columns
    total = tl.load(c_ptr + columns - 1)
    last = search(c_ptr, columns, total, BELOW, STEPS)
    at = search(c_ptr, columns, u * total, UP_TO, STEPS)
    put(y_ptr, tl.minimum(at, last).to(tl.int64), offs, n, EVEN)


# ---- launches ------------------------------------------------------------------------------------


def blocks() -> int:
    """Philox blocks a program: 1024 words on a GPU, and few programs in the interpreter."""
    return 2048 if cuda.is_emulated() else 256


def contiguous(y: CudaArray) -> CudaArray:
    """``y``, or scratch of its shape where its strides have gaps: samples are row-major."""
    return y if is_contiguous(y) else cuda.empty(y.shape, y.dtype)


def finish(y: CudaArray, made: CudaArray) -> None:
    if made is not y:
        copy(y, made)


def launch(fn, y: CudaArray, per_block: int, *args, kernel: str = "", **constants) -> None:
    """Run a kernel that writes all of ``y``, ``per_block`` elements a Philox block.

    A tuner's choice comes first where ``kernel`` has one for this size.
    """
    count, made = blocks(), contiguous(y)
    if kernel:
        c = block_of(kernel, y.itemsize, (y.size,), per_block * count)
        count, constants["num_warps"] = c.block // per_block, c.num_warps
    cuda.launch(
        fn, (triton.cdiv(y.size, per_block * count),), made, *args, EVEN=y.size % 16 == 0,
        BLOCKS=count, **constants,
    )  # fmt: skip
    finish(y, made)


@kernel("_sample", "cuda")
def _sample(y, x, kind, a, b, key, counter):
    double = y.dtype == np.float64
    size = {"float64": 53, "float16": 11, "bfloat16": 8}.get(y.dtype.name, 24)
    scale, shift = {
        "uniform": lambda: (b - a, a),
        "exponential": lambda: (-1 / a, 0.0),
        "geometric": lambda: (1 / math.log1p(-a), 0.0),
    }.get(kind, lambda: (b, a))()
    number = np.float64 if double else float
    if kind != "uniform" and not double:
        size = 24  # computed in float32 and rounded
    launch(
        sample_kernel, y, 4 if double else 8, y.size, signed(key), signed(counter),
        number(scale), number(shift), KIND=kind, SIZE=size,
        num_warps=8 if kind == "cauchy" and not 90 <= machine().arch < 100 else 4,  # 8 spill there
    )  # fmt: skip


@kernel("_integers", "cuda")
def _integers(y, x, low, span, key, counter):
    bits = 32 if span <= 1 << 16 else 64
    launch(
        integers_kernel, y, 8 if bits == 32 else 4, y.size, signed(key), signed(counter),
        np.int64(low), signed(span), BITS=bits,
    )  # fmt: skip


@kernel("_bernoulli_number", "cuda")
def _bernoulli_number(y, x, p, key, counter):
    threshold = np.int64(math.floor(p * 2.0**32 + 0.5))
    launch(bernoulli_kernel, y, 8, y, y.size, signed(key), signed(counter), threshold, TENSOR=False)


@kernel("_bernoulli", "cuda")
def _bernoulli(y, x, p, key, counter):
    p = expand(p, y.shape)
    if not is_contiguous(p):
        fresh = cuda.empty(p.shape, p.dtype)
        copy(fresh, p)
        p = fresh
    launch(
        bernoulli_kernel, y, 8, p, y.size, signed(key), signed(counter), np.int64(0), TENSOR=True
    )


@kernel("_keys", "cuda")
def _keys(y, x, bits, key, counter):
    launch(keys_kernel, y, 4, y.size, signed(key), signed(counter), signed((1 << bits) - 1))


@kernel("_low_bits", "cuda")
def _low_bits(y, x, bits):
    block = 4 * blocks()
    grid = (triton.cdiv(y.size, block),)
    cuda.launch(low_bits_kernel, grid, y, x, y.size, signed((1 << bits) - 1), BLOCK=block)


@kernel("_draw", "cuda")
def _draw(y, x, num_samples, key, counter):
    rows, columns = x.shape
    made = contiguous(x)
    if made is not x:
        copy(made, x)
    c = cuda.empty(x.shape, np.dtype(np.float64))
    block = min(triton.next_power_of_2(max(columns, 1)), 4096)
    cuda.launch(cumulative_kernel, (rows,), c, made, columns, BLOCK=block)
    launch(
        draw_kernel, y, 4, c, y.size, columns, num_samples, signed(key), signed(counter),
        STEPS=columns.bit_length(),
    )  # fmt: skip
