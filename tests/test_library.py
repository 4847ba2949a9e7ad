"""User ops: declared in a file of one's own, checked like built-in ones."""

from __future__ import annotations

import numpy as np
import pytest
import triton
import triton.language as tl

import tgrad
from tgrad import library
from tgrad.library import Spec, gradient, kernel, launch, op, pointwise, xp
from tgrad.testing import check_op


@op
def wave(x: tgrad.Tensor, a: float = 1.0) -> Spec:
    """x + sin(a x)^2 / a (Ziyin et al. 2020, arXiv:2006.08195)."""
    return Spec(x.shape, x.dtype)


@kernel(wave, "cpu")
def wave_cpu(y, x, a):
    np.add(x, np.sin(a * x) ** 2 / a, out=y)


@triton.jit
def wave_kernel(y_ptr, x_ptr, n, a, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)
    s = tl.sin(x * a)
    tl.store(y_ptr + offs, x + s * s / a, mask=offs < n)


@kernel(wave, "cuda")
def wave_cuda(y, x, a):
    a = np.float64(a) if x.dtype == np.float64 else a
    launch(wave_kernel, (triton.cdiv(x.size, 256),), y, library.contiguous(x), x.size, a, BLOCK=256)


@gradient(wave)
def _(g, x, a):
    return g * (1 + (2 * a * x).sin())


@pointwise
def cubed(x):
    """x^3."""
    return x * x * x


@gradient(cubed)
def _(g, x):
    return g * 3 * x * x


def test_a_user_op_passes_every_check():
    check_op(wave, tgrad.randn(37, 19), a=0.7)
    check_op(cubed, tgrad.randn(5, 7))


def test_check_op_finds_a_wrong_kernel_and_a_wrong_gradient():
    @op
    def doubled(x: tgrad.Tensor) -> Spec:
        """2 x."""
        return Spec(x.shape, x.dtype)

    @kernel(doubled, "cpu")
    def _(y, x):
        np.multiply(x, 2, out=y)

    @kernel("doubled", "cuda")
    def _(y, x):
        copy = library.OPS["copy"].kernel("cuda")
        assert copy is not None
        copy(y, x)

    with pytest.raises(AssertionError, match="doubled on cuda"):
        check_op(doubled, tgrad.ones(3))

    @gradient(doubled)
    def _(g):
        return g

    with pytest.raises(RuntimeError, match="mismatch"):
        check_op(doubled, tgrad.ones(3), devices=("cpu",))
    library.unregister(doubled)


def test_a_name_can_be_taken_only_once():
    with pytest.raises(ValueError, match="already declared"):

        @pointwise
        def cubed(x):
            """x^3."""
            return x * x * x

    with pytest.raises(KeyError):
        kernel("no_such_op", "cpu")
    with pytest.raises(ValueError, match="tpu"):
        kernel(wave, "tpu")


def test_expressions_reach_the_namespace():
    @pointwise
    def clipped(x, low: float):
        """max(x, low)."""
        return xp.maximum(x, low)

    assert clipped(tgrad.tensor([-1.0, 2.0]), 0.5).tolist() == [0.5, 2.0]
    library.unregister(clipped)
