"""``tgrad.backends`` against torch: names, signatures, first values, errors."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import tgrad
from tgrad.nn.attention import SDPBackend

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize("name", [
    "cuda.is_built", "cuda.enable_flash_sdp", "cuda.sdp_kernel", "mps.is_available",
    "mkl.is_available", "openmp.is_available", "opt_einsum.flags", "cpu.get_cpu_capability",
    "cudnn.version", "cudnn.is_acceptable", "flags",
    "cuda.preferred_linalg_library", "mha.set_fastpath_enabled",
])  # fmt: skip
def test_functions_take_pytorchs_arguments(name: str):
    ours: Any = tgrad.backends
    theirs: Any = torch.backends
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    a, b = (inspect.signature(f).parameters.values() for f in (ours, theirs))
    assert [(p.name, p.default) for p in a] == [(p.name, p.default) for p in b]


@pytest.mark.parametrize("name", [
    "cudnn.enabled", "cudnn.benchmark", "cudnn.deterministic", "cudnn.benchmark_limit",
    "mkldnn.enabled", "mkldnn.deterministic", "fp32_precision", "cuda.matmul.allow_tf32",
    "cuda.matmul.fp32_precision", "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_fp16_accumulation", "cudnn.fp32_precision",
])  # fmt: skip
def test_settings_start_as_pytorchs_do(name: str):
    ours: Any = tgrad.backends
    theirs: Any = torch.backends
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    assert ours == theirs and type(ours) is type(theirs)


@pytest.mark.parametrize("code", [
    "cuda.matmul.allow_tf32 = 1", "cuda.matmul.typo = 1", "cudnn.conv.typo = 1",
    "cudnn.benchmark = 3", "cudnn.enabled = 'x'", "cuda.matmul.fp32_precision = 'foo'",
    "cuda.matmul.fp32_precision = 'bf16'", "cuda.enable_flash_sdp(1)", "cuda.enable_math_sdp(1)",
    "cuda.preferred_linalg_library('x')", "cuda.preferred_linalg_library(3)",
    "cuda.preferred_linalg_library('magma')",
    "cuda.matmul.allow_fp16_reduced_precision_reduction = 3",
])  # fmt: skip
def test_unfit_values_raise_pytorchs_errors(code: str):
    kinds = []
    for backends in (tgrad.backends, torch.backends):
        with pytest.raises(Exception) as info:
            exec(f"backends.{code}", {"backends": backends})
        kinds.append(info.type)
    assert kinds[0] is kinds[1]


def test_ways_of_attention_have_pytorchs_names_and_numbers():
    theirs = torch.nn.attention.SDPBackend
    assert {k: int(v) for k, v in SDPBackend.__members__.items()} == {
        k: int(v) for k, v in theirs.__members__.items()
    }
    assert str(SDPBackend.MATH) == str(theirs.MATH)


@pytest.mark.parametrize("name", [
    "cuda.amp.autocast", "cuda.amp.GradScaler", "cuda.amp.custom_fwd", "cuda.amp.custom_bwd",
    "cpu.amp.autocast", "cpu.amp.GradScaler",
])  # fmt: skip
def test_older_names_of_amp_take_pytorchs_arguments_and_warn_alike(name: str):
    ours: Any = tgrad
    theirs: Any = torch
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    a, b = (list(inspect.signature(f).parameters.values()) for f in (ours, theirs))
    assert [p.name for p in a] == [p.name for p in b]
    numbers = [(p.default, q.default) for p, q in zip(a, b, strict=True) if p.name != "dtype"]
    assert all(x == y for x, y in numbers)
    dtypes = [(p.default, q.default) for p, q in zip(a, b, strict=True) if p.name == "dtype"]
    assert all(str(y) == f"torch.{x.name}" for x, y in dtypes)
    given = () if inspect.isclass(ours) else (lambda ctx: None,)
    for function in (ours, theirs):
        with pytest.warns(FutureWarning, match="deprecated"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "GradScaler is enabled|.*not available", UserWarning)
            function(*given)
