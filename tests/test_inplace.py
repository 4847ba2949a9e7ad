"""Every in-place form against its op: the same values in the same memory, the same gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest

import tgrad
from tests.table import Row, all_rows, assert_close, tensors

DEVICES = ("cpu", "cuda")
# Writes something other than what the op of the plain name returns.
OTHERWISE = {"uniform", "normal", "bernoulli", "exponential", "random", "cauchy", "geometric",
             "log_normal", "dropout", "alpha_dropout", "feature_alpha_dropout", "view"}  # fmt: skip
CASES = [
    pytest.param(row, sample, id=f"{row.name}_-{k}")
    for row in all_rows()
    if hasattr(tgrad.Tensor, row.name.rpartition(".")[2] + "_")
    and row.name.rpartition(".")[2] not in OTHERWISE
    for k, sample in enumerate(row.samples[:6])
]


@pytest.mark.parametrize("row, sample", CASES)
@pytest.mark.parametrize("device", DEVICES)
def test_in_place_equals_the_op(row: Row, sample, device: str):
    name = row.name.rpartition(".")[2]
    made = tensors(row, sample, device, grad=row.grad)
    first = made.args[0] if made.args else None
    if not isinstance(first, tgrad.Tensor) or "out" in made.kwargs:
        return
    want = row.function()(*made.args, **made.kwargs)
    fits = isinstance(want, tgrad.Tensor) and want.shape == first.shape
    if not fits or want.dtype is not first.dtype:
        return  # the result does not fit: dispatch's tests see that this raises
    x = first * 1 if first.requires_grad else first.clone()
    memory = x.data_ptr()
    method = getattr(x, name + "_")
    got = method(*made.args[1:], **made.kwargs)
    assert got is x and x.data_ptr() == memory
    assert_close(x, want, "float64", row.tolerance, row.name)
    assert x.requires_grad == want.requires_grad
    if want.requires_grad:
        leaves = [a for a in made.args if isinstance(a, tgrad.Tensor) and a.requires_grad]
        gs = tgrad.autograd.grad((x * x).sum(), leaves, allow_unused=True)
        ws = tgrad.autograd.grad((want * want).sum(), leaves, allow_unused=True)
        for g, w in zip(gs, ws, strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                assert_close(g, w, "float64", 10 * row.tolerance, f"{row.name} gradient")


def test_functions_of_the_top_level_write_in_place():
    x = tgrad.tensor([-1.0, 2.0])
    functions: Any = tgrad
    assert functions.abs_(x) is x and x.tolist() == [1.0, 2.0]
    assert functions.clamp_(x, max=1.5).tolist() == [1.0, 1.5]
    assert functions.fill_(x, 3).tolist() == [3.0, 3.0]
    assert functions.zero_(x).tolist() == [0.0, 0.0]
    assert not functions.detach(tgrad.ones(1, requires_grad=True) * 2).requires_grad
    assert x[tgrad.newaxis].shape == (1, 2)
    assert (tgrad.pi, tgrad.e, tgrad.inf) == (math.pi, math.e, math.inf) and math.isnan(tgrad.nan)
