"""Which library PyTorch would call for linear algebra on a GPU. tgrad calls none: products are
Triton kernels, decompositions run on the host through LAPACK."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

__all__ = ["preferred_blas_library", "preferred_linalg_library"]


class LinalgBackend(Enum):
    """What may be preferred."""

    Default = 0
    Cusolver = 1
    Magma = 2


class BlasBackend(Enum):
    """What may be preferred."""

    Default = 0
    Cublas = 1
    Cublaslt = 2
    Ck = 3


LINALG = {"default": LinalgBackend.Default, "cusolver": LinalgBackend.Cusolver,
          "magma": LinalgBackend.Magma}  # fmt: skip
BLAS = {"default": BlasBackend.Default, "cublas": BlasBackend.Cublas,
        "hipblas": BlasBackend.Cublas, "cublaslt": BlasBackend.Cublaslt,
        "hipblaslt": BlasBackend.Cublaslt, "ck": BlasBackend.Ck}  # fmt: skip

Library = TypeVar("Library", LinalgBackend, BlasBackend)


def _only(default: Library, backend: str | Library | None, known: dict[str, Library]) -> Library:
    wanted = known.get(backend) if isinstance(backend, str) else backend
    if isinstance(backend, str) and wanted is None:
        raise RuntimeError(f"Unknown input value. Choose from: {', '.join(known)}.")
    if wanted not in (None, *known.values()):
        raise RuntimeError("Unknown input value type.")
    if wanted not in (None, default):
        raise RuntimeError(
            f"Cannot set preferred backend to {backend}: tgrad calls no such library"
        )
    return default


def preferred_linalg_library(backend: str | LinalgBackend | None = None) -> LinalgBackend:
    """``Default``, which alone can be chosen. Raises RuntimeError for any other library."""
    return _only(LinalgBackend.Default, backend, LINALG)


def preferred_blas_library(backend: str | BlasBackend | None = None) -> BlasBackend:
    """``Default``, which alone can be chosen. Raises RuntimeError for any other library."""
    return _only(BlasBackend.Default, backend, BLAS)
