"""The loss of connectionist temporal classification: gradients, padding, infinite losses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F
from tgrad import nn

DEVICES = pytest.mark.parametrize("device", ["cpu", "cuda"])
TARGETS, INPUTS, SIZES = [[1, 2, 2], [3, 3, 0], [2, 0, 0]], (6, 5, 4), (3, 2, 1)


def scores(seed: int = 0, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape or (6, 3, 4))


@DEVICES
def test_gradient_through_log_softmax_matches_finite_differences(device: str):
    a, weights = scores(), tgrad.tensor([1.0, -2.0, 0.5], dtype=tgrad.float64, device=device)

    def loss(x: tgrad.Tensor) -> tgrad.Tensor:
        y = F.ctc_loss(
            x.log_softmax(2), tgrad.tensor(TARGETS, device=device), INPUTS, SIZES, 0, "none"
        )
        return (y * weights).sum()

    x = tgrad.tensor(a, device=device, requires_grad=True)
    loss(x).backward()
    for seed in range(3 if device == "cpu" else 1):
        d = scores(10 + seed)
        e = 1e-5
        up, down = (loss(tgrad.tensor(a + s * e * d, device=device)).item() for s in (1, -1))
        got = float((x.grad.cpu().numpy() * d).sum())
        assert got == pytest.approx((up - down) / (2 * e), rel=1e-6, abs=1e-8)
    assert x.grad is not None
    assert (x.grad[4:, 2] == 0).all() and (x.grad[5:, 1] == 0).all()


def test_the_probabilities_of_all_targets_add_up_to_one():
    """Every path spells exactly one target, so the targets of up to T labels share all of it."""
    x = tgrad.tensor(scores(1, 4, 1, 3)).log_softmax(2)
    total = 0.0
    for length in range(5):
        for labels in itertools.product([1, 2], repeat=length):
            target = tgrad.tensor([labels], dtype=tgrad.int64).reshape(1, length)
            total += (-F.ctc_loss(x, target, (4,), (length,), reduction="sum")).exp().item()
    assert total == pytest.approx(1, abs=1e-12)


@DEVICES
def test_a_target_without_room_is_infinite_or_dropped(device: str):
    x = tgrad.tensor(scores(), device=device).log_softmax(2).detach().requires_grad_()
    target = tgrad.tensor(TARGETS, device=device)
    short = (3, 5, 4)  # the first target has a repeat and needs 4 frames
    y = F.ctc_loss(x, target, short, SIZES, reduction="none")
    assert y[0].item() == float("inf") and y[1:].isfinite().all()
    (g,) = tgrad.autograd.grad(y.sum(), x)
    assert g[:3, 0].isnan().all() and g[:, 1:].isfinite().all() and (g[3:, 0] == 0).all()
    y = F.ctc_loss(x, target, short, SIZES, reduction="none", zero_infinity=True)
    assert y[0].item() == 0
    (g,) = tgrad.autograd.grad(y.sum(), x)
    assert (g[:, 0] == 0).all() and (g[:5, 1] != 0).any()


@DEVICES
def test_frames_that_cannot_emit_a_label_leave_its_loss_infinite_not_nan(device: str):
    a = np.full((4, 1, 3), -np.inf)
    a[:, 0, 0] = 0  # only blanks
    x = tgrad.tensor(a, device=device)
    target = tgrad.tensor([[1]], device=device)
    assert F.ctc_loss(x, target, (4,), (1,), reduction="sum").item() == float("inf")
    assert F.ctc_loss(x, target, (4,), (0,), reduction="sum").item() == 0


@DEVICES
def test_a_long_sequence_stays_accurate(device: str):
    frames = 60 if device == "cuda" else 2000
    x = tgrad.full((frames, 1, 2), float(np.log(0.5)), device=device)
    y = F.ctc_loss(x, tgrad.tensor([[1]], device=device), (frames,), (1,), reduction="sum")
    # The label's run of frames: any first and last frame.
    want = frames * np.log(2) - np.log(frames * (frames + 1) / 2)
    assert y.item() == pytest.approx(want, rel=1e-5)  # a rounding a frame


def test_labels_out_of_range_raise_on_the_cpu_and_are_nan_on_a_gpu():
    x = tgrad.zeros(5, 2, 3)
    wrong, sizes = tgrad.tensor([[1, 3], [1, 9]]), (2, 1)
    with pytest.raises(IndexError, match="label 3 is out of bounds for 3 classes"):
        F.ctc_loss(x, wrong, (5, 5), sizes)
    y = F.ctc_loss(x.to("cuda"), wrong.to("cuda"), (5, 5), sizes, reduction="none").cpu()
    assert np.isnan(y[0].item()) and np.isfinite(y[1].item())


def test_double_backward_says_that_it_is_absent():
    x = tgrad.tensor(scores()).log_softmax(2).detach().requires_grad_()
    y = F.ctc_loss(x, tgrad.tensor(TARGETS), INPUTS, SIZES)
    (g,) = tgrad.autograd.grad(y, x, create_graph=True)
    with pytest.raises(RuntimeError, match="ctc_loss_backward is not implemented"):
        g.sum().backward()


@DEVICES
def test_a_model_learns_to_spell(device: str):
    tgrad.manual_seed(0)
    x = tgrad.randn(8, 1, 5, device=device)
    layer = nn.Linear(5, 4, device=device)
    optimiser = tgrad.optim.Adam(layer.parameters(), lr=0.1)
    target, loss = tgrad.tensor([[1, 3, 2]], device=device), nn.CTCLoss()
    before = after = None
    for _ in range(12 if device == "cpu" else 4):
        optimiser.zero_grad()
        after = loss(layer(x).log_softmax(2), target, (8,), (3,))
        before = before or after.item()
        after.backward()
        optimiser.step()
    assert (
        after is not None
        and before is not None
        and after.item() < before * (0.4 if device == "cpu" else 0.9)
    )
