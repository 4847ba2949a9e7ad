"""Devices: names, equality, defaults by context and by thread, moving tensors."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest

import tgrad


def test_devices_are_interned():
    assert tgrad.device("cuda:1") is tgrad.device("cuda", 1)
    assert tgrad.device("cuda") is not tgrad.device("cuda:0")
    assert tgrad.device(tgrad.device("cpu")) is tgrad.device(type="cpu")
    assert tgrad.device(1) is tgrad.device("cuda:1")
    where = tgrad.device("cuda:2")
    assert pickle.loads(pickle.dumps(where)) is where and copy.deepcopy(where) is where


def test_devices_print_as_pytorchs_do():
    where = tgrad.device("cuda", 1)
    assert (repr(where), str(where)) == ("device(type='cuda', index=1)", "cuda:1")
    assert (repr(tgrad.device("cpu")), str(tgrad.device("cpu"))) == ("device(type='cpu')", "cpu")


@pytest.mark.parametrize(
    "args, error",
    [
        (("foo",), RuntimeError),
        (("cuda:",), RuntimeError),
        (("cuda:-1",), RuntimeError),
        (("cuda:x",), RuntimeError),
        (("cuda:01",), RuntimeError),
        (("cuda:0", 1), RuntimeError),
        (("cpu", -2), RuntimeError),
        ((None,), TypeError),
        ((1.5,), TypeError),
    ],
)
def test_bad_names_are_refused(args: tuple, error: type[Exception]):
    with pytest.raises(error):
        tgrad.device(*args)


def test_a_device_is_a_context_in_which_tensors_are_made():
    assert tgrad.get_default_device() is tgrad.device("cpu")
    with tgrad.device("cuda"):
        assert tgrad.zeros(2).is_cuda
        with tgrad.device("cpu"):
            assert tgrad.rand(2).is_cpu
        assert tgrad.tensor([1.0]).device is tgrad.device("cuda:0")
        assert tgrad.ones(2, device="cpu").is_cpu
    assert tgrad.arange(2).is_cpu


def test_the_default_device_is_each_threads_own():
    seen = []

    def run() -> None:
        tgrad.set_default_device("cuda")
        seen.append(tgrad.zeros(1).is_cuda)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [True] and tgrad.zeros(1).is_cpu


def test_set_default_device_and_back():
    tgrad.set_default_device("cuda")
    try:
        assert tgrad.eye(2).is_cuda and tgrad.randn(3).is_cuda
    finally:
        tgrad.set_default_device(None)
    assert tgrad.eye(2).is_cpu


def test_a_tensor_moves_and_its_gradient_comes_back():
    x = tgrad.arange(6.0).reshape(2, 3).requires_grad_()
    y = x.cuda()
    assert y.device is tgrad.device("cuda:0") and y.get_device() == 0 and x.get_device() == -1
    assert x.cpu() is x and y.cuda() is y and x.to("cuda", tgrad.float64).dtype is tgrad.float64
    (y * y).sum().backward()
    assert x.grad is not None and x.grad.is_cpu
    assert x.grad.tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]


def test_a_device_that_is_not_there_is_refused():
    for make in (lambda: tgrad.zeros(2, device="cuda:7"), lambda: tgrad.zeros(2).to("cuda:7")):
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            make()


def test_the_cuda_module_tells_about_the_gpu():
    assert tgrad.cuda.is_available() and tgrad.cuda.device_count() == 1
    assert tgrad.cuda.current_device() == 0
    assert isinstance(tgrad.cuda.get_device_name(), str)
    tgrad.cuda.synchronize()
    with pytest.raises(ValueError, match="Expected a cuda device"):
        tgrad.cuda.memory_allocated("cpu")


def test_cuda_seeds_its_own_generator():
    tgrad.manual_seed(3)
    tgrad.cuda.manual_seed(5)
    assert tgrad.initial_seed() == 3 and tgrad.cuda.initial_seed() == 5
    state = tgrad.cuda.get_rng_state()
    a = tgrad.rand(4, device="cuda")
    tgrad.cuda.set_rng_state(state)
    assert a.tolist() == tgrad.rand(4, device="cuda").tolist()
