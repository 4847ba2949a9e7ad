"""Module: registration, traversal, state, hooks, copying and printing."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import nn

DEVICES = ("cpu", "cuda")
on_devices = pytest.mark.parametrize("device", DEVICES)


class Net(nn.Module):
    """Two layers, a shared one, a saved and an unsaved buffer, and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.shared = self.first
        self.scale = nn.Parameter(tgrad.tensor([2.0]))
        self.register_buffer("count", tgrad.tensor(0))
        self.register_buffer("cache", tgrad.tensor([1.0]), persistent=False)

    def forward(self, x, gain=1.0):
        return self.block(self.first(x)) * self.scale * gain


def batch(*shape: int, device: str = "cpu", grad: bool = False):
    a = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return tgrad.tensor(a, device=device).requires_grad_(grad)


# ---- parameters ----------------------------------------------------------------------------------


def test_a_parameter_requires_grad_and_shares_memory():
    x = tgrad.tensor([1.0, 2.0])
    p = nn.Parameter(x)
    assert isinstance(p, tgrad.Tensor) and p.requires_grad and p.is_leaf
    assert not nn.Parameter(x, requires_grad=False).requires_grad
    x.mul_(2)
    assert p.tolist() == [2.0, 4.0]


def test_results_of_ops_on_parameters_are_plain_tensors():
    p = nn.Parameter(tgrad.tensor([1.0]))
    for y in (p * 2, p.detach(), p.data, p.reshape(1, 1), p.clone()):
        assert type(y) is tgrad.Tensor
    (p * p).sum().backward()
    assert type(p.grad) is tgrad.Tensor and p.grad.tolist() == [2.0]


def test_a_parameter_can_be_copied_and_pickled():
    p = nn.Parameter(tgrad.tensor([1.0, 2.0]), requires_grad=False)
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(q) is nn.Parameter and q.tolist() == [1.0, 2.0] and not q.requires_grad
        assert q.array is not p.array
    assert repr(p).startswith("Parameter containing:\ntensor(")


# ---- registering ---------------------------------------------------------------------------------


def test_assignment_registers():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "block.0.weight", "block.0.bias"]  # fmt: skip
    assert [n for n, _ in net.named_buffers()] == ["count", "cache"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "block", "block.0", "block.1"]
    assert [n for n, _ in net.named_children()] == ["first", "block"]
    assert len(list(net.parameters())) == 5 and len(list(net.parameters(recurse=False))) == 1
    assert len(list(net.modules())) == 5 and len(list(net.children())) == 2
    assert list(net.buffers()) == [net.count, net.cache]


def test_names_may_have_a_prefix_and_repeat():
    net = Net()
    names = [n for n, _ in net.named_parameters("net", remove_duplicate=False)]
    assert names[0] == "net.scale" and "net.shared.weight" in names and len(names) == 7


def test_names_move_between_kinds():
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(tgrad.tensor([1.0]))
    assert "x" in m._parameters and "x" not in m.__dict__
    m.x = None
    assert m.x is None and list(m.parameters()) == []
    m.y = nn.Buffer(tgrad.tensor([1.0]), persistent=False)
    assert [n for n, _ in m.named_buffers()] == ["y"] and not m.state_dict()
    m.y = nn.Linear(1, 1)
    assert not m._buffers and isinstance(m.y, nn.Linear)
    del m.y
    assert not hasattr(m, "y")


def test_plain_tensors_are_not_registered_and_buffers_can_be_replaced():
    m = nn.Module()
    m.t = tgrad.tensor([1.0])
    assert not m._buffers and "t" in m.__dict__
    m.register_buffer("b", None)
    assert m.b is None and not m.state_dict()
    m.b = tgrad.tensor([1.0])
    assert list(m.state_dict()) == ["b"]


class NoInit(nn.Module):
    def __init__(self, value):
        self.value = value


def bare() -> nn.Module:
    return nn.Linear(2, 2)


