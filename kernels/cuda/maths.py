"""What ``xp`` means in a Triton kernel: ``triton.language``, and what that lacks."""

from __future__ import annotations

import triton
import triton.language as tl

# Every name is a function of our own: the interpreter patches ``tl.exp``, not a name imported from tl.


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y)


@triton.jit
def where(condition, x, y):
    return tl.where(condition, x, y)


@triton.jit
def sqrt(x):
    """Correctly rounded, as IEEE and NumPy have it; ``tl.sqrt`` is approximate."""
    return tl.sqrt_rn(x) if x.dtype.is_fp32() else tl.sqrt(x)


@triton.jit
def tanh(x):
    e = tl.exp(-2 * tl.abs(x))
    t = (1 - e) / (1 + e)
    return tl.where(x < 0, -t, t)


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def div(x, y):
    return x / y


@triton.jit
def identity(x):
    return x


@triton.jit
def to(x, T: tl.constexpr):
    """x converted to T. To bfloat16 by way of float32: the interpreter gets the direct way wrong."""
    if T == tl.bfloat16:
        x = x.to(tl.float32)
    return x.to(T)
