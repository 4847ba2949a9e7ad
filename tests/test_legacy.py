"""Older types of tensors: what they make, what is of them, and which one is the default."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.legacy import ON_CPU, ON_CUDA

FLOATS: Any = tgrad.FloatTensor
ONE: Any = tgrad.ones(1)
NAMES = sorted(ON_CPU)
TYPES = [ON_CPU[n] for n in NAMES] + [ON_CUDA[n] for n in NAMES]
on_types = pytest.mark.parametrize("kind", TYPES, ids=lambda k: k.tensor_type)


@on_types
def test_a_type_takes_sizes_a_sequence_or_nothing(kind: Any):
    for made, shape in (
        (kind(2, 3), (2, 3)), (kind(tgrad.Size([2, 3])), (2, 3)), (kind(), (0,)), (kind(4), (4,)),
        (kind(np.int64(2)), (2,)), (kind([[1, 0], [0, 1]]), (2, 2)), (kind((1, 0)), (2,)),
        (kind(np.ones((2, 1))), (2, 1)), (kind(range(3)), (3,)), (kind(tgrad.Size([])), ()),
    ):  # fmt: skip
        assert type(made) is tgrad.Tensor and made.shape == shape
        assert made.dtype is kind.dtype and made.is_cuda == kind.is_cuda
    assert kind([1, 0]).tolist() == [1, 0]
    same = kind([1, 1])
    assert kind(same).data_ptr() == same.data_ptr()


@on_types
def test_every_tensor_is_of_one_type(kind: Any):
    x = kind([1, 0])
    assert [k for k in TYPES if isinstance(x, k)] == [kind]
    assert x.type() == kind.tensor_type == f"{kind.__module__}.{kind.__name__}"
    assert repr(kind) == f"<class '{kind.tensor_type}'>" and isinstance(kind, type)
    assert not isinstance(3, kind) and not isinstance(kind, kind)
    assert tgrad.typename(x) == kind.tensor_type == tgrad.typename(kind)
    assert pickle.loads(pickle.dumps(kind)) is kind


@on_types
def test_a_tensor_is_converted_to_a_type_or_its_name(kind: Any):
    for of in (tgrad.ones(2), tgrad.ones(2, dtype=tgrad.int64, device="cuda")):
        for wanted in (kind, kind.tensor_type):
            y = of.type(wanted)
            assert isinstance(y, kind) and y.tolist() == [1, 1]


def test_parameters_are_of_their_tensors_type():
    assert isinstance(tgrad.nn.Parameter(tgrad.ones(1)), tgrad.FloatTensor)
    assert isinstance(tgrad.nn.Linear(1, 1, device="cuda").weight, tgrad.cuda.FloatTensor)


@pytest.mark.parametrize("call, error, match", [
    (lambda: tgrad.FloatTensor(3.0), TypeError, r"must be a sequence \(got float\)"),
    (lambda: tgrad.FloatTensor(True), TypeError, r"must be a sequence \(got bool\)"),
    (lambda: tgrad.FloatTensor(None), TypeError, r"must be a sequence \(got NoneType\)"),
    (lambda: tgrad.FloatTensor({1: 2}), TypeError, r"must be a sequence \(got dict\)"),
    (lambda: tgrad.FloatTensor("ab"), TypeError, "invalid data type 'str'"),
    (lambda: tgrad.FloatTensor(2, 3.0), TypeError, "tuple of ints"),
    (lambda: tgrad.FloatTensor([2], [3]), TypeError, "tuple of ints"),
    (lambda: FLOATS(2, dtype=tgrad.float32), TypeError, "dtype"),
    (lambda: tgrad.FloatTensor(-1), RuntimeError, "negative"),
    (lambda: tgrad.FloatTensor(2, device="cuda"), RuntimeError, "expects device type: cpu"),
    (lambda: tgrad.cuda.FloatTensor(2, device="cpu"), RuntimeError, "expects device type: cuda"),
    (lambda: tgrad.LongTensor(tgrad.ones(1)), TypeError, "expected a tensor of tgrad.int64"),
    (lambda: tgrad.cuda.LongTensor(tgrad.LongTensor(1)), TypeError, "on cuda, got one"),
    (lambda: tgrad.ByteTensor([300]), RuntimeError, "without overflow"),
    (lambda: tgrad.ones(1).type("tgrad.LTensor"), ValueError, "invalid type: 'tgrad.LTensor'"),
    (lambda: ONE.type(3), TypeError, "type"),
    (lambda: tgrad.Tensor(True), TypeError, r"\(got bool\)"),
])  # fmt: skip
def test_other_arguments_are_refused(call: Any, error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        call()


def test_new_keeps_every_digit_of_integers():
    big = (1 << 62) + 1
    assert tgrad.tensor([0]).new([big]).tolist() == [big]
    assert tgrad.Tensor(tgrad.Size([2, 3])).shape == (2, 3)


@pytest.fixture
def defaults():
    yield
    tgrad.set_default_tensor_type(tgrad.FloatTensor)
    tgrad.set_default_device(None)


@pytest.mark.parametrize("given", ["tgrad.cuda.DoubleTensor", "torch.cuda.DoubleTensor",
                                   ON_CUDA["DoubleTensor"]])  # fmt: skip
def test_the_default_type_sets_dtype_and_device(defaults, given: Any):
    tgrad.set_default_tensor_type(given)
    assert isinstance(tgrad.zeros(2), tgrad.cuda.DoubleTensor)
    assert isinstance(tgrad.Tensor([1]), tgrad.cuda.DoubleTensor)
    tgrad.set_default_tensor_type(tgrad.HalfTensor)
    assert isinstance(tgrad.zeros(2), tgrad.HalfTensor)
    assert tgrad.get_default_dtype() is tgrad.float16


def test_a_device_that_was_chosen_otherwise_is_left(defaults):
    tgrad.set_default_device("cuda")
    tgrad.set_default_tensor_type(tgrad.DoubleTensor)
    assert isinstance(tgrad.zeros(2), tgrad.cuda.DoubleTensor)


@pytest.mark.parametrize("wrong, match", [
    (tgrad.IntTensor, "only floating-point types"), (3, "invalid type object"),
    ("tgrad.NoTensor", "invalid type object"), (tgrad.Tensor, "invalid type object"),
    (tgrad.float32, "invalid type object"),
])  # fmt: skip
def test_what_is_no_floating_type_is_no_default(wrong: Any, match: str):
    with pytest.raises(TypeError, match=match):
        tgrad.set_default_tensor_type(wrong)
    assert tgrad.get_default_dtype() is tgrad.float32
