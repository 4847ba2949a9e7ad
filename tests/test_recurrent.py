"""Recurrent layers: long sequences, half types, lengths, dropout, moving and copying."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn.utils import rnn

on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))
LAYERS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
each = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@pytest.fixture(autouse=True)
def _seed():
    tgrad.manual_seed(3)


def values(x) -> np.ndarray:
    return x.detach().cpu().numpy()


def last_of(state) -> tgrad.Tensor:
    return state[0] if isinstance(state, tuple) else state


@each
def test_ten_thousand_steps_train(make):
    layer = make(2, 3)
    head = nn.Linear(3, 1)
    optimizer = tgrad.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    x = tgrad.randn(10_000, 1, 2)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        y, _ = layer(x)
        loss = (head(y) - x.sum(2, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(math.isfinite(v) for v in losses) and losses[2] < losses[0]


@each
@on_devices
def test_a_batch_is_its_sequences_one_by_one(make, device: str):
    layer = make(3, 4, bidirectional=True).to(device)
    x = tgrad.randn(4, 3, 3, device=device)
    whole, state = layer(x)
    for n in range(3):
        y, last = layer(x[:, n])
        np.testing.assert_allclose(values(y), values(whole[:, n]), rtol=1e-5, atol=1e-6)
        expected = values(last_of(state)[:, n])
        np.testing.assert_allclose(values(last_of(last)), expected, rtol=1e-5, atol=1e-6)


@each
@on_devices
def test_packed_sequences_are_each_run_by_themselves(make, device: str):
    layer = make(2, 3, num_layers=2, bidirectional=True).to(device)
    parts = [tgrad.randn(n, 2, device=device) for n in (2, 4, 1)]
    y, state = layer(rnn.pack_sequence(parts, enforce_sorted=False))
    for n, (part, out) in enumerate(zip(parts, rnn.unpack_sequence(y), strict=True)):
        alone, last = layer(part)
        np.testing.assert_allclose(values(out), values(alone), rtol=1e-5, atol=1e-6)
        got = values(last_of(state)[:, n])
        np.testing.assert_allclose(got, values(last_of(last)), rtol=1e-5, atol=1e-6)


@each
def test_a_state_continues_a_sequence(make):
    layer = make(2, 3, num_layers=2)
    x = tgrad.randn(6, 2, 2)
    whole, end = layer(x)
    first, state = layer(x[:4])
    second, last = layer(x[4:], state)
    np.testing.assert_allclose(values(whole[:4]), values(first), rtol=1e-6)
    np.testing.assert_allclose(values(whole[4:]), values(second), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(last_of(end)), values(last_of(last)), rtol=1e-5, atol=1e-6)


@each
def test_without_dropout_training_and_evaluation_are_the_same(make):
    layer = make(2, 3, num_layers=2, dropout=0.0)
    x = tgrad.randn(5, 2, 2)
    np.testing.assert_array_equal(values(layer(x)[0]), values(layer.eval()(x)[0]))


@each
def test_dropout_thins_what_goes_between_layers_and_only_in_training(make):
    layer = make(2, 8, num_layers=2, dropout=0.5)
    x = tgrad.randn(5, 4, 2)
    assert not np.array_equal(values(layer(x)[0]), values(layer(x)[0]))
    layer.eval()
    np.testing.assert_array_equal(values(layer(x)[0]), values(layer(x)[0]))
    one = layer.train()(x)[1]  # the first layer's state has met no mask
    two = layer(x)[1]
    np.testing.assert_array_equal(values(last_of(one)[0]), values(last_of(two)[0]))


def test_dropout_of_a_single_layer_warns():
    with pytest.warns(UserWarning, match="all but last recurrent layer"):
        nn.GRU(2, 3, dropout=0.1)


@each
@on_devices
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_stay_near_float32(make, device: str, dtype: str):
    layer = make(3, 4).to(device)
    x = tgrad.randn(3, 2, 3, device=device)
    want = values(layer(x)[0])
    kind = getattr(tgrad, dtype)
    half = copy.deepcopy(layer).to(kind)
    y, _ = half(x.to(kind))
    assert y.dtype is kind
    y.float().sum().backward()
    np.testing.assert_allclose(values(y.float()), want, atol=0.02)
    layer(x)[0].sum().backward()
    for a, b in zip(half.parameters(), layer.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None and a.grad.dtype is kind
        scale = max(float(np.abs(values(b.grad)).max()), 1.0)
        np.testing.assert_allclose(values(a.grad.float()), values(b.grad), atol=0.04 * scale)


@each
def test_copies_and_pickles_work_and_stand_alone(make):
    layer = make(2, 3, num_layers=2, bidirectional=True)
    x = tgrad.randn(4, 2, 2)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(values(other(x)[0]), values(layer(x)[0]))
        with tgrad.no_grad():
            other.weight_hh_l1_reverse.zero_()
        assert not np.array_equal(values(other(x)[0]), values(layer(x)[0]))
        assert other.all_weights[3][1] is other.weight_hh_l1_reverse


@each
def test_a_weight_that_is_exchanged_is_used(make):
    layer = make(2, 3)
    x = tgrad.randn(4, 2, 2)
    layer.weight_ih_l0 = nn.Parameter(tgrad.zeros_like(layer.weight_ih_l0))
    y, _ = layer(x)
    np.testing.assert_allclose(values(y), values(layer(tgrad.zeros(4, 2, 2))[0]))


def test_weights_of_a_cell_start_within_the_bound():
    cell = nn.LSTMCell(30, 40)
    bound = 1 / math.sqrt(40)
    for p in cell.parameters():
        a = values(p)
        assert np.abs(a).max() <= bound and np.abs(a).max() > 0.9 * bound


@pytest.mark.parametrize(
    "whole, cell",
    [
        (nn.RNN(2, 3), nn.RNNCell(2, 3)),
        (nn.RNN(2, 3, 1, "relu", False), nn.RNNCell(2, 3, False, "relu")),
        (nn.GRU(2, 3), nn.GRUCell(2, 3)),
        (nn.LSTM(2, 3), nn.LSTMCell(2, 3)),
    ],
)
def test_a_cell_step_by_step_is_the_layer(whole, cell):
    names = whole.state_dict()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in names.items()})
    x = tgrad.randn(5, 2, 2)
    y, _ = whole(x)
    state = None
    for t in range(5):
        state = cell(x[t], state)
        np.testing.assert_allclose(values(last_of(state)), values(y[t]), rtol=1e-5, atol=1e-6)


@on_devices
def test_packing_and_padding_undo_each_other(device: str):
    x = tgrad.arange(24, dtype=tgrad.float32, device=device).reshape(4, 3, 2).requires_grad_()
    packed = rnn.pack_padded_sequence(x, [1, 4, 2], enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    padded, lengths = rnn.pad_packed_sequence(packed, padding_value=-1.0)
    assert lengths.tolist() == [1, 4, 2]
    for n, length in enumerate([1, 4, 2]):
        np.testing.assert_array_equal(values(padded[:length, n]), values(x[:length, n]))
        assert (values(padded[length:, n]) == -1).all()
    padded.sum().backward()
    kept = np.arange(4)[:, None] < np.array([1, 4, 2])[None, :]
    assert x.grad is not None
    np.testing.assert_array_equal(values(x.grad), np.broadcast_to(kept[..., None], (4, 3, 2)))


def test_a_length_beyond_the_padding_is_refused():
    with pytest.raises(RuntimeError, match="at most 3"):  # torch reads what lies behind
        rnn.pack_padded_sequence(tgrad.ones(3, 2), [4, 1])


def test_a_weight_of_another_size_is_refused_by_name():
    h = tgrad.zeros(1, 2, 2)
    params = [tgrad.ones(8, 3), tgrad.ones(8, 3)]  # torch's oneDNN reads what lies behind
    with pytest.raises(RuntimeError, match="hidden state should have shape"):
        tgrad.lstm(tgrad.ones(4, 2, 3), (h, h), params, False, 1, 0.0, False, False, False)


def test_a_packed_sequence_moves_as_a_whole():
    packed = rnn.pack_sequence([tgrad.ones(1), tgrad.ones(3)], enforce_sorted=False)
    there = packed.to("cuda")
    assert there.is_cuda and there.sorted_indices is not None and there.sorted_indices.is_cuda
    assert not there.batch_sizes.is_cuda
    assert packed.to("cpu") is packed and packed.double().data.dtype is tgrad.float64
    assert not there.cpu().is_cuda and there.cpu().half().data.dtype is tgrad.float16


@each
def test_an_empty_batch_gives_an_empty_output(make):
    layer = make(2, 3)
    y, state = layer(tgrad.empty(4, 0, 2))
    assert y.shape == (4, 0, 3) and last_of(state).shape == (1, 0, 3)
    y.sum().backward()
    assert not values(layer.weight_hh_l0.grad).any()


@on_devices
def test_autocast_runs_a_layer_in_the_lower_dtype(device: str):
    layer = nn.LSTM(3, 4).to(device)
    with tgrad.autocast(device, dtype=tgrad.bfloat16):
        y, _ = layer(tgrad.randn(2, 2, 3, device=device))
    assert y.dtype is tgrad.bfloat16
    y.float().sum().backward()
    assert layer.weight_ih_l0.grad.dtype is tgrad.float32


def test_nothing_is_kept_where_no_gradient_is_wanted():
    layer = nn.LSTM(64, 256)
    x = tgrad.randn(64, 16, 64)
    with tgrad.no_grad():
        layer(x)
        before = tgrad.cpu.memory_allocated()
        y, _ = layer(x)
        held = tgrad.cpu.memory_allocated() - before
    assert held < 2 * y.numel() * 4
