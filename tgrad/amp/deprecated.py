"""The older names of autocast and GradScaler, ``tgrad.cuda.amp`` and ``tgrad.cpu.amp``."""

from __future__ import annotations

import warnings

from tgrad.amp.autocast_mode import autocast
from tgrad.amp.grad_scaler import GradScaler
from tgrad.dtypes import dtype as DType


def warn_of(old: str, new: str) -> None:
    """Warn the caller's caller that ``tgrad.old`` is an older name of ``tgrad.new``."""
    warnings.warn(
        f"tgrad.{old} is deprecated and may go; tgrad.{new} takes its place.",
        FutureWarning,
        stacklevel=3,
    )


def older_names(device: str, fast: DType) -> tuple[type[autocast], type[GradScaler]]:
    """The two classes for a device, where autocast's dtype is ``fast`` unless given. They warn."""

    class Autocast(autocast):
        def __init__(self, enabled: bool = True, dtype: DType = fast, cache_enabled: bool = True):
            warn_of(f"{device}.amp.autocast(...)", f"amp.autocast('{device}', ...)")
            super().__init__(device, dtype, enabled, cache_enabled)

    class Scaler(GradScaler):
        def __init__(
            self,
            init_scale: float = 2.0**16,
            growth_factor: float = 2.0,
            backoff_factor: float = 0.5,
            growth_interval: int = 2000,
            enabled: bool = True,
        ):
            warn_of(f"{device}.amp.GradScaler(...)", f"amp.GradScaler('{device}', ...)")
            super().__init__(
                device, init_scale, growth_factor, backoff_factor, growth_interval, enabled
            )

    for made, of in ((Autocast, autocast), (Scaler, GradScaler)):
        made.__module__, made.__name__ = f"tgrad.{device}.amp", of.__name__
        made.__qualname__ = of.__name__
        made.__doc__ = f'``tgrad.amp.{of.__name__}("{device}", ...)`` is the name to use.'
    return Autocast, Scaler
