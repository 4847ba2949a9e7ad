"""``tgrad.backends.cpu``."""

from __future__ import annotations

from tgrad.backends.blas import cpu_features

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The vector instructions that NumPy's loops find here: "AVX512", "AVX2", "SVE256" or
    "DEFAULT"."""
    found = cpu_features()
    for feature, name in (("AVX512F", "AVX512"), ("AVX2", "AVX2"), ("SVE", "SVE256")):
        if found.get(feature):
            return name
    return "DEFAULT"
