"""Show versions, devices, what is missing and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys

import tgrad
from tgrad.registry import OPS
from tgrad.runtime import cuda

NAME = "info"

# (distribution, what it is for, command that gets it)
PACKAGES = [
    ("numpy", "arrays and kernels on the CPU", "pip install 'numpy>=2'"),
    ("ml_dtypes", "bfloat16 on the CPU", "pip install ml_dtypes"),
    ("scipy", "special functions and LAPACK on the CPU", "pip install scipy"),
    ("tqdm", "progress bars", "pip install tqdm"),
    ("triton", "kernels on the GPU, and their emulation", "pip install 'triton>=3.6'"),
    ("cuda-bindings", "NVIDIA's driver", "pip install cuda-bindings"),
    ("cuda-core", "NVIDIA's driver", "pip install cuda-core"),
    ("matplotlib", "tgrad demo --plot", "pip install matplotlib"),
    ("safetensors", "files that end in .safetensors", "pip install safetensors"),
]
LINUX_ONLY = ("triton", "cuda-bindings", "cuda-core")
VARIABLES = ("TRITON_INTERPRET", "TGRAD_TEST_FAMILIES", "TGRAD_TRACE")


def arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(options: argparse.Namespace) -> None:
    print(f"tgrad          {tgrad.__version__}  ({os.path.dirname(tgrad.__file__)})")
    print(f"python         {platform.python_version()}  ({sys.platform}, {platform.machine()})")
    supported = sys.platform == "linux" and platform.machine() == "x86_64"
    for name, purpose, command in PACKAGES:
        found = version(name)
        note = ""
        if found is None:
            found = "missing"
            available = supported or name not in LINUX_ONLY
            note = f"{purpose}: {command if available else 'for Linux on x86-64 only'}"
        print(f"{name:14} {found}{'  ' + note if note else ''}")
    print("\nDevices")
    print(f"  cpu          {os.cpu_count()} cores")
    for line in gpus():
        print(f"  {line}")
    kinds = [e.kind for e in OPS.values()]
    print(f"\nOps            {len(kinds)}: " + ", ".join(
        f"{kinds.count(k)} {k}" for k in ("pointwise", "kernel", "view", "composite")
    ))  # fmt: skip
    for name in VARIABLES:
        if name in os.environ:
            print(f"{name}={os.environ[name]}")


def gpus() -> list[str]:
    """One line per GPU, or how to get one."""
    if not cuda.is_available():
        return [
            "cuda         no usable GPU; TRITON_INTERPRET=1 tgrad ... runs its kernels on the CPU, "
            "slowly"
        ]
    try:
        runtime = cuda.active()
        count = runtime.device_count()
    except (ImportError, RuntimeError) as e:
        return [f"cuda         {e}"]
    return [f"cuda:{i}       {runtime.name}" for i in range(count)]
