"""How exactly float32 matrix products are computed on a GPU: one process-wide setting."""

from __future__ import annotations

from tgrad.runtime import plan

# What Triton's tl.dot calls each of PyTorch's three levels.
INPUT_PRECISION = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}


class _Setting:
    name = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how float32 products use the GPU's tensor cores.

    "highest" multiplies in float32; "high" makes each factor two TF32 numbers (three products,
    about 20 bits); "medium" rounds factors to TF32 (11 bits). PyTorch promises TF32 for "high" and
    bfloat16 for "medium": each level here is at least as accurate. Results on the CPU never change.

    Raises: RuntimeError for another name.
    """
    if precision not in INPUT_PRECISION:
        raise RuntimeError(
            f"set_float32_matmul_precision: expected one of {sorted(INPUT_PRECISION)}, got "
            f"{precision!r}"
        )
    _Setting.name = precision
    plan.forget()


def get_float32_matmul_precision() -> str:
    """The level set by :func:`set_float32_matmul_precision`; "highest" at the start."""
    return _Setting.name


def input_precision() -> str:
    """The setting as ``tl.dot``'s ``input_precision``."""
    return INPUT_PRECISION[_Setting.name]
