"""The registry and dispatch: what holds for every op, whatever it computes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tgrad
from tgrad import backends, library
from tgrad.dispatch import OPS, FallbackWarning
from tgrad.library import Spec, kernel, op


@pytest.fixture
def host_only():
    @op
    def host_only(x: tgrad.Tensor) -> Spec:
        """x + 1, on the host alone."""
        return Spec(x.shape, x.dtype)

    @kernel(host_only, "cpu")
    def _(y, x):
        np.add(x, 1, out=y)

    yield host_only
    library.unregister(host_only)


def test_an_op_without_a_cuda_kernel_falls_back_with_one_warning(host_only):
    x = tgrad.ones(2, device="cuda")
    with pytest.warns(FallbackWarning, match="host_only"):
        y = host_only(x)
    assert y.device.type == "cuda" and y.tolist() == [2.0, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        host_only(x)


def test_fallback_can_be_forbidden(host_only):
    backends.cuda.fallback = "error"
    try:
        with pytest.raises(RuntimeError, match="no CUDA kernel"):
            host_only(tgrad.ones(2, device="cuda"))
    finally:
        backends.cuda.fallback = "warn"
    with pytest.raises(ValueError, match="'silent'"):
        backends.cuda.fallback = "silent"


def test_input_names_the_first_argument_of_every_op():
    x = tgrad.tensor([1.0, -1.0])
    assert tgrad.exp(input=x).tolist() == x.exp().tolist()
    assert tgrad.add(input=x, other=x).tolist() == [2.0, -2.0]
    assert tgrad.sum(input=x, dim=0).item() == 0.0


def test_unknown_arguments_name_the_op():
    with pytest.raises(TypeError, match=r"exp\(\)"):
        tgrad.exp(tgrad.ones(1), base=2)
    with pytest.raises(TypeError, match="matmul"):
        tgrad.matmul(tgrad.ones(1))


def test_mixed_devices_raise_except_for_host_scalars():
    x = tgrad.ones(2, device="cuda")
    with pytest.raises(RuntimeError, match="same device"):
        x + tgrad.ones(2)
    with pytest.raises(RuntimeError, match="same device"):
        tgrad.matmul(x, tgrad.ones(2))
    assert (x + tgrad.tensor(1.0)).tolist() == [2.0, 2.0]
    assert (tgrad.tensor(1.0) + x).device.type == "cuda"


def test_cuda_arrays_do_not_answer_to_numpy():
    x = tgrad.ones(2, device="cuda")
    with pytest.raises(TypeError, match="to numpy"):
        np.asarray(x)
    with pytest.raises(TypeError, match="to numpy"):
        x.numpy()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_out_is_written_resized_and_checked(device):
    x = tgrad.tensor([1.0, 2.0], device=device)
    out = tgrad.empty(2, device=device)
    assert tgrad.add(x, x, out=out) is out and out.tolist() == [2.0, 4.0]
    wrong = tgrad.empty(3, device=device)
    with pytest.warns(UserWarning, match="resized"):
        tgrad.add(x, x, out=wrong)
    assert wrong.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="can't be cast"):
        tgrad.add(x, x, out=tgrad.empty(2, dtype=tgrad.int64, device=device))
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        tgrad.add(x.requires_grad_(), x, out=out)


def test_out_may_be_an_operand_seen_otherwise():
    x = tgrad.tensor([1.0, 2.0, 3.0, 4.0])
    tgrad.add(x[:3], 10.0, out=x[1:])
    assert x.tolist() == [1.0, 11.0, 12.0, 13.0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_in_place_keeps_dtype_shape_and_memory(device):
    x = tgrad.tensor([[1, 2], [3, 4]], device=device)
    y = x.transpose(0, 1)
    assert x.add_(1) is x
    assert y.tolist() == [[2, 4], [3, 5]]
    y.mul_(tgrad.tensor([10, 1], device=device))
    assert x.tolist() == [[20, 30], [4, 5]]
    with pytest.raises(RuntimeError, match="can't be cast"):
        x.mul_(0.5)
    with pytest.raises(RuntimeError, match="broadcast shape"):
        x.add_(tgrad.ones(3, 2, 2, dtype=tgrad.int64, device=device))
    assert x.tolist() == [[20, 30], [4, 5]]


def test_writing_into_an_expanded_tensor_raises():
    x = tgrad.zeros(1).expand(3)
    with pytest.raises(RuntimeError, match="single memory location"):
        x.add_(1)


def test_every_name_of_the_registry_is_where_its_spaces_say():
    for entry in OPS.values():
        if "tgrad" in entry.spaces:
            assert getattr(tgrad, entry.name, None) is entry.function, entry.name
        if "Tensor" in entry.spaces:
            assert hasattr(tgrad.Tensor, entry.name), entry.name
        if "nn.functional" in entry.spaces:
            assert hasattr(tgrad.nn.functional, entry.name), entry.name
