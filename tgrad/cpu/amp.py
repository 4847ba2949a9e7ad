"""``tgrad.cpu.amp``: PyTorch's older names of ``tgrad.amp`` for the CPU. All of them warn."""

from __future__ import annotations

from tgrad.amp.autocast_mode import autocast as _autocast
from tgrad.amp.deprecated import warn_of
from tgrad.amp.grad_scaler import GradScaler as _GradScaler
from tgrad.dtypes import bfloat16, dtype

__all__ = ["GradScaler", "autocast"]


class autocast(_autocast):
    """``tgrad.amp.autocast("cpu", ...)`` is the name to use."""

    def __init__(self, enabled: bool = True, dtype: dtype = bfloat16, cache_enabled: bool = True):
        warn_of("cpu.amp.autocast(...)", "amp.autocast('cpu', ...)")
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(_GradScaler):
    """``tgrad.amp.GradScaler("cpu", ...)`` is the name to use."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        warn_of("cpu.amp.GradScaler(...)", "amp.GradScaler('cpu', ...)")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
