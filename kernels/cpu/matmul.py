"""Matrix products through NumPy's BLAS: views that BLAS can read are never copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgrad.dispatch import kernel
from tgrad.runtime import memory
from tgrad.runtime.array import as_strided, expand, reshape_strides
from tgrad.runtime.quiet import quiet

CONVERTED = 1 << 22  # elements of half-precision matrices held in float32 at a time
BLOCK = 512  # rows and columns below which such a product is not split further
EXACT = 2.0**53  # float64 holds every integer up to here
FOLDED_ROWS = 64  # batched matrices of fewer rows are copied where only a copy makes them one

FLOAT = np.dtype(np.float32)
DOUBLE = np.dtype(np.float64)


def is_blas(a: np.ndarray) -> bool:
    """Whether BLAS can read the matrices: unit stride on one axis, no overlap on the other."""
    s0, s1 = a.strides[-2:]
    m, n = a.shape[-2:]
    item = a.itemsize
    return (s1 == item and s0 >= n * item and s0 % item == 0) or (
        s0 == item and s1 >= m * item and s1 % item == 0
    )


def packed(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A dense copy in ``dtype``, columns first where ``a`` has them so.

    Batch axes that were broadcast get size 1, to be broadcast again by the product.
    """
    shown = a[tuple(slice(0, 1) if s == 0 else slice(None) for s in a.strides[:-2])]
    if abs(a.strides[-2]) < abs(a.strides[-1]):
        shown = shown.swapaxes(-1, -2)
        out = memory.empty(shown.shape, dtype)
        np.copyto(out, shown)
        return out.swapaxes(-1, -2)
    out = memory.empty(shown.shape, dtype)
    np.copyto(out, shown)
    return out


