"""Filling device memory with numbers and sequences. Nothing is read; the output is written once."""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl

from tgrad.dispatch import kernel
from tgrad.dtypes import Scalar, float32, from_numpy_dtype
from tgrad.kernels.cuda import maths, pointwise
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray


def identity(x):
    return x


@kernel("_fill", "cuda")
def _fill(y, x, value):
    dtype = from_numpy_dtype(y.dtype)
    if dtype.is_floating_point:
        dtype = float32 if dtype.itemsize == 2 else dtype
        value = float(value)
    else:  # as the dtype's own bits: -1 in uint8 is 255
        value = int(np.array(value if y.dtype.kind == "b" else int(value)).astype(y.dtype))
    pointwise.launch_expression(identity, [y], [Scalar(value, dtype)], dtype)


@triton.jit
def offsets(BLOCK: tl.constexpr):
    """The elements of this program, 64 bits wide."""
    return tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def arange_kernel(y_ptr, n, start, step, T: tl.constexpr, BLOCK: tl.constexpr):
    """y[i] = start + i * step, computed in T (int64 or float64)."""
    offs = offsets(BLOCK)
    first, width = tl.full((), start, T), tl.full((), step, T)
    y = first + offs.to(T) * width
    tl.store(y_ptr + offs, maths.to(y, y_ptr.dtype.element_ty), mask=offs < n)


@triton.jit
def linspace_kernel(
    y_ptr, n, start, end, d, log_base,
    POWER: tl.constexpr, NEGATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y[i] counted from the nearer end; with POWER the base to that power, in float64.

    A NEGATIVE base has real powers at whole numbers only.
    """
    offs = offsets(BLOCK)
    i = offs.to(tl.float64)
    y = tl.where((offs < n // 2) | (n == 1), start + i * d, end - (n - 1 - i) * d)
    if POWER:
        e = y
        y = tl.exp(tl.where(e == 0, 0.0, e * log_base))
        if NEGATIVE:
            odd = tl.floor(e) - 2 * tl.floor(e / 2) == 1
            y = tl.where(tl.floor(e) == e, tl.where(odd, -y, y), float("nan"))
    tl.store(y_ptr + offs, maths.to(y, y_ptr.dtype.element_ty), mask=offs < n)


@triton.jit
def eye_kernel(y_ptr, size, columns, BLOCK: tl.constexpr):
    """y = 1 where row and column agree, over the flat matrix."""
    offs = offsets(BLOCK)
    y = (offs // columns == offs % columns).to(tl.int8)
    tl.store(y_ptr + offs, maths.to(y, y_ptr.dtype.element_ty), mask=offs < size)


def grid(n: int, block: int) -> tuple[int, ...]:
    return (triton.cdiv(n, block),)


def block(y: CudaArray) -> int:
    """Elements of a program: 16 bytes a thread of the output, 1024 at least."""
    return 8192 if cuda.is_emulated() else max(1024, 2048 // y.itemsize)


@kernel("_arange", "cuda")
def _arange(y, x, start, step):
    whole = y.dtype.kind in "iu"
    number, wide = (int, tl.int64) if whole else (np.float64, tl.float64)
    cuda.launch(
        arange_kernel, grid(y.size, block(y)), y, y.size, number(start), number(step),
        T=wide, BLOCK=block(y),
    )  # fmt: skip


@kernel("_linspace", "cuda")
def _linspace(y, x, start, end, base):
    n = y.size
    d = (end - start) / max(n - 1, 1)
    power = base is not None
    log_base = math.log(abs(base)) if base else -math.inf
    cuda.launch(
        linspace_kernel, grid(n, block(y)), y, n, np.float64(start), np.float64(end),
        np.float64(d), np.float64(log_base), POWER=power, NEGATIVE=power and base < 0,
        BLOCK=block(y),
    )  # fmt: skip


@kernel("_eye", "cuda")
def _eye(y, x):
    cuda.launch(eye_kernel, grid(y.size, block(y)), y, y.size, y.shape[1], BLOCK=block(y))
