"""Lazy layers: what they are before the first call, what that call makes of them, saving."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn.modules.lazy import LazyModuleMixin
from tgrad.nn.parameter import is_lazy

SPATIAL = {1: (5,), 2: (5, 4), 3: (5, 4, 3)}
CASES = {
    "LazyLinear": ((3,), (2, 4)),
    **{f"LazyConv{n}d": ((6, 2), (2, 3, *s)) for n, s in SPATIAL.items()},
    **{f"LazyConvTranspose{n}d": ((6, 2), (2, 3, *s)) for n, s in SPATIAL.items()},
    **{f"LazyBatchNorm{n}d": ((), (2, 3, *s)) for n, s in SPATIAL.items()},
    **{f"LazyInstanceNorm{n}d": ((), (2, 3, *s)) for n, s in SPATIAL.items()},
}  # fmt: skip
each = pytest.mark.parametrize("name", CASES)
on_devices = pytest.mark.parametrize("device", ("cpu", "cuda"))


def made(name: str) -> nn.Module:
    return getattr(nn, name)(*CASES[name][0])


def plain(name: str) -> nn.Module:
    """The layer that the lazy one becomes, made with its sizes."""
    args, shape = CASES[name]
    options = {"affine": True, "track_running_stats": True} if "Norm" in name else {}
    return getattr(nn, name.removeprefix("Lazy"))(shape[1], *args, **options)


@on_devices
@each
def test_the_first_call_makes_the_layer_that_knew_its_sizes(name: str, device: str):
    layer = made(name).to(device, tgrad.float64)
    assert layer.has_uninitialized_params()
    x = tgrad.randn(CASES[name][1], dtype=tgrad.float64, device=device)
    tgrad.manual_seed(3)
    y = layer(x)
    tgrad.manual_seed(3)
    known = plain(name).to(tgrad.float64).to(device)
    assert type(layer) is type(known) and repr(layer) == repr(known)
    assert not any(map(is_lazy, layer.parameters())) and not any(map(is_lazy, layer.buffers()))
    assert all(type(p) is nn.Parameter for p in layer.parameters())
    known.load_state_dict(layer.state_dict())
    for a in layer.parameters():
        assert a.device == x.device and a.dtype is x.dtype
    layer.eval()
    np.testing.assert_array_equal(layer(x).detach().cpu(), known.eval()(x).detach().cpu())
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert set(vars(layer)) == set(vars(known))


def test_the_first_call_draws_as_construction_does():
    layer = nn.LazyConv2d(6, 2)
    tgrad.manual_seed(5)
    layer(tgrad.ones(1, 3, 4, 4))
    tgrad.manual_seed(5)
    known = nn.Conv2d(3, 6, 2)
    assert tgrad.equal(layer.weight, known.weight) and tgrad.equal(layer.bias, known.bias)


@each
def test_a_state_with_values_makes_a_lazy_layer_ready(name: str):
    known, layer = plain(name), made(name)
    layer.load_state_dict(known.state_dict())
    assert not layer.has_uninitialized_params()
    x = tgrad.randn(CASES[name][1])
    y = layer.eval()(x)
    assert type(layer) is type(known) and repr(layer) == repr(known)
    assert tgrad.equal(y, known.eval()(x))


@each
def test_lazy_state_loads_into_a_lazy_layer_only(name: str):
    state = made(name).state_dict()
    other = made(name)
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        plain(name).load_state_dict(state)


@each
def test_copies_and_pickles_are_lazy_still(name: str):
    layer = made(name).double()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is type(layer) and repr(other) == repr(layer)
        x = tgrad.randn(CASES[name][1], dtype=tgrad.float64)
        assert other(x).dtype is tgrad.float64
        assert layer.has_uninitialized_params()


def test_moves_keep_shapeless_tensors_shapeless():
    layer = nn.LazyBatchNorm1d().to("cuda").half()
    for x in (*layer.parameters(), layer.running_mean, layer.running_var):
        assert is_lazy(x) and x.dtype is tgrad.float16 and x.is_cuda
    assert layer.num_batches_tracked.dtype is tgrad.int64
    buffer = nn.UninitializedBuffer(persistent=False).double()
    assert buffer.dtype is tgrad.float64 and not buffer.persistent
    buffer.materialize((2, 3))
    assert type(buffer) is nn.Buffer and buffer.shape == (2, 3) and not buffer.requires_grad


@pytest.mark.parametrize("use", [
    lambda p: p + 1, lambda p: 1 * p, lambda p: p.numel(), lambda p: p.sum(), lambda p: p[0],
    lambda p: p.data_ptr(), lambda p: p.detach(), lambda p: p.stride(), lambda p: bool(p),
    lambda p: tgrad.cat([p, p]), lambda p: nn.init.zeros_(p),
])  # fmt: skip
def test_ops_refuse_uninitialized_parameters(use):
    with pytest.raises(ValueError, match="uninitialized parameter"):
        use(nn.LazyLinear(2).weight)


def test_sizes_of_a_model_with_uninitialized_parameters_are_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(4))
    with pytest.raises(ValueError, match="uninitialized parameter"):
        sum(p.numel() for p in model.parameters())
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        _ = model[1].weight.shape
    with pytest.raises(RuntimeError, match="share memory"):
        model[1].weight.share_memory_()


def test_an_optimizer_made_before_the_first_call_trains_after_it():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1))
    optimizer = tgrad.optim.SGD(model.parameters(), 0.1)
    x = tgrad.ones(2, 3)
    model(x).square().sum().backward()
    before = model[2].bias.detach().clone()
    optimizer.step()
    assert not tgrad.equal(before, model[2].bias)


@pytest.mark.parametrize("make, shape, error, match", [
    (lambda: nn.LazyConv2d(2, 1), (3, 4), RuntimeError, "Expected 3D"),
    (lambda: nn.LazyConv1d(4, 1, groups=2), (1, 3, 4), ValueError, "divisible by groups"),
    (lambda: nn.LazyConvTranspose1d(4, 1, groups=2), (1, 3, 4), ValueError, "divisible"),
    (lambda: nn.LazyConvTranspose2d(4, 1, padding_mode="reflect"), (), ValueError, "padding"),
    (lambda: nn.LazyBatchNorm3d(), (2, 3, 4), ValueError, "expected 5D"),
])  # fmt: skip
def test_wrong_inputs_raise(make, shape, error, match):
    with pytest.raises(error, match=match):
        make()(tgrad.ones(shape))


def test_a_loaded_linear_refuses_another_width():
    layer = nn.LazyLinear(2)
    layer.load_state_dict(nn.Linear(3, 2).state_dict())
    with pytest.raises(AssertionError, match="inferred from input: 4"):
        layer(tgrad.ones(1, 4))


class Scale(LazyModuleMixin, nn.Module):
    """A user's lazy module that stays of its class."""

    def __init__(self, forget: bool = False):
        super().__init__()
        self.weight = nn.UninitializedParameter()
        self.forget = forget
        self.calls = 0

    def initialize_parameters(self, x):
        self.calls += 1
        if not self.forget:
            self.weight.materialize(x.shape[-1:])
            nn.init.ones_(self.weight)

    def forward(self, x):
        return x * self.weight


def test_a_module_of_ones_own_is_initialized_once():
    layer = Scale()
    for _ in range(2):
        assert layer(tgrad.ones(2, 3)).shape == (2, 3)
    assert layer.calls == 1 and type(layer) is Scale
    with pytest.raises(RuntimeError, match="Scale has not been fully initialized"):
        Scale(forget=True)(tgrad.ones(2))
    with pytest.raises(NotImplementedError, match="initialize_parameters"):
        type("Bare", (LazyModuleMixin, nn.Module), {})()(1)
