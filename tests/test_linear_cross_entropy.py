"""The loss of a linear layer's outputs in parts of the rows: memory, options, dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn import functional as F

ROWS, FEATURES, CLASSES = 512, 64, 2048


def inputs(dtype=tgrad.float32):
    tgrad.manual_seed(1)
    x = tgrad.randn(ROWS, FEATURES).to(dtype).requires_grad_()
    w = (tgrad.randn(CLASSES, FEATURES) * 0.1).to(dtype).requires_grad_()
    return x, w, tgrad.randint(0, CLASSES, (ROWS,))


def run(options, dtype=tgrad.float32):
    """(loss, gradients, peak of memory in bytes above what was there before)."""
    x, w, target = inputs(dtype)
    tgrad.cpu.reset_peak_memory_stats()
    before = tgrad.cpu.memory_allocated()
    loss = F.linear_cross_entropy(x, w, target, options=options)
    loss.backward()
    return loss.detach(), x.grad, w.grad, tgrad.cpu.max_memory_allocated() - before


def test_logits_never_exist_whole():
    logits = ROWS * CLASSES * 4
    *want, whole = run(None)
    *got, parts = run(nn.LinearCrossEntropyOptions(batch_chunk_size=32))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
    assert whole >= 2 * logits  # they and their gradient
    weights = 2 * CLASSES * FEATURES * 4  # the weight's gradient and a part's share of it
    assert parts < weights + ROWS * FEATURES * 4 + 4 * 32 * CLASSES * 4


@pytest.mark.parametrize("policy, bound", [("accurate", 1e-2), ("balanced", 3e-2),
                                           ("compact", 6e-2), ("auto", 1e-2)])  # fmt: skip
def test_half_dtypes_sum_as_their_policy_says(policy: str, bound: float):
    x, w, target = inputs(tgrad.bfloat16)
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    F.linear_cross_entropy(*wide, target).backward()
    loss, dx, dw, _ = run(nn.LinearCrossEntropyOptions(acc_policy=policy), tgrad.bfloat16)
    assert loss.dtype is dx.dtype is dw.dtype is tgrad.bfloat16
    for got, want in ((dx, wide[0].grad), (dw, wide[1].grad)):
        assert (got.double() - want).norm() < bound * want.norm()


def test_backward_may_be_repeated():
    x, w, target = inputs()
    loss = F.linear_cross_entropy(x, w, target, options=nn.LinearCrossEntropyOptions())
    loss.backward(retain_graph=True)
    once = w.grad.clone()
    loss.backward()
    np.testing.assert_allclose(w.grad, 2 * once, rtol=1e-6)


@pytest.mark.parametrize("method, rows", [
    ("aspect_ratio", 16), ("aspect_ratio:2", 8), ("aspect_ratio:100", 1), ("auto", 8),
])  # fmt: skip
def test_rows_at_a_time_follow_the_method(method: str, rows: int):
    options = nn.LinearCrossEntropyOptions(chunking_method=method)
    assert options.rows(tgrad.empty(ROWS, FEATURES), CLASSES) == rows


@pytest.mark.parametrize("options, match", [
    ({"acc_policy": "best"}, "acc_policy: 'best'"), ({"chunking_method": "x"}, "'x'"),
    ({"chunking_method": "aspect_ratio:0"}, "aspect_ratio:0"), ({"batch_chunk_size": 0}, "got 0"),
    ({"acc_dtype": tgrad.int64}, "floating dtype"),
])  # fmt: skip
def test_wrong_options_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        nn.LinearCrossEntropyOptions(**options)


def test_two_ways_to_say_the_rows_must_agree():
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=3, chunking_method="aspect_ratio")
    with pytest.raises(ValueError, match="3 vs 16"):
        options.rows(tgrad.empty(ROWS, FEATURES), CLASSES)


def test_what_parts_cannot_do_is_done_at_once_with_a_warning():
    x, w, target = inputs()
    with pytest.warns(UserWarning, match="``options`` ignored"):
        y = F.linear_cross_entropy(
            x, w, target, label_smoothing=0.1, options=nn.LinearCrossEntropyOptions()
        )
    want = F.cross_entropy(F.linear(x, w), target, label_smoothing=0.1)
    assert tgrad.equal(y, want)


def test_the_layer_checks_its_arguments():
    with pytest.raises(RuntimeError, match=r"weight shape to be \(4,\), got \(3,\)"):
        nn.LinearCrossEntropyLoss(2, 4, weight=tgrad.ones(3))
    with pytest.raises(RuntimeError, match="label_smoothing to be in range"):
        nn.LinearCrossEntropyLoss(2, 4, label_smoothing=2)
