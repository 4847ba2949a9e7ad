"""``tgrad.cuda.amp``: PyTorch's older names of ``tgrad.amp`` for GPUs. All of them warn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tgrad.amp import autocast_mode
from tgrad.amp.deprecated import older_names, warn_of
from tgrad.dtypes import dtype, float16
from tgrad.runtime import cuda

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd",
           "custom_fwd"]  # fmt: skip


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU for autocast to work on."""
    return not cuda.is_available()


autocast, GradScaler = older_names("cuda", float16)


def custom_fwd(fwd: Callable[..., Any] | None = None, *, cast_inputs: dtype | None = None) -> Any:
    """``tgrad.amp.custom_fwd(..., device_type="cuda")`` is the name to use."""
    warn_of("cuda.amp.custom_fwd(...)", "amp.custom_fwd(..., device_type='cuda')")
    return autocast_mode.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Any:
    """``tgrad.amp.custom_bwd(..., device_type="cuda")`` is the name to use."""
    warn_of("cuda.amp.custom_bwd(...)", "amp.custom_bwd(..., device_type='cuda')")
    return autocast_mode.custom_bwd(bwd, device_type="cuda")
