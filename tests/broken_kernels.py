"""Kernels that break one rule of the gate each, and their launches; run by tests/test_gate.py.

    TRITON_INTERPRET=0 python -m tests.broken_kernels

prints, as JSON, what the gate finds wrong with each.
"""
# Triton's stubs take no plain numbers for constexpr arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import json

import triton
import triton.language as tl

import tgrad
from tgrad.kernels.gate.rules import MATRIX
from tgrad.kernels.samples import Sample, t
from tgrad.runtime import cuda

N = 4096


@triton.jit
def good_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offs, tl.load(x_ptr + offs, mask=offs < n) * 2, mask=offs < n)


@triton.jit
def strided_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    """Neighbouring lanes read every other element of what lies contiguous."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + (offs * 2) % n, mask=offs < n)
    tl.store(y_ptr + offs, x, mask=offs < n)


@triton.jit
def narrow_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    """One operand is read wide, two as the strided kernel does."""
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs) + tl.load(x_ptr + (offs * 2) % n) + tl.load(x_ptr + (offs * 3) % n)
    tl.store(y_ptr + offs, x)


@triton.jit
def spilling_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    """One warp keeps four tiles that all meet in the end: more than its registers."""
    offs = tl.arange(0, BLOCK)
    a = tl.load(x_ptr + offs)
    b = tl.load(x_ptr + BLOCK + offs)
    c = tl.load(x_ptr + 2 * BLOCK + offs)
    d = tl.load(x_ptr + 3 * BLOCK + offs)
    for _ in range(n):
        a, b, c, d = a * b + c, b * c + d, c * d + a, d * a + b
    tl.store(y_ptr + offs, a * b + c * d)


@triton.jit
def sums_kernel(y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    """A matrix product that adds up products of its own: no tensor core sees it."""
    offs = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k in range(n):
        a = tl.load(a_ptr + offs * n + k).to(tl.float32)
        b = tl.load(b_ptr + k * n + offs).to(tl.float32)
        acc += a[:, None] * b[None, :]
    tl.store(y_ptr + offs[:, None] * n + offs[None, :], acc.to(y_ptr.dtype.element_ty))


@triton.jit
def tiles_kernel(y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    """A product whose pipeline of tiles is larger than shared memory."""
    offs = tl.arange(0, BLOCK)
    at = offs[:, None] * n + offs[None, :]
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for k in range(0, n, BLOCK):
        a = tl.load(a_ptr + at + k)
        b = tl.load(b_ptr + at + k * n)
        acc = tl.dot(a, b, acc)
    tl.store(y_ptr + at, acc.to(y_ptr.dtype.element_ty))


@triton.jit
def broken_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    tl.store(y_ptr + tl.arange(0, BLOCK), tl.load(x_ptr))  # of a width that is no power of two


def launching(kernel, grid: tuple[int, ...], operands: int, block: int, warps: int, stages: int):
    """A function of one tensor that launches ``kernel``, as an op would."""

    def call(x: tgrad.Tensor) -> tgrad.Tensor:
        y = tgrad.empty(x.shape, dtype=x.dtype, device=x.device)
        cuda.launch(
            kernel, grid, y.array, *[x.array] * operands, N, BLOCK=block, num_warps=warps,
            num_stages=stages,
        )  # fmt: skip
        return y

    return call


def samples() -> dict[str, Sample]:
    sums_kernel.__module__ = min(MATRIX)

    def sample(dtype: str, *launch) -> Sample:
        run = launching(*launch)
        return Sample("broken", "broken", (t(N, N),), {}, (dtype,), False, run=run)

    return {
        "good": sample("float32", good_kernel, (N,), 1, 1024, 4, 3),
        "strided": sample("float32", strided_kernel, (N,), 1, 1024, 4, 3),
        "narrow": sample("float32", narrow_kernel, (N,), 1, 1024, 4, 3),
        "spill": sample("float32", spilling_kernel, (1,), 1, 2048, 1, 3),
        "sums": sample("float16", sums_kernel, (1,), 2, 64, 4, 3),
        "tiles": sample("float16", tiles_kernel, (1,), 2, 128, 8, 8),
        "broken": sample("float32", broken_kernel, (1,), 1, 1000, 4, 3),
        "grid": sample("float32", good_kernel, (1, 70000), 1, 1024, 4, 3),
        "misaligned": Sample(
            "broken", "broken", (t(N, N, layout="misaligned"),), {}, ("float32",), False,
            run=launching(good_kernel, (N,), 1, 1024, 4, 3),
        ),
    }  # fmt: skip


def main() -> None:
    from tgrad.kernels.gate.report import judged
    from tgrad.kernels.gate.variants import variants

    names, work = [], []
    for name, sample in samples().items():
        found = variants([sample])
        assert len(found) == 1, name
        names.append(name)
        work += found
    rows = judged(work, jobs=1)
    print(json.dumps({n: r.failures for n, r in zip(names, rows, strict=True)}))


if __name__ == "__main__":
    main()
