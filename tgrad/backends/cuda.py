"""``tgrad.backends.cuda``: how products and attention are computed on a GPU.

``fallback``: what an op without a CUDA kernel does, "warn" runs it on the host and says so once,
"error" raises. A setting of tgrad's own.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from tgrad.backends.libraries import preferred_blas_library, preferred_linalg_library
from tgrad.backends.settings import Fixed, Setting, install, is_bool
from tgrad.execute import fallback as _fallback
from tgrad.runtime import cuda as _cuda
from tgrad.runtime import precision
from tgrad.runtime.settings import attention

__all__ = [
    "allow_fp16_bf16_reduction_math_sdp", "cudnn_sdp_enabled", "enable_cudnn_sdp",
    "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp", "flash_sdp_enabled",
    "fp16_bf16_reduction_math_sdp_allowed", "is_built", "is_flash_attention_available",
    "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled",
    "preferred_blas_library", "preferred_linalg_library", "sdp_kernel",
]  # fmt: skip

fallback: str


def is_built() -> bool:
    """Whether what CUDA tensors need is installed (Triton and NVIDIA's bindings), or the emulator
    is asked for. There may still be no GPU: ``tgrad.cuda.is_available()`` says."""
    return _cuda.is_emulated() or all(map(_cuda.is_installed, ("triton", "cuda.bindings")))


class Products(Fixed):
    """``tgrad.backends.cuda.matmul``: products on a GPU, which Triton kernels compute."""

    _kept = {  # noqa: RUF012 - process-wide, as its names are
        "allow_fp16_reduced_precision_reduction": True,
        "allow_bf16_reduced_precision_reduction": True,
        "allow_fp16_accumulation": False,
    }

    @property
    def allow_tf32(self) -> bool:
        """Whether ``tgrad.get_float32_matmul_precision()`` is other than "highest".

        Setting it chooses "high" or "highest", as in PyTorch. "high" is TF32 three times over here
        and nearly as accurate as float32; "medium", or ``fp32_precision = "tf32"``, is TF32.
        """
        return precision.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        allowed = is_bool(value, "set_allow_tf32_cublas")
        precision.set_float32_matmul_precision("high" if allowed else "highest")

    @property
    def fp32_precision(self) -> str:
        """ "ieee" for float32, "tf32" for TF32; "none" leaves it to ``backends.fp32_precision``.

        The same setting as :func:`tgrad.set_float32_matmul_precision`, which PyTorch keeps apart.
        """
        return precision.get_fp32_precision("matmul")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        precision.set_fp32_precision("matmul", value)

    @property
    def allow_fp16_reduced_precision_reduction(self) -> bool:
        """Kept and read back. Sums of float16 products are kept in float32 whatever it is."""
        return self._kept["allow_fp16_reduced_precision_reduction"]

    @allow_fp16_reduced_precision_reduction.setter
    def allow_fp16_reduced_precision_reduction(self, value: bool) -> None:
        self._keep("allow_fp16_reduced_precision_reduction", value)

    @property
    def allow_bf16_reduced_precision_reduction(self) -> bool:
        """Kept and read back. Sums of bfloat16 products are kept in float32 whatever it is."""
        return self._kept["allow_bf16_reduced_precision_reduction"]

    @allow_bf16_reduced_precision_reduction.setter
    def allow_bf16_reduced_precision_reduction(self, value: bool) -> None:
        self._keep("allow_bf16_reduced_precision_reduction", value)

    @property
    def allow_fp16_accumulation(self) -> bool:
        """Kept and read back. Sums of float16 products are kept in float32 whatever it is."""
        return self._kept["allow_fp16_accumulation"]

    @allow_fp16_accumulation.setter
    def allow_fp16_accumulation(self, value: bool) -> None:
        self._kept["allow_fp16_accumulation"] = is_bool(value, "set_allow_fp16_accumulation_cublas")

    def _keep(self, name: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"{name} expects a bool, but got {type(value)!r}")
        self._kept[name] = value


matmul = Products()


# ---- attention -----------------------------------------------------------------------------------
#
# PyTorch has three fused kernels and one way of plain products ("math"). Here one fused kernel
# stands for the three: it is used while one of them is enabled, and plain products otherwise.


def flash_sdp_enabled() -> bool:
    """Whether the fused kernel may compute attention under the name of flash attention."""
    return attention.flash


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid the fused kernel under this name; it runs while one of its names is on."""
    attention.flash = is_bool(enabled, "set_sdp_use_flash")


def mem_efficient_sdp_enabled() -> bool:
    """Whether the fused kernel may compute attention under the name of efficient attention."""
    return attention.mem_efficient


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid the fused kernel under this name; it runs while one of its names is on."""
    attention.mem_efficient = is_bool(enabled, "set_sdp_use_mem_efficient")


def cudnn_sdp_enabled() -> bool:
    """Whether the fused kernel may compute attention under the name of cuDNN's."""
    return attention.cudnn


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid the fused kernel under this name; it runs while one of its names is on."""
    attention.cudnn = is_bool(enabled, "set_sdp_use_cudnn")


def math_sdp_enabled() -> bool:
    """Whether attention may be computed by plain products, with its weights in memory."""
    return attention.math


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention by plain products, which is used where no fused kernel is on, and
    on a GPU for more than 256 features."""
    attention.math = is_bool(enabled, "set_sdp_use_math")


def fp16_bf16_reduction_math_sdp_allowed() -> bool:
    """What :func:`allow_fp16_bf16_reduction_math_sdp` was last given; False at first."""
    return attention.half_sums


def allow_fp16_bf16_reduction_math_sdp(enabled: bool) -> None:
    """Kept and read back: products of half types have float32 sums whatever it is."""
    attention.half_sums = is_bool(enabled, "set_math_sdp_allow_fp16_bf16_reduction")


def is_flash_attention_available() -> bool:
    """Whether CUDA tensors have the fused kernel: wherever they can be made."""
    return is_built()


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """Inside, attention may be computed in these ways. ``tgrad.nn.attention.sdpa_kernel`` is the
    newer form of this."""
    warnings.warn(
        "tgrad.backends.cuda.sdp_kernel() is deprecated and may go; "
        "tgrad.nn.attention.sdpa_kernel() takes its place.",
        FutureWarning,
        stacklevel=3,
    )
    with attention.only(
        flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn
    ):
        yield


def _set_fallback(mode: str) -> None:
    if mode not in ("warn", "error"):
        raise ValueError(f"backends.cuda.fallback: expected 'warn' or 'error', got {mode!r}")
    _fallback.mode = mode


install(__name__, fallback=Setting(lambda: _fallback.mode, _set_fallback))
