"""Mixed precision: autocast and GradScaler, with the names of ``torch.amp``."""

from tgrad.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from tgrad.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
