"""Settings of the devices, under PyTorch's name for them."""

from __future__ import annotations

from tgrad.execute import fallback as _fallback

__all__ = ["cuda"]


class _Cuda:
    """``tgrad.backends.cuda``."""

    @property
    def fallback(self) -> str:
        """What an op without a CUDA kernel does: "warn" runs on the host, "error" raises."""
        return _fallback.mode

    @fallback.setter
    def fallback(self, mode: str) -> None:
        if mode not in ("warn", "error"):
            raise ValueError(f"backends.cuda.fallback: expected 'warn' or 'error', got {mode!r}")
        _fallback.mode = mode


cuda = _Cuda()
