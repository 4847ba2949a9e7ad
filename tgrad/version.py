"""``tgrad.version``: which tgrad this is, and which CUDA it speaks to.

``cuda``: the CUDA version of NVIDIA's installed bindings, as "13.0", through which Triton's kernels
reach a GPU; None without them.
"""

from __future__ import annotations

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "xpu"]

__version__ = "0.1.0"
debug = False
git_version = "Unknown"
hip: str | None = None
rocm: str | None = None
xpu: str | None = None
cuda: str | None


def __getattr__(name: str) -> str | None:
    if name != "cuda":
        raise AttributeError(f"module 'tgrad.version' has no attribute '{name}'")
    import importlib.metadata  # 15 ms, of which `import tgrad` needs none

    try:
        return ".".join(importlib.metadata.version("cuda-bindings").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return None
