"""``tgrad.cpu.amp``: PyTorch's older names of ``tgrad.amp`` for the CPU. All of them warn."""

from __future__ import annotations

from tgrad.amp.deprecated import older_names
from tgrad.dtypes import bfloat16

__all__ = ["GradScaler", "autocast"]

autocast, GradScaler = older_names("cpu", bfloat16)
