"""Names that training programs touch beside tensors and layers, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")


def outcome(code: str, module: Any) -> Any:
    """The value of an expression of module ``t``, in words both modules share; or its error."""
    try:
        return plain(eval(code, {"t": module, "np": np}))
    except Exception as error:
        return type(error)


def plain(value: Any) -> Any:
    if isinstance(value, (tgrad.Tensor, torch.Tensor)):
        return value.type().rpartition(".")[2], tuple(value.shape), value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (tgrad.dtype, torch.dtype)):
        return str(value).rpartition(".")[2]
    return value


@pytest.mark.parametrize("code", [
    "t.FloatTensor(t.Size([2, 3])).shape", "t.FloatTensor((2, 3))", "t.FloatTensor()",
    "t.LongTensor([1.5, -1.5])", "t.LongTensor([[1, 2], [3, 4]])", "t.FloatTensor(3.0)",
    "t.FloatTensor('a')", "t.FloatTensor(None)", "t.FloatTensor(True)", "t.FloatTensor({1: 2})",
    "t.FloatTensor(t.tensor([1.0]))", "t.LongTensor(t.tensor([1.0]))", "t.Tensor(t.Size([0]))",
    "t.FloatTensor(np.ones(2))", "t.FloatTensor(np.int64(2)).shape", "t.FloatTensor(range(3))",
    "t.ByteTensor([300])", "t.ByteTensor([-1])", "t.BoolTensor([2, 0])", "t.HalfTensor([1])",
    "t.FloatTensor(2, 3.0)", "t.FloatTensor([2], [3])", "t.FloatTensor(-1)",
    "isinstance(t.ones(1), t.FloatTensor)", "isinstance(t.ones(1).long(), t.FloatTensor)",
    "isinstance(t.FloatTensor, type)", "t.FloatTensor.dtype", "t.FloatTensor.is_cuda",
    "t.ones(1).type(t.LongTensor)", "t.ones(1).type('torch.LTensor')", "t.ones(1).type(3)",
    "t.set_default_tensor_type(t.IntTensor)", "t.set_default_tensor_type(3)",
    "t.set_default_tensor_type(t.float32)", "t.tensor([1]).new([2, 3])", "t.ones(1).new(2).shape",
])  # fmt: skip
def test_older_types_of_tensors_do_what_pytorchs_do(code: str):
    assert outcome(code, tgrad) == outcome(code, torch)


@pytest.mark.parametrize("code", [
    "t.get_deterministic_debug_mode()", "t.is_warn_always_enabled()", "t.is_anomaly_enabled()",
    "t.is_anomaly_check_nan_enabled()", "t.is_deterministic_algorithms_warn_only_enabled()",
    "t.set_deterministic_debug_mode('x')", "t.set_deterministic_debug_mode(5)",
    "t.set_deterministic_debug_mode(1.5)", "t.set_warn_always(1)", "t.set_num_interop_threads(0)",
    "t.get_num_interop_threads() > 0", "t.version.hip", "t.version.debug",
    "t.is_storage(t.ones(1))", "isinstance(1, t.types.Number)", "t.cuda.has_half",
    "t.cuda.has_magma", "t.cuda.get_gencode_flags()", "t.get_device_module(3)",
    "t.get_device_module('foo')", "t.get_device_module('cpu:0').__name__.partition('.')[2]",
])  # fmt: skip
def test_small_readers_answer_as_pytorchs(code: str):
    assert outcome(code, tgrad) == outcome(code, torch)
