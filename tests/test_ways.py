"""Pointwise ops on the CPU: sizes take different ways and give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.short import FAST

rng = np.random.default_rng(0)

ROWS, COLUMNS = 5 * (FAST // 192), 193  # five times as many elements as the short way takes

ONE = ["exp", "tanh", "sqrt", "neg", "floor", "isnan", "signbit", "sigmoid", "erf"]
TWO = ["add", "sub", "mul", "div", "maximum", "minimum", "gt", "eq", "atan2", "pow", "fmod"]


def by_rows(op, *operands):
    """The op a row at a time, which is the way of small arrays."""
    rows = range(operands[0].shape[0])
    call = [[t[i] if isinstance(t, tgrad.Tensor) else t for t in operands] for i in rows]
    return tgrad.stack([op(*row) for row in call])


def check(op, *operands):
    y, want = op(*operands), by_rows(op, *operands)
    assert y.dtype is want.dtype and y.shape == want.shape
    np.testing.assert_array_equal(y.numpy(), want.numpy())


def tensor(dtype, strided=False):
    shape = (COLUMNS, ROWS) if strided else (ROWS, COLUMNS)
    x = tgrad.tensor(rng.uniform(0.1, 2, shape), dtype=dtype)
    return x.t() if strided else x


@pytest.mark.parametrize("dtype", [tgrad.float32, tgrad.float64])
@pytest.mark.parametrize("name", ONE)
def test_middle_sizes_give_what_small_ones_give(name, dtype):
    check(getattr(tgrad, name), tensor(dtype))
    check(getattr(tgrad, name), tensor(dtype, strided=True))


@pytest.mark.parametrize("dtype", [tgrad.float32, tgrad.float64])
@pytest.mark.parametrize("name", TWO)
def test_middle_sizes_of_two_operands_give_what_small_ones_give(name, dtype):
    op, x, z = getattr(tgrad, name), tensor(dtype), tensor(dtype)
    check(op, x, z)
    check(op, x, tensor(dtype, strided=True))
    check(op, tensor(dtype, strided=True), z)
    if name not in ("maximum", "minimum", "atan2"):
        check(op, x, 0.7)
        check(op, x, 2)


def test_middle_sizes_are_recorded_and_write_over_nothing():
    x = tensor(tgrad.float32).requires_grad_()
    before = x.detach().clone()
    y = x.exp() * x
    y.sum().backward()
    np.testing.assert_array_equal(x.detach().numpy(), before.numpy())
    np.testing.assert_allclose(x.grad.numpy(), (y + y / x).detach().numpy(), rtol=1e-5)


def test_an_operand_that_is_also_the_other_is_read_twice():
    x = tensor(tgrad.float32)
    np.testing.assert_array_equal((x + x).numpy(), 2 * x.numpy())