REFUSED = [
    (lambda: NoInit(bare()), AttributeError, "cannot assign module before Module.__init__"),
    (lambda: NoInit(nn.Parameter(tgrad.tensor([1.0]))), AttributeError, "cannot assign parameters"),
    (lambda: setattr(bare(), "weight", 3), TypeError, "cannot assign 'int' as parameter 'weight'"),
    (lambda: setattr(nn.Sequential(bare()), "0", 3), TypeError, "as child module '0'"),
    (lambda: setattr(nn.BatchNorm1d(2), "running_mean", 3), TypeError, "as buffer 'running_mean'"),
    (lambda: bare().register_parameter("w", 3), TypeError, "object to parameter 'w'"),  # pyright: ignore[reportArgumentType]
    (lambda: bare().register_parameter("a.b", None), KeyError, "contain"),
    (lambda: bare().register_parameter("", None), KeyError, "be empty string"),
    (lambda: bare().register_parameter("forward", None), KeyError, "already exists"),
    (lambda: bare().register_parameter(3, None), TypeError, "should be a string"),  # pyright: ignore[reportArgumentType]
    (lambda: bare().register_buffer("b", 3), TypeError, "object to buffer 'b'"),  # pyright: ignore[reportArgumentType]
    (lambda: bare().register_buffer("weight", None), KeyError, "already exists"),
    (lambda: bare().add_module("m", 3), TypeError, "is not a Module subclass"),  # pyright: ignore[reportArgumentType]
    (lambda: bare().missing, AttributeError, "'Linear' object has no attribute 'missing'"),
    (lambda: bare().get_submodule("a"), AttributeError, "Linear has no attribute `a`"),
    (lambda: bare().get_submodule("weight"), AttributeError, "`weight` is not an nn.Module"),
    (lambda: bare().get_parameter("in_features"), AttributeError, "is not an nn.Parameter"),
    (lambda: bare().get_buffer("weight"), AttributeError, "`weight` is not a buffer"),
    (lambda: nn.Module()(1), NotImplementedError, 'missing the required "forward"'),
    (lambda: bare().train("yes"), ValueError, "expected to be boolean"),  # pyright: ignore[reportArgumentType]
    (lambda: bare().to(tgrad.int64), TypeError, "only accepts floating point or complex dtypes"),
    (lambda: nn.Parameter(3), TypeError, "expected a Tensor, got int"),  # pyright: ignore[reportArgumentType]
    (lambda: nn.Parameter(tgrad.tensor([1])), RuntimeError, "floating point"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[m for _, _, m in REFUSED])
def test_bad_registrations_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_computed_tensor_is_no_parameter():
    p = nn.Parameter(tgrad.tensor([1.0]))
    p.node = (p * 2).node
    with pytest.raises(ValueError, match="non-leaf"):
        nn.Module().register_parameter("p", p)


def test_members_are_found_by_path():
    net = Net()
    assert net.get_submodule("") is net and net.get_submodule("block.0") is net.block[0]
    assert net.get_parameter("block.0.weight") is net.block[0].weight
    assert net.get_buffer("count") is net.count
    assert "first" in dir(net) and "scale" in dir(net)


# ---- changing the tree ---------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_apply_visits_children_first():
    names: list[str] = []
    Net().apply(lambda m: names.append(type(m).__name__))
    assert names == ["Linear", "Linear", "ReLU", "Sequential", "Net"]


def test_conversion_keeps_parameters_and_leaves_integers():
    net = Net()
    before = list(net.parameters())
    net(batch(2, 3)).sum().backward()
    assert net.to(tgrad.float64) is net
    assert all(p is q for p, q in zip(before, net.parameters(), strict=True))
    assert {p.dtype for p in net.parameters()} == {tgrad.float64}
    assert net.first.weight.grad.dtype is tgrad.float64
    assert net.cache.dtype is tgrad.float64 and net.count.dtype is tgrad.int64
    for method in ("float", "half", "bfloat16", "double"):
        getattr(net, method)()
    assert net.scale.dtype is tgrad.float64
    net.to(batch(1))
    assert net.scale.dtype is tgrad.float32


def test_a_memory_format_is_for_tensors_of_its_rank():
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    net.to(memory_format=tgrad.channels_last)
    assert net[0].weight.is_contiguous(memory_format=tgrad.channels_last)
    assert net[3].weight.is_contiguous() and net[1].running_mean.shape == (4,)
    net.to(tgrad.float64, memory_format=tgrad.contiguous_format)
    assert net[0].weight.is_contiguous() and net[3].bias.dtype is tgrad.float64
    assert net[1].num_batches_tracked.dtype is tgrad.int64
    with pytest.raises(TypeError, match="memory_format"):
        net.to(memory_format="channels_last")


def test_moving_to_a_gpu_moves_everything():
    net = Net().to("cuda")
    assert all(t.is_cuda for t in (*net.parameters(), *net.buffers()))
    y = net(batch(2, 3, device="cuda"))
    y.sum().backward()
    assert net.scale.grad.is_cuda
    net.cpu()
    assert net.scale.grad.is_cpu and net.count.is_cpu
    net.to(device="cuda", dtype=tgrad.float64)
    assert net.count.is_cuda and net.count.dtype is tgrad.int64
    assert net.cuda().scale.is_cuda


def test_requires_grad_and_zero_grad_reach_every_parameter():
    net = Net()
    net(batch(2, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(float(p.grad.abs().sum()) == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(batch(2, 3)).requires_grad


# ---- state_dict ----------------------------------------------------------------------------------


def test_state_dict_lists_parameters_then_buffers_then_children():
    state: Any = Net().state_dict()
    assert list(state) == [
        "scale", "count", "first.weight", "first.bias", "block.0.weight", "block.0.bias",
        "shared.weight", "shared.bias"]  # fmt: skip
    assert not any(t.requires_grad for t in state.values())
    assert state._metadata["block.0"] == {"version": 1}


def test_state_dict_shares_memory_and_may_keep_the_parameters():
    net = Net()
    net.state_dict()["scale"].zero_()
    assert net.scale.item() == 0.0
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert "net.scale" in net.state_dict(prefix="net.")


def test_loading_copies_values():
    a, b = Net(), Net()
    result = b.load_state_dict(a.state_dict())
    assert str(result) == "<All keys matched successfully>"
    x = batch(2, 3)
    np.testing.assert_array_equal(a(x).detach().numpy(), b(x).detach().numpy())
    assert b.first.weight.array is not a.first.weight.array


def test_loading_with_assign_takes_the_given_tensors():
    a, b = Net().double(), Net()
    b.load_state_dict(a.state_dict(), assign=True)
    assert b.scale.dtype is tgrad.float64 and b.scale.array is a.scale.array
    assert isinstance(b.scale, nn.Parameter) and b.scale.requires_grad


def test_every_mismatch_is_reported_at_once():
    state = OrderedDict(Net().state_dict())
    state["extra"] = state.pop("scale")
    state["first.weight"] = tgrad.tensor([[1.0]])
    state["first.bias"] = 3
    with pytest.raises(RuntimeError) as caught:
        Net().load_state_dict(state)
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Net:\n\t")
    assert 'Missing key(s) in state_dict: "scale". ' in message
    assert 'Unexpected key(s) in state_dict: "extra". ' in message
    assert "size mismatch for first.weight: copying a param with shape" in message
    assert 'While copying the parameter named "first.bias", expected' in message


def test_names_need_not_match_unless_strict():
    state = Net().state_dict()
    state["extra"] = state.pop("scale")
    result = Net().load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale"] and result.unexpected_keys == ["extra"]
    with pytest.raises(TypeError, match="to be dict-like"):
        Net().load_state_dict([1])  # pyright: ignore[reportArgumentType]


def test_extra_state_travels_along():
    class Extra(nn.Module):
        def get_extra_state(self):
            return {"n": 3}

        def set_extra_state(self, state):
            self.n = state["n"]

    a, b = nn.Sequential(Extra()), nn.Sequential(Extra())
    b.load_state_dict(a.state_dict())
    assert b[0].n == 3 and list(a.state_dict()) == ["0._extra_state"]
    with pytest.raises(RuntimeError, match="Missing key"):
        b.load_state_dict({})


def test_state_dict_hooks_run():
    net = nn.Linear(2, 2)
    net.register_state_dict_pre_hook(lambda m, prefix, keep: calls.append("pre"))
    net.register_state_dict_post_hook(lambda m, state, *rest: state.__delitem__("bias"))
    calls: list[str] = []
    assert list(net.state_dict()) == ["weight"] and calls == ["pre"]
    net.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    assert net.load_state_dict(net.state_dict()).missing_keys == []
    net.register_load_state_dict_pre_hook(lambda m, state, *rest: state.update(bias=net.bias * 0))
    net.load_state_dict({"weight": net.weight.detach()})
    assert net.bias.tolist() == [0.0, 0.0]


# ---- hooks ---------------------------------------------------------------------------------------


def test_forward_hooks_see_and_replace():
    net = Net()
    x = batch(2, 3)
    plain = net(x)
    seen = []
    first = net.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    net.register_forward_hook(lambda m, args, y: seen.append((args[0].sum().item(), y.shape)))
    y = net(x)
    assert seen == [(0.0, (2, 4))] and not np.allclose(y.detach().numpy(), plain.detach().numpy())
    first.remove()
    net.register_forward_hook(lambda m, args, y: y * 0, prepend=True)
    assert float(net(x).abs().sum()) == 0.0


def test_forward_hooks_may_see_keywords():
    net = Net()
    seen = []
    net.register_forward_pre_hook(lambda m, a, k: (a, {"gain": k["gain"] + 1}), with_kwargs=True)
    net.register_forward_hook(lambda m, a, k, y: seen.append(k["gain"]), with_kwargs=True)
    net(batch(2, 3), gain=1.0)
    assert seen == [2.0]
    net.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        net(batch(2, 3), gain=1.0)


def test_an_always_called_hook_runs_after_an_error():
    net = Net()
    seen = []
    net.register_forward_hook(lambda m, args, y: seen.append(y), always_call=True)
    with pytest.raises(Exception):  # noqa: B017 - whatever the forward raises
        net("no tensor")
    assert seen == [None]


def test_backward_hooks_see_both_gradients():
    layer = nn.Linear(3, 2)
    seen = []
    layer.register_full_backward_pre_hook(lambda m, gy: seen.append(("pre", gy[0].tolist())))
    layer.register_full_backward_hook(lambda m, gx, gy: seen.append((gx[0].shape, gy[0].shape)))
    x = batch(4, 3, grad=True)
    y = layer(x)
    y.sum().backward()
    assert seen == [("pre", [[1.0, 1.0]] * 4), ((4, 3), (4, 2))]
    want = np.ones((4, 2), np.float32) @ layer.weight.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-5)
    assert layer.bias.grad.tolist() == [4.0, 4.0]


def test_the_backward_hook_of_old_programs_sees_both_gradients():
    layer, seen = nn.Linear(2, 3), []
    handle = layer.register_backward_hook(lambda m, inside, out: seen.append((inside, out)))
    layer(tgrad.ones(1, 2, requires_grad=True)).sum().backward()
    (inside,), (out,) = seen[0]
    assert out.tolist() == [[1.0, 1.0, 1.0]] and tgrad.allclose(inside, layer.weight.sum(0)[None])
    handle.remove()
    layer(tgrad.ones(1, 2)).sum().backward()
    assert len(seen) == 1


def test_backward_hooks_replace_gradients():
    layer = nn.Linear(3, 2)
    layer.register_full_backward_pre_hook(lambda m, gy: (gy[0] * 0 + 2,))
    layer.register_full_backward_hook(lambda m, gx, gy: (gx[0] * 0 + 5,))
    x = batch(4, 3, grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[5.0] * 3] * 4 and layer.bias.grad.tolist() == [8.0, 8.0]


def test_backward_hooks_run_where_no_input_requires_grad():
    layer = nn.Linear(3, 2)
    seen = []
    layer.register_full_backward_hook(lambda m, gx, gy: seen.append((gx, gy[0].shape)))
    layer(batch(4, 3)).sum().backward()
    assert seen == [((None,), (4, 2))]
    with tgrad.no_grad():
        layer(batch(4, 3))
    assert len(seen) == 1


# ---- copying and printing ------------------------------------------------------------------------


def test_a_module_can_be_copied_and_pickled():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    x = batch(2, 3)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other(x).detach().numpy(), net(x).detach().numpy())
        assert isinstance(other[0].weight, nn.Parameter) and other[0].weight.requires_grad
        with tgrad.no_grad():
            other[0].weight.zero_()
        assert float(net[0].weight.abs().sum()) > 0 and not other.training


def test_a_shared_layer_stays_shared_in_a_copy():
    net = copy.deepcopy(Net())
    assert net.shared is net.first and len(list(net.parameters())) == 5


REPRS = [
    (nn.Identity(3, a=4), "Identity()"),
    (nn.Linear(2, 3, bias=False), "Linear(in_features=2, out_features=3, bias=False)"),
    (nn.Conv2d(1, 2, 3), "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))"),
    (nn.Conv2d(2, 4, (3, 1), 2, 1, 2, 2, bias=False),
     "Conv2d(2, 4, kernel_size=(3, 1), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2, "
     "bias=False)"),
    (nn.Conv2d(1, 2, 3, padding="same"),
     "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=same)"),
    (nn.MaxPool2d(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"),
    (nn.AvgPool2d((2, 1), 1), "AvgPool2d(kernel_size=(2, 1), stride=1, padding=0)"),
    (nn.AdaptiveAvgPool2d((1, None)), "AdaptiveAvgPool2d(output_size=(1, None))"),
    (nn.BatchNorm2d(3, momentum=None),
     "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)"),
    (nn.Dropout(0.1), "Dropout(p=0.1, inplace=False)"),
    (nn.Embedding(5, 2, padding_idx=-1), "Embedding(5, 2, padding_idx=4)"),
    (nn.ReLU(True), "ReLU(inplace=True)"),
    (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
    (nn.GELU(), "GELU(approximate='none')"),
    (nn.Softmax(1), "Softmax(dim=1)"),
    (nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
    (nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))"),
    (nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
    (nn.Sequential(OrderedDict(a=nn.Tanh(), b=nn.Sequential(nn.Sigmoid()))),
     "Sequential(\n  (a): Tanh()\n  (b): Sequential(\n    (0): Sigmoid()\n  )\n)"),
    (nn.ModuleList([nn.SiLU(), nn.ReLU(), nn.ReLU()]),
     "ModuleList(\n  (0): SiLU()\n  (1-2): 2 x ReLU()\n)"),
    (nn.ModuleDict({"a": nn.Tanh()}), "ModuleDict(\n  (a): Tanh()\n)"),
]  # fmt: skip


@pytest.mark.parametrize("module, text", REPRS, ids=[type(m).__name__ for m, _ in REPRS])
def test_repr_reads_like_pytorchs(module, text):
    assert repr(module) == text
