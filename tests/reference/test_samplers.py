"""Bags, bilinear forms, points of grids and Gumbel noise against torch."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")
MODES = [m for m in itertools.product(
    ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True), (2, 3))
    if m[0] != "bicubic" or m[3] == 2]  # fmt: skip


def both(call, arrays, grads, bound: float = 1e-9) -> None:
    """The call in both libraries: values, and gradients of the arrays at places ``grads``."""
    found = []
    for lib in (tgrad, torch):
        tensors = [lib.tensor(a) for a in arrays]
        for k in grads:
            tensors[k].requires_grad_()
        y = call(lib, *tensors)
        g = np.random.default_rng(1).standard_normal(tuple(y.shape))
        y.backward(lib.tensor(g))
        found.append([y.detach().numpy(), *[tensors[k].grad.numpy() for k in grads]])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound)


@pytest.mark.parametrize("mode, padding, corners, space", MODES)
def test_grid_sample_agrees(mode: str, padding: str, corners: bool, space: int):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *(4, 5, 3)[:space]))
    grid = rng.uniform(-2.2, 2.2, (2, *(3, 6, 2)[:space], space))
    both(lambda lib, *a: lib.nn.functional.grid_sample(*a, mode, padding, corners), [x, grid],
         [0, 1])  # fmt: skip


def test_corners_left_out_warn_and_do_not_align():
    for lib in (tgrad, torch):
        with pytest.warns(UserWarning, match="align_corners=False"):
            grid = lib.nn.functional.affine_grid(lib.eye(2, 3)[None], (1, 1, 2, 2))
        assert grid[0, 0, 0].tolist() == [-0.5, -0.5]
        with pytest.warns(UserWarning, match="align_corners=False"):
            y = lib.nn.functional.grid_sample(lib.ones(1, 1, 2, 2), grid)
        assert y.tolist() == [[[[1, 1], [1, 1]]]]


@pytest.mark.parametrize("options", [
    {}, {"mode": "sum"}, {"mode": "max", "padding_idx": 2}, {"max_norm": 0.5, "norm_type": 1.0},
    {"padding_idx": -1, "include_last_offset": True},
])  # fmt: skip
def test_embedding_bags_agree(options):
    theirs = torch.nn.EmbeddingBag(7, 3, **options).double()
    ours = tgrad.nn.EmbeddingBag(7, 3, **options).double()
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == ["weight"]
    ours.load_state_dict({"weight": tgrad.tensor(theirs.weight.detach().numpy().copy())})
    ids, starts = [0, 6, 2, 2, 4, 1, 2], [0, 3, 3, 7]
    y = ours(tgrad.tensor(ids), tgrad.tensor(starts))
    want = theirs(torch.tensor(ids), torch.tensor(starts))
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), atol=1e-12)
    y.square().sum().backward()
    want.square().sum().backward()
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours) and twin.weight.tolist() == ours.weight.tolist()


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear_layers_agree(bias: bool):
    theirs = torch.nn.Bilinear(3, 4, 5, bias).double()
    ours = tgrad.nn.Bilinear(3, 4, 5, bias).double()
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.weight.abs().max().item() <= 3**-0.5
    ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    a, b = (np.random.default_rng(n).standard_normal((2, n)) for n in (3, 4))
    y, want = ours(tgrad.tensor(a), tgrad.tensor(b)), theirs(torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), atol=1e-12)


def test_gumbel_softmax_draws_from_the_softmax():
    tgrad.manual_seed(0)
    p = tgrad.tensor([0.1, 0.2, 0.7])
    draws = tgrad.nn.functional.gumbel_softmax(p.log().expand(20000, 3), hard=True)
    assert set(np.unique(draws.numpy().round(6))) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(0).numpy(), p.numpy(), atol=0.012)
    logits = tgrad.zeros(4, 3, requires_grad=True)
    soft = tgrad.nn.functional.gumbel_softmax(logits, tau=0.5)
    assert soft.sum(-1).tolist() == pytest.approx([1] * 4)
    y = tgrad.nn.functional.gumbel_softmax(logits, hard=True)
    (y * tgrad.arange(3.0)).sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum().item() > 0  # straight through
    for lib in (tgrad, torch):
        with pytest.warns(UserWarning, match="eps"):
            lib.nn.functional.gumbel_softmax(lib.zeros(2), eps=0.1)
        with pytest.raises(RuntimeError, match="floating point"):
            lib.nn.functional.gumbel_softmax(lib.zeros(2, dtype=lib.int32))


def test_rrelu_in_place_agrees_and_differentiates():
    for lib in (tgrad, torch):
        x = lib.tensor([-2.0, 3.0], requires_grad=True)
        y = x * 1
        assert lib.nn.functional.rrelu_(y, 0.25, 0.25, True) is y
        y.sum().backward()
        assert y.tolist() == [-0.5, 3.0] and x.grad.tolist() == [0.25, 1.0]
        with pytest.raises(RuntimeError, match="leaf"):
            lib.nn.functional.rrelu_(x)
