"""Layers: initial distributions, settings, training against evaluation, containers, losses."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn import functional as F
from tgrad.nn import init

on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))


def batch(*shape: int, device: str = "cpu", grad: bool = False):
    a = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return tgrad.tensor(a, device=device).requires_grad_(grad)


def values(x) -> np.ndarray:
    return x.detach().cpu().numpy()


# ---- initial distributions -----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _seed():
    tgrad.manual_seed(3)


def assert_uniform(x, bound: float):
    a = values(x).reshape(-1)
    assert np.abs(a).max() <= bound and np.abs(a).max() > 0.99 * bound
    assert abs(a.mean()) < 0.05 * bound and a.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_linear_and_conv_start_uniform_within_the_fan():
    layer = nn.Linear(64, 200)
    assert_uniform(layer.weight, 1 / 8)
    assert np.abs(values(layer.bias)).max() <= 1 / 8
    conv = nn.Conv2d(8, 64, 3, groups=2)
    assert_uniform(conv.weight, 1 / 6)
    assert np.abs(values(conv.bias)).max() <= 1 / 6


def test_embedding_starts_normal_with_a_zero_padding_row():
    table = nn.Embedding(500, 20, padding_idx=3).weight
    assert values(table)[3].tolist() == [0.0] * 20
    assert values(table).std() == pytest.approx(1, rel=0.05)


def test_normalisation_layers_start_as_identity():
    for layer in (nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.LayerNorm(4)):
        assert values(layer.weight).tolist() == [1.0] * 4
        assert values(layer.bias).tolist() == [0.0] * 4


def test_initialisers_have_their_spread():
    x = tgrad.tensor(np.zeros((50, 30, 2, 2), np.float32))
    assert_uniform(init.uniform_(x, -3, 3), 3)
    assert_uniform(init.xavier_uniform_(x, gain=2), 2 * math.sqrt(6 / 320))
    assert_uniform(init.kaiming_uniform_(x), math.sqrt(6 / 120))
    assert_uniform(init.kaiming_uniform_(x, mode="fan_out", nonlinearity="tanh"),
                   5 / 3 * math.sqrt(3 / 200))  # fmt: skip
    for fill, std in (
        (lambda: init.normal_(x, 1.0, 0.5), 0.5),
        (lambda: init.xavier_normal_(x), math.sqrt(2 / 320)),
        (lambda: init.kaiming_normal_(x, nonlinearity="relu"), math.sqrt(2 / 120)),
    ):
        assert values(fill()).std() == pytest.approx(std, rel=0.05)
    assert values(init.constant_(x, 7)).min() == 7
    assert values(init.ones_(x)).max() == 1 and values(init.zeros_(x)).max() == 0


def test_initialisers_leave_no_graph():
    p = nn.Parameter(tgrad.tensor([[1.0]]))
    assert init.zeros_(p) is p and p.is_leaf and p.requires_grad


def test_gains_are_those_of_the_literature():
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1.0
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("leaky_relu", 1) == 1.0
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        init.calculate_gain("sine")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", True)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_normal_(tgrad.tensor([1.0]))
    with pytest.raises(ValueError, match="Mode fan not supported"):
        init.kaiming_normal_(tgrad.tensor([[1.0]]), mode="fan")
    with pytest.warns(UserWarning, match="zero-element"):
        nn.Linear(0, 3)


def test_layers_are_made_on_a_device_with_a_dtype():
    for layer in (
        nn.Linear(2, 3, device="cuda", dtype=tgrad.float64),
        nn.Conv2d(2, 3, 1, device="cuda", dtype=tgrad.float64),
        nn.BatchNorm2d(3, device="cuda", dtype=tgrad.float64),
        nn.LayerNorm(3, device="cuda", dtype=tgrad.float64),
        nn.Embedding(2, 3, device="cuda", dtype=tgrad.float64),
    ):
        assert all(p.is_cuda and p.dtype is tgrad.float64 for p in layer.parameters())


# ---- layers compute what their functions do ------------------------------------------------------

LAYERS = [
    (nn.Identity(), (2, 3), lambda m, x: x),
    (nn.Linear(3, 4), (2, 5, 3), lambda m, x: F.linear(x, m.weight, m.bias)),
    (nn.Linear(3, 4, bias=False), (3,), lambda m, x: F.linear(x, m.weight)),
    (nn.Conv2d(2, 4, 3, 2, 1, groups=2), (2, 2, 7, 5),
     lambda m, x: F.conv2d(x, m.weight, m.bias, 2, 1, 1, 2)),
    (nn.Conv2d(1, 2, (2, 3), padding="same", bias=False), (1, 1, 4, 4),
     lambda m, x: F.conv2d(x, m.weight, padding="same")),
    (nn.MaxPool2d(2, 1, 1), (1, 2, 4, 5), lambda m, x: F.max_pool2d(x, 2, 1, 1)),
    (nn.AvgPool2d(2, ceil_mode=True), (1, 2, 5, 5),
     lambda m, x: F.avg_pool2d(x, 2, ceil_mode=True)),
    (nn.AdaptiveAvgPool2d((2, None)), (1, 2, 5, 3),
     lambda m, x: F.adaptive_avg_pool2d(x, (2, None))),
    (nn.ReLU(), (2, 3), lambda m, x: F.relu(x)),
    (nn.LeakyReLU(0.2), (2, 3), lambda m, x: F.leaky_relu(x, 0.2)),
    (nn.SiLU(), (2, 3), lambda m, x: F.silu(x)),
    (nn.GELU("tanh"), (2, 3), lambda m, x: F.gelu(x, approximate="tanh")),
    (nn.Tanh(), (2, 3), lambda m, x: tgrad.tanh(x)),
    (nn.Sigmoid(), (2, 3), lambda m, x: tgrad.sigmoid(x)),
    (nn.Softmax(1), (2, 3), lambda m, x: F.softmax(x, 1)),
    (nn.LogSoftmax(-1), (2, 3), lambda m, x: F.log_softmax(x, -1)),
    (nn.LayerNorm((2, 3)), (4, 2, 3), lambda m, x: F.layer_norm(x, (2, 3), m.weight, m.bias)),
    (nn.LayerNorm(3, elementwise_affine=False), (4, 3), lambda m, x: F.layer_norm(x, (3,))),
    (nn.Flatten(), (2, 3, 4), lambda m, x: x.reshape(2, 12)),
    (nn.Unflatten(1, (2, 3)), (4, 6), lambda m, x: x.reshape(4, 2, 3)),
]  # fmt: skip


@on_devices
@pytest.mark.parametrize("module, shape, function", LAYERS, ids=[repr(m) for m, _, _ in LAYERS])
def test_layers_agree_with_their_functions(module, shape, function, device: str):
    module.to(device)
    x = batch(*shape, device=device, grad=True)
    try:
        y = module(x)
        np.testing.assert_array_equal(values(y), values(function(module, x)))
        assert y.requires_grad
    finally:
        module.cpu()


def test_activations_may_work_in_place():
    for module in (nn.ReLU(True), nn.SiLU(True), nn.LeakyReLU(0.1, True)):
        x = batch(5)
        assert module(x) is x


@on_devices
def test_embedding_looks_rows_up(device: str):
    layer = nn.Embedding(5, 2, padding_idx=0).to(device)
    i = tgrad.tensor([[0, 4], [4, 1]], device=device)
    y = layer(i)
    assert y.shape == (2, 2, 2)
    np.testing.assert_array_equal(values(y), values(layer.weight)[[[0, 4], [4, 1]]])
    y.sum().backward()
    assert layer.weight.grad.cpu().tolist() == [[0, 0], [1, 1], [0, 0], [0, 0], [2, 2]]
    table = nn.Embedding.from_pretrained(batch(3, 2))
    assert not table.weight.requires_grad and table.num_embeddings == 3


# ---- training and evaluation ---------------------------------------------------------------------


@on_devices
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_keeps_running_statistics(momentum, device: str):
    layer = nn.BatchNorm2d(3, momentum=momentum).to(device)
    mean, var = np.zeros(3), np.ones(3)
    x = batch(4, 3, 2, 2, device=device)
    for step in range(3):
        x = batch(4, 3, 2, 2, device=device) * (step + 1) + step
        y = layer(x)
        a = values(x).astype(np.float64)
        weight = 0.1 if momentum else 1 / (step + 1)
        mean += weight * (a.mean((0, 2, 3)) - mean)
        var += weight * (a.var((0, 2, 3), ddof=1) - var)
        assert np.abs(values(y).mean((0, 2, 3))).max() < 1e-5
    np.testing.assert_allclose(values(layer.running_mean), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values(layer.running_var), var, rtol=1e-4)
    assert int(layer.num_batches_tracked) == 3
    layer.eval()
    want = (values(x) - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5)
    np.testing.assert_allclose(values(layer(x)), want, rtol=1e-3, atol=1e-4)
    assert int(layer.num_batches_tracked) == 3
    layer.reset_running_stats()
    assert values(layer.running_var).tolist() == [1.0] * 3 and int(layer.num_batches_tracked) == 0


def test_batch_norm_without_statistics_always_uses_the_batch():
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False).eval()
    assert not layer.state_dict()
    assert np.abs(values(layer(batch(8, 3))).mean(0)).max() < 1e-6


def test_batch_norm_loads_states_older_than_its_counter():
    layer = nn.BatchNorm1d(3)
    state: Any = layer.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    layer.load_state_dict(state)
    state._metadata[""]["version"] = 2
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        layer.load_state_dict(state)


@on_devices
def test_dropout_scales_in_training_and_rests_in_evaluation(device: str):
    layer = nn.Dropout(0.25)
    x = tgrad.tensor(np.ones(4000, np.float32), device=device)
    y = values(layer(x))
    assert set(np.unique(y)) <= {0.0, np.float32(1 / 0.75)} and 0.22 < (y == 0).mean() < 0.28
    layer.eval()
    assert values(layer(x)).min() == 1.0


# ---- containers ----------------------------------------------------------------------------------


def test_sequential_is_a_list_of_layers():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[1], nn.ReLU) and net[-1] is net[2]
    assert list(net[:2].state_dict()) == ["0.weight", "0.bias"] and next(iter(net)) is net[0]
    net.append(nn.Tanh()).insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in net] == ["Linear", "Sigmoid", "ReLU", "Linear", "Tanh"]
    del net[1]
    net[1] = nn.SiLU()
    assert [n for n, _ in net.named_children()] == ["0", "1", "2", "3"]
    assert isinstance(net.pop(-1), nn.Tanh) and len(net + net) == 6 and len(2 * net) == 6
    net.extend([nn.Tanh()])
    assert net(batch(4, 2)).shape == (4, 1)
    named = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    assert named.a is named[0] and list(named[1:]._modules) == ["b"]
    del named[0]
    assert list(named._modules) == ["0"]  # PyTorch numbers what is left anew
    for index in (5, -6):
        with pytest.raises(IndexError, match="out of range"):
            net[index]


def test_module_list_registers_its_items():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers.append(nn.ReLU()).extend([nn.Tanh()])
    layers += [nn.Sigmoid()]
    layers.insert(1, nn.SiLU())
    assert len(layers) == 7 and isinstance(layers[1], nn.SiLU) and len(layers[2:4]) == 2
    assert len(list(layers.parameters())) == 6 and len(layers + layers) == 14
    layers[0] = nn.Identity()
    del layers[1:5]
    assert [type(m).__name__ for m in layers] == ["Identity", "Tanh", "Sigmoid"]
    with pytest.raises(TypeError, match="should be called with an iterable"):
        layers.extend(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotImplementedError, match="forward"):
        layers(1)


def test_module_dict_registers_its_items():
    layers = nn.ModuleDict({"a": nn.Linear(2, 2)})
    layers.update([("b", nn.ReLU())])
    layers["c"] = nn.Tanh()
    assert list(layers) == list(layers.keys()) == ["a", "b", "c"] and "b" in layers
    assert len(layers) == 3 and len(list(layers.parameters())) == 2
    assert isinstance(layers.pop("b"), nn.ReLU) and len(list(layers.items())) == 2
    del layers["c"]
    assert len(list(layers.values())) == 1
    layers.clear()
    assert not len(layers)
    with pytest.raises(ValueError, match="2 is required"):
        layers.update([("a",)])
    with pytest.raises(TypeError, match="iterable of key/value pairs"):
        layers.update(3)  # pyright: ignore[reportArgumentType]


# ---- losses --------------------------------------------------------------------------------------


@on_devices
def test_losses_agree_with_their_functions(device: str):
    x, target = batch(4, 3, device=device), tgrad.tensor([0, 2, 1, 2], device=device)
    w = tgrad.tensor([1.0, 2.0, 0.5], device=device)
    pairs = [
        (nn.CrossEntropyLoss(w, label_smoothing=0.1).to(device),
         F.cross_entropy(x, target, w, label_smoothing=0.1)),
        (nn.CrossEntropyLoss(ignore_index=2, reduction="sum"),
         F.cross_entropy(x, target, ignore_index=2, reduction="sum")),
        (nn.NLLLoss(w, reduction="none"), F.nll_loss(x, target, w, reduction="none")),
    ]  # fmt: skip
    for loss, want in pairs:
        np.testing.assert_array_equal(values(loss(x, target)), values(want))
    got = nn.MSELoss(reduction="sum")(x, x * 2)
    np.testing.assert_allclose(values(got), (values(x) ** 2).sum(), rtol=1e-5)


def test_losses_take_the_older_arguments():
    assert nn.MSELoss(size_average=False).reduction == "sum"
    assert nn.MSELoss(reduce=False).reduction == "none"
    assert nn.NLLLoss(size_average=True).reduction == "mean"
    assert list(nn.CrossEntropyLoss(tgrad.tensor([1.0])).state_dict()) == ["weight"]


# ---- a network learns ----------------------------------------------------------------------------


@on_devices
def test_a_small_network_learns_xor(device: str):
    tgrad.manual_seed(0)
    x = tgrad.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]], device=device)
    y = tgrad.tensor([0, 1, 1, 0], device=device)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).to(device)
    optimizer = tgrad.optim.Adam(net.parameters(), lr=0.1)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(40):
        optimizer.zero_grad()
        loss_of(net(x), y).backward()
        optimizer.step()
    assert loss_of(net(x), y).item() < 0.1 and net(x).argmax(1).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_convolution_of_weights_made_by_a_subclass(kind):
    class Standardised(kind):
        def forward(self, input):
            w = self.weight - self.weight.flatten(1).mean(1).view(-1, *[1] * (self.rank + 1))
            return self._conv_forward(input, w, None)

    layer = Standardised(2, 3, 2, padding=1, padding_mode="circular")
    x = tgrad.ones(1, 2, *[4] * layer.rank)
    assert tgrad.allclose(layer(x), tgrad.zeros(1, 3, *[5] * layer.rank), atol=1e-6)
    layer(x).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is None
