"""``tgrad.backends``: settings are kept, refuse what is unfit, and reach the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import backends
from tgrad.backends.blas import blas_name
from tgrad.nn import functional as F
from tgrad.nn.attention import SDPBackend, sdpa_kernel
from tgrad.runtime import plan, precision
from tgrad.runtime.recorder import recording


@pytest.fixture(autouse=True)
def levels():
    """Nothing set; afterwards, precision as it was."""
    with precision.restored():
        for place in precision.PLACES:
            precision.set_level(place, None)
        yield


def precisions(call) -> set[str]:
    """What ``call`` passes on to ``tl.dot`` in its launches."""
    with recording(0) as recorder:
        call()
    named = [launch.constants.get("PRECISION") for launch in recorder.launches]
    return {p for p in named if p is not None}


def convolve(kernel: int) -> None:
    x = tgrad.empty(2, 20, 6, 6, device="cuda", requires_grad=True)
    w = tgrad.empty(24, 20, kernel, kernel, device="cuda", requires_grad=True)
    y = F.conv2d(x, w)
    tgrad.autograd.grad(y, (x, w), tgrad.empty(y.shape, device="cuda"))


def multiply() -> None:
    x = tgrad.empty(20, 20, device="cuda")
    tgrad.matmul(x, x)


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions_follow_products_until_they_have_a_setting(kernel: int):
    def both() -> tuple[set[str], set[str]]:
        return precisions(lambda: convolve(kernel)), precisions(multiply)

    assert not backends.cudnn.allow_tf32 and both() == ({"ieee"}, {"ieee"})
    backends.cuda.matmul.allow_tf32 = True
    assert backends.cudnn.allow_tf32 and both() == ({"tf32x3"}, {"tf32x3"})
    backends.cudnn.allow_tf32 = False
    assert not backends.cudnn.allow_tf32 and both() == ({"ieee"}, {"tf32x3"})
    backends.cuda.matmul.allow_tf32 = False
    backends.cudnn.allow_tf32 = True
    assert both() == ({"tf32"}, {"ieee"})


def test_allow_tf32_and_the_matmul_precision_are_one_setting():
    for level, allowed, name in (("highest", False, "ieee"), ("high", True, "tf32"),
                                 ("medium", True, "tf32")):  # fmt: skip
        tgrad.set_float32_matmul_precision(level)
        assert backends.cuda.matmul.allow_tf32 is allowed
        assert backends.cuda.matmul.fp32_precision == name
    backends.cuda.matmul.allow_tf32 = False
    assert tgrad.get_float32_matmul_precision() == "highest"
    backends.cuda.matmul.allow_tf32 = True
    assert tgrad.get_float32_matmul_precision() == "high"
    with pytest.raises(RuntimeError, match="expects a bool, but got int"):
        backends.cuda.matmul.allow_tf32 = 1  # pyright: ignore[reportAttributeAccessIssue]
    assert tgrad.get_float32_matmul_precision() == "high"


def test_fp32_precision_is_inherited_from_the_wider_setting():
    matmul, conv = backends.cuda.matmul, backends.cudnn.conv
    assert backends.fp32_precision == matmul.fp32_precision == conv.fp32_precision == "none"
    backends.fp32_precision = "tf32"
    assert matmul.fp32_precision == conv.fp32_precision == "tf32"
    assert precisions(lambda: convolve(3)) == precisions(multiply) == {"tf32"}
    conv.fp32_precision = "ieee"
    assert precisions(lambda: convolve(3)) == {"ieee"} and precisions(multiply) == {"tf32"}
    backends.cudnn.fp32_precision = "ieee"
    assert precisions(multiply) == {"ieee"}
    matmul.fp32_precision = "tf32"
    assert precisions(multiply) == {"tf32"}
    with backends.flags("ieee"):
        assert backends.fp32_precision == "ieee"
    assert backends.fp32_precision == "tf32"
    places: tuple[Any, ...] = (matmul, conv, backends, backends.cudnn)
    for place in places:
        with pytest.raises(RuntimeError, match="Unknown precision: half"):
            place.fp32_precision = "half"
        with pytest.raises(RuntimeError, match="does not support precision 'bf16'"):
            place.fp32_precision = "bf16"


def test_a_changed_precision_lets_plans_be_made_anew():
    settings = (
        lambda: setattr(backends.cudnn, "allow_tf32", True),
        lambda: setattr(backends.cudnn.conv, "fp32_precision", "ieee"),
        lambda: setattr(backends.cuda.matmul, "allow_tf32", True),
        lambda: setattr(backends, "fp32_precision", "tf32"),
    )
    for change in settings:
        before = plan.State.epoch
        change()
        assert plan.State.epoch > before


def test_the_tuner_holds_convolutions_at_the_precision_of_a_call():
    from tgrad.tuner.calls import described

    backends.cudnn.allow_tf32 = True
    x = tgrad.ones(2, 2).numpy()
    assert described("_convolution", [x.tolist()], []).precision == "medium"
    assert described("matmul", [x.tolist()], []).precision == "highest"
    with precision.held("high"):
        assert precision.conv_precision() == precision.input_precision() == "tf32x3"
    assert precision.conv_precision() == "tf32"


@pytest.mark.parametrize("module, names", [
    ("cudnn", ("enabled", "benchmark", "deterministic")),
    ("mkldnn", ("enabled", "deterministic", "allow_tf32")),
])  # fmt: skip
def test_settings_are_kept_and_take_bools_alone(module: str, names: tuple[str, ...]):
    place = getattr(backends, module)
    for name in names:
        before = getattr(place, name)
        setattr(place, name, not before)
        try:
            assert getattr(place, name) is not before
            with pytest.raises(RuntimeError, match="expects a bool, but got str"):
                setattr(place, name, "yes")
            assert getattr(place, name) is not before
        finally:
            setattr(place, name, before)


def test_flags_hold_inside_alone():
    cudnn = backends.cudnn
    cudnn.benchmark = True
    try:
        with pytest.raises(KeyError), cudnn.flags(deterministic=True):
            assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (False, False, True)
            assert cudnn.allow_tf32 and precision.conv_precision() == "tf32"
            raise KeyError
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, True, False)
        assert not cudnn.allow_tf32  # convolutions follow products again
        tgrad.set_float32_matmul_precision("high")
        assert cudnn.allow_tf32
    finally:
        cudnn.benchmark = False
    with backends.mkldnn.flags(enabled=False, allow_tf32=False):
        assert not backends.mkldnn.enabled and not backends.mkldnn.allow_tf32
    assert backends.mkldnn.enabled and backends.mkldnn.allow_tf32


def test_objects_of_settings_refuse_unknown_names():
    for place in (backends.cuda.matmul, backends.cudnn.conv):
        with pytest.raises(AttributeError, match="Unknown attribute allow_tf23"):
            place.allow_tf23 = True
        with pytest.raises(AttributeError, match="Unknown attribute allow_tf23"):
            place.allow_tf23  # noqa: B018


def test_permissions_of_half_sums_are_kept():
    matmul = backends.cuda.matmul
    for name in ("allow_fp16_reduced_precision_reduction",
                 "allow_bf16_reduced_precision_reduction", "allow_fp16_accumulation"):  # fmt: skip
        before = getattr(matmul, name)
        setattr(matmul, name, not before)
        assert getattr(matmul, name) is not before
        setattr(matmul, name, before)
        with pytest.raises((TypeError, RuntimeError), match="expects a bool"):
            setattr(matmul, name, 3)


def test_libraries_that_are_not_used_are_not_available():
    for name in ("cudnn", "mkldnn", "mps", "openmp", "opt_einsum"):
        assert not getattr(backends, name).is_available()
    assert not backends.mps.is_built() and backends.cudnn.version() is None
    assert backends.cuda.is_built() and tgrad.cuda.is_available()  # the emulator
    assert backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "SVE256", "DEFAULT")
    assert backends.mkl.is_available() is ("mkl" in blas_name())
    assert (backends.opt_einsum.enabled, backends.opt_einsum.strategy) == (False, None)
    backends.opt_einsum.enabled = False
    with pytest.raises(ValueError, match="package is not used"):
        backends.opt_einsum.enabled = True
    with pytest.raises(ValueError, match="package is not used"), backends.opt_einsum.flags(True):
        raise AssertionError


@pytest.mark.parametrize("kind", ["linalg", "blas"])
def test_no_library_of_linear_algebra_can_be_preferred(kind: str):
    choose: Any = getattr(backends.cuda, f"preferred_{kind}_library")
    default = choose()
    assert default.name == "Default" and choose("default") is choose(default) is default
    others = {"linalg": ("cusolver", "magma"), "blas": ("cublas", "cublaslt", "ck")}[kind]
    for wrong, match in ((others[0], "calls no such library"), (others[1], "calls no such library"),
                         ("lapack", "Choose from"), (3, "Unknown input value type")):  # fmt: skip
        with pytest.raises(RuntimeError, match=match):
            choose(wrong)
    assert choose() is default


def test_the_fast_path_of_attention_layers_is_kept():
    mha = backends.mha
    assert mha.get_fastpath_enabled() is True
    mha.set_fastpath_enabled(False)
    assert mha.get_fastpath_enabled() is False
    mha.set_fastpath_enabled(True)


# ---- attention -----------------------------------------------------------------------------------


def attended(device: str, monkeypatch, features: int = 4) -> tuple[np.ndarray, bool]:
    """The result, and whether the fused kernel computed it."""
    from tgrad.ops import attention

    calls, fused = [], attention._attention
    monkeypatch.setattr(attention, "_attention", lambda *a: calls.append(1) or fused(*a))
    try:
        rng = np.random.default_rng(0)
        q, k, v = (tgrad.tensor(rng.standard_normal((1, 2, 5, features)), device=device)
                   for _ in range(3))  # fmt: skip
        return F.scaled_dot_product_attention(q, k, v).cpu().numpy(), bool(calls)
    finally:
        monkeypatch.setattr(attention, "_attention", fused)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_attention_goes_by_the_ways_that_are_enabled(device: str, monkeypatch):
    want, fused = attended(device, monkeypatch)
    assert fused
    for ways in (SDPBackend.FLASH_ATTENTION, [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
                 SDPBackend.CUDNN_ATTENTION):  # fmt: skip
        with sdpa_kernel(ways) as context:
            assert context == {}
            assert attended(device, monkeypatch)[1]
    for by_math in (
        sdpa_kernel(SDPBackend.MATH),
        sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], set_priority=True),
    ):
        with by_math:
            got, fused = attended(device, monkeypatch)
            assert not fused
            np.testing.assert_allclose(got, want, atol=1e-12)
    with sdpa_kernel([]), pytest.raises(RuntimeError, match="No available kernel"):
        attended(device, monkeypatch)
    assert attended(device, monkeypatch)[1]


def test_long_heads_on_a_gpu_need_plain_products(monkeypatch):
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        before = tgrad.cuda.get_rng_state()
        x = tgrad.ones(1, 1, 8, 257, device="cuda")
        with pytest.raises(RuntimeError, match="more than 256 features on cuda"):
            F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)
        assert attended("cpu", monkeypatch, 257)[1]
        assert tgrad.equal(tgrad.cuda.get_rng_state(), before)  # nothing was drawn


def test_ways_of_attention_are_switched_one_by_one():
    cuda = backends.cuda
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        read, write = getattr(cuda, f"{name}_sdp_enabled"), getattr(cuda, f"enable_{name}_sdp")
        assert read() is True
        write(False)
        assert read() is False
        with pytest.raises(RuntimeError, match="expects a bool, but got int"):
            write(1)
        write(True)
    assert not cuda.fp16_bf16_reduction_math_sdp_allowed()
    cuda.allow_fp16_bf16_reduction_math_sdp(True)
    assert cuda.fp16_bf16_reduction_math_sdp_allowed()
    cuda.allow_fp16_bf16_reduction_math_sdp(False)
    with pytest.warns(FutureWarning, match="sdpa_kernel"), cuda.sdp_kernel(enable_flash=False):
        assert not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    assert cuda.flash_sdp_enabled() and cuda.is_flash_attention_available()
    with pytest.raises(AssertionError, match="got str"), sdpa_kernel("flash"):  # pyright: ignore[reportArgumentType]
        raise KeyError
