"""Recurrent layers, cells and packed sequences against torch."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import tgrad
from tests.reference.test_layers import assert_same, pair

torch = pytest.importorskip("torch", reason="torch is not installed")

OPTIONS = {
    "plain": {}, "no bias": {"bias": False}, "layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
    "batch first": {"batch_first": True, "bidirectional": True},
    "dropout eval": {"num_layers": 2, "dropout": 0.5},
}  # fmt: skip
CASES = [
    *itertools.product(("RNN", "GRU", "LSTM"), OPTIONS.values()), ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True, "bias": False}),
]  # fmt: skip
cases = pytest.mark.parametrize("name, options", CASES, ids=lambda v: str(v))


def flat(state):
    return list(state) if isinstance(state, tuple) else [state]


def layers(name: str, options):
    theirs, ours = pair(lambda nn: getattr(nn, name)(3, 4, **options))
    return theirs.eval(), ours.eval()


def states(name: str, options, batch: int | None):
    """A first state for both libraries, and the leaves."""
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    sizes = [options.get("proj_size", 0) or 4, 4][: 2 if name == "LSTM" else 1]
    shapes = [(count, size) if batch is None else (count, batch, size) for size in sizes]
    arrays = [np.random.default_rng(5 + k).standard_normal(s) for k, s in enumerate(shapes)]
    ours = [tgrad.tensor(a).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    return (tuple(ours), tuple(theirs)) if name == "LSTM" else (ours[0], theirs[0])


def compare(ours, theirs, leaves, peers, twice: bool = False):
    """Outputs, and the gradients of a projection of them; of their squares, where ``twice``."""
    for y, want in zip(ours, theirs, strict=True):
        assert_same(y, want)
    weights = [np.random.default_rng(k).standard_normal(tuple(y.shape)) for k, y in enumerate(ours)]
    losses = [
        sum((y * lib.tensor(w)).sum() for y, w in zip(ys, weights, strict=True))
        for lib, ys in ((tgrad, ours), (torch, theirs))
    ]
    for order in (1, 2) if twice else (1,):
        if order == 2:
            losses = [
                sum((g * g).sum() for g in lib.autograd.grad(loss, xs, create_graph=True))
                for lib, loss, xs in zip((tgrad, torch), losses, (leaves, peers), strict=True)
            ]
        a = tgrad.autograd.grad(losses[0], leaves, retain_graph=True, allow_unused=True)
        b = torch.autograd.grad(losses[1], peers, retain_graph=True, allow_unused=True)
        for g, want in zip(a, b, strict=True):
            assert (g is None) == (want is None)
            if g is not None:
                assert_same(g, want, 1e-9)


@cases
def test_repr_and_state_dict_agree(name: str, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = layers(name, options)
    assert repr(ours) == repr(theirs)
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b) and a._metadata == b._metadata
    assert [tuple(v.shape) for v in a.values()] == [tuple(v.shape) for v in b.values()]
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in a.items()})
    assert {k for k in vars(theirs) if not k.startswith("_")} <= set(vars(ours))
    assert [[tuple(w.shape) for w in ws] for ws in ours.all_weights] == [
        [tuple(w.shape) for w in ws] for ws in theirs.all_weights
    ]


@cases
@pytest.mark.parametrize("batch", [2, None])
def test_values_and_gradients_agree(name: str, options, batch: int | None):
    theirs, ours = layers(name, options)
    shape = (5, 3) if batch is None else (2, 5, 3) if options.get("batch_first") else (5, 2, 3)
    a = np.random.default_rng(1).standard_normal(shape)
    x, z = tgrad.tensor(a).requires_grad_(), torch.tensor(a, requires_grad=True)
    hx, hz = states(name, options, batch)
    y, end = ours(x, hx)
    want, last = theirs(z, hz)
    compare([y, *flat(end)], [want, *flat(last)],
            [x, *flat(hx), *ours.parameters()], [z, *flat(hz), *theirs.parameters()],
            twice=batch is not None)  # fmt: skip
    assert_same(ours(x)[0], theirs(z)[0])


@cases
@pytest.mark.parametrize("lengths", [[4, 3, 1], [1, 4, 2]])
def test_packed_sequences_agree(name: str, options, lengths: list[int]):
    theirs, ours = layers(name, options)
    first = bool(options.get("batch_first"))
    a = np.random.default_rng(1).standard_normal((3, 4, 3) if first else (4, 3, 3))
    x, z = tgrad.tensor(a).requires_grad_(), torch.tensor(a, requires_grad=True)
    hx, hz = states(name, options, 3)
    made = []
    for lib, layer, t, h in ((tgrad, ours, x, hx), (torch, theirs, z, hz)):
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(t, lengths, first, enforce_sorted=False)
        y, end = layer(packed, h)
        padded, sizes = rnn.pad_packed_sequence(y, first, 0.5, total_length=6)
        assert sizes.tolist() == lengths
        made.append([padded, *flat(end)])
    leaves, peers = ([t, *flat(h), *m.parameters()] for t, h, m in ((x, hx, ours), (z, hz, theirs)))
    compare(made[0], made[1], leaves, peers)


CELLS = {"RNNCell": {}, "GRUCell": {}, "LSTMCell": {}}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [3, None])
def test_cells_agree(name: str, bias: bool, batch: int | None):
    theirs, ours = pair(lambda nn: getattr(nn, name)(3, 4, bias))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s if batch is None else (batch, *s)) for s in ((3,), (4,), (4,))]
    arrays = arrays if name == "LSTMCell" else arrays[:2]
    xs = [tgrad.tensor(a).requires_grad_() for a in arrays]
    zs = [torch.tensor(a, requires_grad=True) for a in arrays]
    hx, hz = (tuple(xs[1:]), tuple(zs[1:])) if name == "LSTMCell" else (xs[1], zs[1])
    compare(flat(ours(xs[0], hx)), flat(theirs(zs[0], hz)),
            [*xs, *ours.parameters()], [*zs, *theirs.parameters()], twice=True)  # fmt: skip
    for y, want in zip(flat(ours(xs[0])), flat(theirs(zs[0])), strict=True):
        assert_same(y, want)


def test_a_cell_with_relu_reads_as_torchs():
    assert repr(tgrad.nn.RNNCell(2, 3, nonlinearity="relu")) == repr(
        torch.nn.RNNCell(2, 3, nonlinearity="relu")
    )


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_sequences_agrees(first: bool, side: str):
    arrays = [np.random.default_rng(n).standard_normal((n, 2)) for n in (2, 3, 1)]
    ours = tgrad.nn.utils.rnn.pad_sequence([tgrad.tensor(a) for a in arrays], first, 0.5, side)
    want = torch.nn.utils.rnn.pad_sequence([torch.tensor(a) for a in arrays], first, 0.5, side)
    assert_same(ours, want)


def test_packing_sequences_agrees():
    arrays = [np.random.default_rng(n).standard_normal((n, 2)) for n in (2, 3, 1)]
    ours, theirs = (
        lib.nn.utils.rnn.pack_sequence([lib.tensor(a) for a in arrays], enforce_sorted=False)
        for lib in (tgrad, torch)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)
    for a, b in zip(
        tgrad.nn.utils.rnn.unpack_sequence(ours), torch.nn.utils.rnn.unpack_sequence(theirs),
        strict=True,
    ):  # fmt: skip
        assert_same(a, b)
    order = [2, 0, 1]
    inverse = tgrad.nn.utils.rnn.invert_permutation(tgrad.tensor(order))
    assert inverse.tolist() == torch.nn.utils.rnn.invert_permutation(torch.tensor(order)).tolist()


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_initial_distributions_agree(name: str):
    for lib in (torch, tgrad):
        lib.manual_seed(1)
    theirs, ours = (getattr(lib.nn, name)(20, 200) for lib in (torch, tgrad))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        a, b = p.detach().numpy(), q.detach().numpy()
        assert np.abs(a).max() <= 1 / np.sqrt(200) and np.abs(a).max() > 0.95 / np.sqrt(200)
        assert a.std() == pytest.approx(b.std(), rel=0.12)
