"""The adaptive softmax against torch."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")


def pair(**options):
    theirs, ours = (
        lib.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], 2.0, **options).double()
        for lib in (torch, tgrad)
    )
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return theirs, ours


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("targets", [[0, 7, 3, 11, 2, 5], [1, 0, 2, 2, 1, 0]])
def test_losses_and_gradients_agree(targets, device: str):
    theirs, ours = pair(head_bias=True)
    ours.to(device)
    a = np.random.default_rng(0).standard_normal((6, 8))
    x, z = tgrad.tensor(a, device=device).requires_grad_(), torch.tensor(a, requires_grad=True)
    y, want = ours(x, tgrad.tensor(targets, device=device)), theirs(z, torch.tensor(targets))
    assert y._fields == want._fields
    for got, wanted in zip(y, want, strict=True):
        np.testing.assert_allclose(got.detach().cpu().numpy(), wanted.detach().numpy(), atol=1e-10)
    y.loss.backward()
    want.loss.backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), z.grad.numpy(), atol=1e-10)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if q.grad is not None:
            np.testing.assert_allclose(p.grad.cpu().numpy(), q.grad.numpy(), atol=1e-10)


def test_probabilities_and_predictions_agree():
    theirs, ours = pair()
    a = np.random.default_rng(1).standard_normal((40, 8)) * 3
    x, z = tgrad.tensor(a), torch.tensor(a)
    np.testing.assert_allclose(
        ours.log_prob(x).detach().numpy(), theirs.log_prob(z).detach().numpy(), atol=1e-10
    )
    assert ours.log_prob(x).exp().sum(1).tolist() == pytest.approx([1] * 40)
    assert ours.predict(x).tolist() == theirs.predict(z).tolist()
    assert len(set(ours.predict(x).tolist())) > 3
    one, wanted = ours(x[0], tgrad.tensor(9)), theirs(z[0], torch.tensor(9))
    assert one.output.shape == () and one.loss.item() == pytest.approx(wanted.loss.item())
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert twin.predict(x).tolist() == ours.predict(x).tolist()


@pytest.mark.parametrize("lib", [tgrad, torch])
def test_wrong_cutoffs_and_targets_raise(lib):
    make = lib.nn.AdaptiveLogSoftmaxWithLoss
    for cutoffs in ([], [3, 2], [0, 3], [3, 12], [3, 3], [2.5]):
        with pytest.raises(ValueError, match="cutoffs should be a sequence"):
            make(8, 12, cutoffs)
    layer, x = make(8, 12, [3]), lib.ones(2, 8)
    for wrong in ([0, 12], [-1, 2], [0], [[0, 1]], 3):
        with pytest.raises(RuntimeError):
            layer(x, lib.tensor(wrong))
