"""``tgrad.backends.cudnn``: cuDNN, which tgrad does not use; and how convolutions round.

``allow_tf32``: whether float32 convolutions on a GPU may round their factors to TF32 (11 bits),
which its tensor cores multiply several times as fast. True and False set it; until then
convolutions follow ``tgrad.set_float32_matmul_precision``, so that it reads as False at the start,
where PyTorch's is True. ``fp32_precision`` and ``conv.fp32_precision`` set the same by name.
Recurrent layers follow products.

``enabled``, ``benchmark`` and ``deterministic`` are kept and read back, and change nothing: there
is one way to convolve, whose sums are added in the same order at every run, and its tiles are
chosen from tables (``tgrad tune`` races them). ``benchmark_limit`` is None, as in PyTorch without
cuDNN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tgrad.backends.settings import Fixed, Setting, given, install, is_bool, kept
from tgrad.runtime import precision

__all__ = ["flags", "is_acceptable", "is_available", "version"]

enabled: bool
benchmark: bool
deterministic: bool
allow_tf32: bool
fp32_precision: str
benchmark_limit: int | None


def version() -> int | None:
    """None: there is no cuDNN here."""
    return None


def is_available() -> bool:
    """False: there is no cuDNN here. Convolutions on a GPU are Triton kernels."""
    return False


def is_acceptable(tensor: Any) -> bool:
    """False: no tensor is given to cuDNN."""
    return False


class Convolutions(Fixed):
    """``cudnn.conv``."""

    @property
    def fp32_precision(self) -> str:
        """ "ieee", "tf32", or "none": as products."""
        return precision.get_fp32_precision("conv")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        precision.set_fp32_precision("conv", value)


conv = Convolutions()


def _set_allow_tf32(value: Any) -> None:
    allowed = is_bool(value, "set_allow_tf32_cudnn")
    precision.set_level("conv", "medium" if allowed else "highest")


_settings = {
    "enabled": kept(True, "set_enabled_cudnn"),
    "benchmark": kept(False, "set_benchmark_cudnn"),
    "deterministic": kept(False, "set_deterministic_cudnn"),
    "allow_tf32": Setting(lambda: precision.conv_level() != "highest", _set_allow_tf32),
    "fp32_precision": Setting(
        lambda: precision.get_fp32_precision("cuda"),
        lambda v: precision.set_fp32_precision("cuda", v),
    ),
}


@contextlib.contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> Iterator[None]:
    """Inside, the settings have these values: convolutions may use TF32 unless told otherwise."""
    switches = given(_settings, enabled=enabled, benchmark=benchmark, deterministic=deterministic)
    with precision.restored(), switches:  # levels are restored as they are, not as they read
        if allow_tf32 is not None:
            _set_allow_tf32(allow_tf32)
        if fp32_precision is not None:
            precision.set_fp32_precision("cuda", fp32_precision)
        yield


benchmark_limit = None
install(__name__, **_settings)
