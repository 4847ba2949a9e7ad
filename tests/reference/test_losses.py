"""Losses of sequences, margins and likelihoods against torch, as layers and functions."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")


def same(ours, theirs, bound: float = 1e-10) -> None:
    a, b = ours.detach().cpu().numpy(), theirs.detach().numpy()
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


def call(lib, given, device="cpu"):
    return [lib.tensor(a, **({"device": device} if lib is tgrad else {}))
            if isinstance(a, np.ndarray) else a for a in given]  # fmt: skip


LABELS = np.array([[3, 0, -1, 1], [1, -1, 0, 0], [-1, 2, 2, 2]])
R = np.random.default_rng(0)
X, Y = R.standard_normal((2, 3, 4))
POSITIVE = R.uniform(0.1, 3, (3, 4))

LAYERS = {
    "gaussian": (lambda lib: lib.nn.GaussianNLLLoss(full=True), (X, Y, POSITIVE)),
    "gaussian none": (
        lambda lib: lib.nn.GaussianNLLLoss(eps=1.0, reduction="none"), (X, Y, POSITIVE[:, 0])),
    "gaussian float": (lambda lib: lib.nn.GaussianNLLLoss(), (X, Y, 0.3)),
    "poisson": (lambda lib: lib.nn.PoissonNLLLoss(full=True), (X, POSITIVE)),
    "poisson rate": (
        lambda lib: lib.nn.PoissonNLLLoss(False, eps=0.1, reduction="sum"), (POSITIVE, Y)),
    "multi margin": (lambda lib: lib.nn.MultiMarginLoss(2, 0.5), (X, np.array([3, 0, 1]))),
    "multi margin weight": (
        lambda lib: lib.nn.MultiMarginLoss(weight=lib.tensor(POSITIVE[0]), reduction="sum"),
        (X, np.array([3, 0, 1]))),
    "multi label": (lambda lib: lib.nn.MultiLabelMarginLoss(), (X, LABELS)),
    "multi label none": (lambda lib: lib.nn.MultiLabelMarginLoss(reduction="none"), (X, LABELS)),
    "multi label row": (lambda lib: lib.nn.MultiLabelMarginLoss(), (X[0], LABELS[0])),
    "soft": (lambda lib: lib.nn.MultiLabelSoftMarginLoss(), (X, (Y > 0) * 1.0)),
    "soft weight": (
        lambda lib: lib.nn.MultiLabelSoftMarginLoss(lib.tensor(POSITIVE[0]), reduction="none"),
        (X, (Y > 0) * 1.0)),
    "triplet": (lambda lib: lib.nn.TripletMarginWithDistanceLoss(swap=True, margin=3.0),
                (X, Y, POSITIVE)),
    "triplet own": (
        lambda lib: lib.nn.TripletMarginWithDistanceLoss(
            distance_function=lambda a, b: (a - b).abs().sum(-1), reduction="none"),
        (X, Y, POSITIVE)),
}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", LAYERS)
def test_losses_agree(name: str, device: str):
    make, given = LAYERS[name]
    theirs, ours = make(torch), make(tgrad).to(device)
    assert repr(ours) == repr(theirs)
    assert {k for k in vars(theirs) if k[0] != "_"} == {k for k in vars(ours) if k[0] != "_"}
    assert list(ours.state_dict()) == list(theirs.state_dict())
    xs, zs = call(tgrad, given, device), call(torch, given)
    y, want = ours(xs[0].requires_grad_(), *xs[1:]), theirs(zs[0].requires_grad_(), *zs[1:])
    same(y, want)
    y.sum().backward()
    want.sum().backward()
    same(xs[0].grad, zs[0].grad)
    if name != "triplet own":  # a lambda does not pickle
        for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            same(twin(*xs), want)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("trial", range(8))
def test_ctc_agrees(trial: int, device: str):
    rng = np.random.default_rng(trial)
    frames, batch, classes, longest = (int(v) for v in rng.integers((1, 1, 2, 1), (12, 5, 6, 6)))
    logs = rng.standard_normal((frames, batch, classes))
    blank = int(rng.integers(0, classes))
    inputs = rng.integers(0 if trial % 3 == 0 else 1, frames + 1, batch)
    sizes = rng.integers(0, longest + 1, batch)
    targets = rng.integers(0, classes, (batch, longest))
    targets[targets == blank] = (blank + 1) % classes
    if trial % 2:
        targets = np.concatenate([targets[n, : sizes[n]] for n in range(batch)])
    for reduction in ("none", "sum", "mean"):
        options = {"blank": blank, "reduction": reduction, "zero_infinity": bool(trial & 2)}
        theirs, ours = torch.nn.CTCLoss(**options), tgrad.nn.CTCLoss(**options)
        assert repr(ours) == repr(theirs)
        z, x = torch.tensor(logs), tgrad.tensor(logs, device=device)
        want = theirs(z.requires_grad_(), *call(torch, (targets, inputs, sizes)))
        y = ours(x.requires_grad_(), *call(tgrad, (targets, inputs, sizes)))
        same(y, want)
        g = rng.standard_normal(tuple(want.shape))
        want.backward(torch.tensor(g))
        y.backward(tgrad.tensor(g, device=device))
        same(x.grad, z.grad, 1e-9)
