"""``tgrad.backends.mkl``."""

from __future__ import annotations

from tgrad.backends.blas import blas_name

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether NumPy's BLAS, which multiplies matrices on the CPU, is Intel's MKL."""
    return "mkl" in blas_name().lower()