def fold(a: np.ndarray) -> np.ndarray | None:
    """(..., M, K) as one matrix of all rows; None where strides forbid it."""
    shape = (a.size // a.shape[-1], a.shape[-1])
    if a.flags.c_contiguous:
        return a.reshape(shape)
    strides = reshape_strides(a.shape, a.strides, shape, a.itemsize)
    return None if strides is None else as_strided(a, shape, strides)  # pyright: ignore[reportReturnType]


def product(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """y = a @ b for matrices of float32, float64 or complex; batch axes broadcast."""
    a = a if is_blas(a) else packed(a, a.dtype)
    b = b if is_blas(b) else packed(b, b.dtype)
    np.matmul(a, b, out=y)


def integer_product(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """y = a @ b modulo 2^bits, by float64's BLAS where no sum can leave its exact range.

    256 x 256 x 256 int64: 27 ms in NumPy's loops, 0.9 ms so (AMD Zen 4, 2026-12).
    """
    k = a.shape[-1]
    if y.size * k < 32**3 or magnitude(a) * magnitude(b) * k > EXACT:
        np.matmul(a, b, out=y)
        return
    wide = memory.empty(y.shape, DOUBLE)
    np.matmul(packed(a, DOUBLE), packed(b, DOUBLE), out=wide)
    np.copyto(y, wide.astype(np.int64), casting="unsafe")


def magnitude(a: np.ndarray) -> float:
    return max(abs(float(a.max())), abs(float(a.min())))


def finish(y: np.ndarray, p: np.ndarray, alpha: Any, beta: Any, c: np.ndarray | None) -> None:
    """y = alpha * p + beta * c; p may be y, and is overwritten."""
    if p.dtype.kind in "iu":
        alpha, beta = (np.asarray(int(v)).astype(p.dtype) for v in (alpha, beta))
    if alpha != 1:
        np.multiply(p, alpha, out=p)
    if c is not None:
        np.add(p, c if beta == 1 else c.astype(p.dtype) * beta, out=p, casting="unsafe")
    if p is not y:
        np.copyto(y, p, casting="unsafe")


def half_product(
    y: np.ndarray, a: np.ndarray, b: np.ndarray, alpha: Any, beta: Any, c: np.ndarray | None
) -> None:
    """``gemm`` for float16 and bfloat16: in float32 and rounded once, a block at a time."""
    if a.size + b.size + y.size > CONVERTED:
        if y.ndim > 2 and y.shape[0] == 1:
            a, b = (x[0] if x.ndim == y.ndim else x for x in (a, b))
            return half_product(y[0], a, b, alpha, beta, None if c is None else c[0])
        m, n = y.shape[-2:]
        axis = 0 if y.ndim > 2 else -2 if m >= n else -1
        length = y.shape[axis]
        if y.ndim > 2 or length > BLOCK:
            for part in (slice(0, length // 2), slice(length // 2, length)):
                pick = (
                    (part,)
                    if axis == 0
                    else (..., part, slice(None))
                    if axis == -2
                    else (..., part)
                )
                half_product(
                    y[pick],
                    a[pick] if axis == -2 or (axis == 0 and has_axis(a, y)) else a,
                    b[pick] if axis == -1 or (axis == 0 and has_axis(b, y)) else b,
                    alpha,
                    beta,
                    None if c is None else c[pick],
                )
            return None
    p = memory.empty(y.shape, FLOAT)
    np.matmul(packed(a, FLOAT), packed(b, FLOAT), out=p)
    return finish(y, p, alpha, beta, c)


def has_axis(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether ``x`` runs along y's first batch axis, and is not broadcast along it."""
    return x.ndim == y.ndim and x.shape[0] > 1


def gemm(
    y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    alpha: Any = 1,
    beta: Any = 0,
    c: np.ndarray | None = None,
) -> None:
    """y = alpha * a @ b + beta * c for a (..., M, K), b (..., K, N); batch axes and c broadcast.

    With c's memory being y's (the in-place forms) the product goes to scratch first.
    """
    if y.size == 0:
        return
    if beta == 0:
        c = None
    if c is not None:
        c = expand(c, y.shape)  # pyright: ignore[reportAssignmentType]
    if a.shape[-1] == 0:
        finish(y, np.zeros(y.shape, y.dtype), alpha, beta, c)
        return
    if a.ndim > 2 and b.ndim == 2 and y.flags.c_contiguous:
        a2, c2 = fold(a), None if c is None else fold(c)
        if a2 is None and a.shape[-2] <= FOLDED_ROWS:
            a2 = packed(np.ascontiguousarray(a), a.dtype).reshape(-1, a.shape[-1])
        if a2 is not None and (c is None or c2 is not None):
            y, a, c = y.reshape(-1, y.shape[-1]), a2, c2
    kind = y.dtype
    if kind.itemsize == 2 and kind.kind not in "iu":
        half_product(y, a, b, alpha, beta, c)
        return
    direct = y.flags.c_contiguous and (c is None or not np.may_share_memory(c, y))
    p = y if direct else memory.empty(y.shape, kind)
    (integer_product if kind.kind in "iu" else product)(p, a, b)
    if alpha != 1 or c is not None or p is not y:
        finish(y, p, alpha, beta, c)


def as_matrices(
    y: np.ndarray, x: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views by ``matmul``'s rule: a 1-D x is a row, a 1-D other a column."""
    if other.ndim == 1:
        y, other = y[..., None], other[:, None]
    if x.ndim == 1:
        y, x = y[..., None, :], x[None]
    return y, x, other


@kernel("matmul", "cpu")
def matmul(y, x, other):
    if (
        y.dtype.char in "fd"
        and x.ndim <= 2
        and other.ndim <= 2
        and x.flags.forc
        and other.flags.forc
    ):
        quiet.run(np.matmul, x, other, y)  # also the 1-D cases, by BLAS's dot and gemv
    else:
        quiet.run(gemm, *as_matrices(y, x, other))


@kernel("addmm", "cpu")
def addmm(y, x, mat1, mat2, beta=1, alpha=1):
    quiet.run(gemm, y, mat1, mat2, alpha, beta, x)


@kernel("baddbmm", "cpu")
def baddbmm(y, x, batch1, batch2, beta=1, alpha=1):
    quiet.run(gemm, y, batch1, batch2, alpha, beta, x)


@kernel("linear", "cpu")
def linear(y, x, weight, bias=None):
    if (
        y.dtype.char in "fd"
        and y.size
        and x.size
        and weight.ndim == 2
        and x.flags.c_contiguous
        and weight.flags.forc
        and (bias is None or bias.ndim <= 1)
    ):
        rows = y.reshape(-1, y.shape[-1])
        quiet.run(np.matmul, x.reshape(-1, x.shape[-1]), weight.T, rows)
        if bias is not None:
            quiet.run(np.add, rows, bias, rows)
        return
    if bias is not None:
        bias = expand(bias, y.shape)
    if weight.ndim == 1:
        y, weight = y[..., None], weight[None]
        bias = None if bias is None else bias[..., None]
    if x.ndim == 1:
        y, x = y[None], x[None]
        bias = None if bias is None else bias[None]
    quiet.run(gemm, y, x, weight.T, 1, 0 if bias is None else 1, bias)
