"""``tgrad.cuda.amp``: PyTorch's older names of ``tgrad.amp`` for GPUs. All of them warn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tgrad.amp import autocast_mode
from tgrad.amp.autocast_mode import autocast as _autocast
from tgrad.amp.deprecated import warn_of
from tgrad.amp.grad_scaler import GradScaler as _GradScaler
from tgrad.dtypes import dtype, float16
from tgrad.runtime import cuda

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd",
           "custom_fwd"]  # fmt: skip


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU for autocast to work on."""
    return not cuda.is_available()


class autocast(_autocast):
    """``tgrad.amp.autocast("cuda", ...)`` is the name to use."""

    def __init__(self, enabled: bool = True, dtype: dtype = float16, cache_enabled: bool = True):
        warn_of("cuda.amp.autocast(...)", "amp.autocast('cuda', ...)")
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(_GradScaler):
    """``tgrad.amp.GradScaler("cuda", ...)`` is the name to use."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        warn_of("cuda.amp.GradScaler(...)", "amp.GradScaler('cuda', ...)")
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


def custom_fwd(fwd: Callable[..., Any] | None = None, *, cast_inputs: dtype | None = None) -> Any:
    """``tgrad.amp.custom_fwd(..., device_type="cuda")`` is the name to use."""
    warn_of("cuda.amp.custom_fwd(...)", "amp.custom_fwd(..., device_type='cuda')")
    return autocast_mode.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Any:
    """``tgrad.amp.custom_bwd(..., device_type="cuda")`` is the name to use."""
    warn_of("cuda.amp.custom_bwd(...)", "amp.custom_bwd(..., device_type='cuda')")
    return autocast_mode.custom_bwd(bwd, device_type="cuda")
