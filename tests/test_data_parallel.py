"""DataParallel: parts of a batch on several devices.

The emulator has one GPU, so that copies run on it and on the CPU, in two threads; two GPUs are left
to ``test_gpu.py``'s machines.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.nn import parallel

BOTH = ("cpu", "cuda:0")


def model():
    tgrad.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LSTM(4, 2, batch_first=True)).double()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = model()
        self.norm = nn.BatchNorm1d(2).double()
        self.threads: list[int] = []  # an ended thread's number may be used again

    def forward(self, x, *, scale=1.0):
        self.threads.append(threading.get_ident())
        y, (h, _) = self.layers(x)
        return {"y": self.norm(y.mT).mT * scale, "h": h.mT}


def test_without_devices_the_module_is_called(monkeypatch):
    monkeypatch.setattr(tgrad.cuda, "is_available", lambda: False)
    inner = nn.Linear(2, 3)
    outer = nn.DataParallel(inner)
    x = tgrad.randn(4, 2)
    assert outer.device_ids == [] and tgrad.equal(outer(x), inner(x))
    assert list(outer.state_dict()) == ["module.weight", "module.bias"]
    assert repr(outer).startswith("DataParallel(\n  (module): Linear(")
    with pytest.raises(RuntimeError, match="device type could not be determined"):
        parallel.data_parallel(inner, x)


def test_one_gpu_takes_the_whole_batch():
    outer = nn.DataParallel(nn.Linear(2, 3))
    assert outer.device_ids == [0] and outer.module.weight.is_cuda
    y = outer(tgrad.ones(4, 2))  # the input is moved
    assert y.is_cuda and y.shape == (4, 3)


def test_values_and_gradients_are_those_of_one_device():
    x = tgrad.randn(6, 5, 3, dtype=tgrad.float64)
    alone, shared = model(), model()
    a = x.clone().requires_grad_()
    want, _ = alone(a)
    want.square().sum().backward()
    b = x.clone().requires_grad_()
    got, _ = nn.DataParallel(shared, BOTH)(b)
    assert got.device.type == "cpu" and got.shape == want.shape
    got.square().sum().backward()
    np.testing.assert_allclose(got.detach(), want.detach(), rtol=1e-12)
    assert a.grad is not None and b.grad is not None
    np.testing.assert_allclose(b.grad, a.grad, rtol=1e-10)
    for p, q in zip(shared.parameters(), alone.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-10)


def test_copies_run_in_threads_and_buffers_of_the_first_device_are_kept():
    net = Net()
    outer = parallel.DataParallel(net, BOTH, output_device="cuda")
    x = tgrad.randn(4, 5, 3, dtype=tgrad.float64)
    y = outer(x, scale=2.0)
    assert set(y) == {"y", "h"} and y["y"].is_cuda and y["y"].shape == (4, 5, 2)
    assert len(net.threads) == 2 and threading.get_ident() not in net.threads
    first = Net()
    first(x[:2])
    np.testing.assert_allclose(net.norm.running_mean, first.norm.running_mean, rtol=1e-12)
    assert net.norm.num_batches_tracked == 1


def test_a_small_batch_uses_fewer_devices():
    net = nn.Linear(3, 2).double()
    x = tgrad.randn(1, 3, dtype=tgrad.float64)
    assert tgrad.equal(nn.DataParallel(net, BOTH)(x), net(x))


def test_grad_mode_and_autocast_are_the_callers():
    outer = nn.DataParallel(nn.Linear(3, 2), BOTH)
    x = tgrad.randn(4, 3)
    with tgrad.no_grad():
        assert not outer(x).requires_grad
    with tgrad.autocast("cpu"), tgrad.autocast("cuda", tgrad.bfloat16):
        y = outer(x)
    assert y.dtype is tgrad.bfloat16 and y.requires_grad
    assert outer(x).dtype is tgrad.float32


def test_scalars_are_gathered_into_a_vector():
    class Loss(nn.Module):
        def forward(self, x):
            return x.sum()

    y = parallel.data_parallel(Loss(), tgrad.ones(4, 3), BOTH, -1)
    np.testing.assert_array_equal(y, [6, 6])


class Pair(NamedTuple):
    left: object
    right: object


def test_scatter_and_gather_keep_the_structure():
    x = tgrad.arange(10).reshape(5, 2)
    value = {"a": [x, "text"], "b": Pair(x + 1, (x,)), "c": None}
    parts = parallel.scatter(value, BOTH)
    assert [p["a"][0].shape[0] for p in parts] == [3, 2] and parts[1]["a"][1] == "text"
    assert parts[1]["b"].left.is_cuda and type(parts[0]["b"]) is Pair and parts[0]["c"] is None
    back = parallel.gather([{k: p[k] for k in ("b", "c")} for p in parts], "cpu")
    assert tgrad.equal(back["b"].left, x + 1) and tgrad.equal(back["b"].right[0], x)
    assert back["c"] is None
    assert type(parallel.scatter(x, BOTH)) is tuple
    columns = parallel.scatter(x, BOTH, 1)
    assert [c.shape for c in columns] == [(5, 1), (5, 1)]


def test_copies_share_what_the_module_shares():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    other = parallel.replicate(net, ["cuda"])[0]
    assert other[0].weight is other[1].weight and other[0].weight.is_cuda
    assert other[0].weight.requires_grad
    assert not parallel.replicate(net, ["cuda"], detach=True)[0][0].weight.requires_grad
    assert parallel.replicate(net, ["cpu"])[0][0].weight is net[0].weight


def test_errors_of_a_copy_are_raised_with_their_traceback():
    class Wrong(nn.Module):
        def forward(self, x):
            raise ValueError("no such thing")

    with pytest.raises(ValueError, match=r"in replica 0 on device cpu[\s\S]*no such thing"):
        nn.DataParallel(Wrong(), BOTH)(tgrad.ones(4))


def test_wrong_places_and_lengths_raise():
    outer = nn.DataParallel(nn.Linear(2, 2), ["cuda", "cpu"])
    with pytest.raises(RuntimeError, match=r"on device cuda:0 \(device_ids\[0\]\)"):
        outer(tgrad.ones(2, 2))
    with pytest.raises(AssertionError, match="number of modules 1"):
        parallel.parallel_apply([nn.Identity()], [])
    with pytest.raises(RuntimeError, match="no device was provided"):
        parallel.parallel_apply([nn.Identity()], [(1,)])
    with pytest.raises(ValueError, match="number of keys"):
        parallel.gather([{"a": 1}, {}], "cpu")
    with pytest.raises(RuntimeError, match="DataParallel"):
        parallel.replicate(nn.LazyLinear(2), ["cpu"])
    assert tgrad.equal(parallel.parallel_apply([nn.Identity()], [tgrad.ones(2)])[0], tgrad.ones(2))
