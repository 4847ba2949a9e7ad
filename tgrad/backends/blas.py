"""What NumPy was built with: products on the CPU are its BLAS's."""

from __future__ import annotations

import functools
import importlib

import numpy as np


@functools.cache
def blas_name() -> str:
    """The BLAS that NumPy names, as "scipy-openblas"."""
    built = np.show_config(mode="dicts") or {}
    return str(built.get("Build Dependencies", {}).get("blas", {}).get("name", ""))


@functools.cache
def cpu_features() -> dict[str, bool]:
    """The instruction sets that NumPy looked for when it was imported."""
    for package in ("numpy._core", "numpy.core"):  # NumPy 2 and 1
        try:
            found = importlib.import_module(f"{package}._multiarray_umath")
        except ModuleNotFoundError:
            continue
        return dict(found.__cpu_features__)
    return {}
