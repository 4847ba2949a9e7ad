"""Kernels for the tests of compiling and launching, small enough to compile in a blink."""
# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false

import triton
import triton.language as tl


@triton.jit
def doubled(x):
    return x * 2


@triton.jit
def double_kernel(y_ptr, x_ptr, n, scale, BLOCK: tl.constexpr = 64, F: tl.constexpr = doubled):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)
    tl.store(y_ptr + offs, F(x) * scale, mask=offs < n)


@triton.jit
def broken_kernel(y_ptr, BLOCK: tl.constexpr):
    tl.store(y_ptr + tl.arange(0, BLOCK), 0)


@triton.jit
def described_kernel(y_ptr, x_ptr, rows, columns, stride_xm, BLOCK: tl.constexpr = 64):
    """Reads x through a descriptor that it makes itself, in global scratch."""
    x = tl.make_tensor_descriptor(x_ptr, [rows, columns], [stride_xm, 1], [BLOCK, BLOCK])
    tile = x.load([tl.program_id(0) * BLOCK, 0])
    offs = tl.arange(0, BLOCK)
    tl.store(y_ptr + offs[:, None] * BLOCK + offs[None, :], tile)
