"""How exactly float32 products and convolutions are computed on a GPU: process-wide settings.

Each op's level is its own, or that of the GPU's ops, or that of all devices, whichever is set
first in this order (PyTorch's ``fp32_precision``, whose other names set the same).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.runtime import plan

# What Triton's tl.dot calls each of PyTorch's three levels.
INPUT_PRECISION = {"highest": "ieee", "high": "tf32x3", "medium": "tf32"}

# PyTorch's ``fp32_precision`` and the levels that are meant by it; "none" asks the next place.
LEVELS = {"none": None, "ieee": "highest", "tf32": "medium"}
PLACES = ("generic", "cuda", "matmul", "conv")

_set: dict[str, str | None] = dict.fromkeys(PLACES)


class _Effective:
    """What the settings come to, worked out when one changes: kernels ask at every launch."""

    matmul = conv = "highest"


def _changed() -> None:
    above = _set["cuda"] or _set["generic"]
    _Effective.matmul = _set["matmul"] or above or "highest"
    _Effective.conv = _set["conv"] or above or _Effective.matmul
    plan.forget()


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how float32 products use the GPU's tensor cores.

    "highest" multiplies in float32; "high" makes each factor two TF32 numbers (three products,
    about 20 bits); "medium" rounds factors to TF32 (11 bits). PyTorch promises TF32 for "high" and
    bfloat16 for "medium": each level here is at least as accurate. Results on the CPU never change.
    Convolutions follow, unless ``tgrad.backends.cudnn.allow_tf32`` was set.

    Raises: RuntimeError for another name.
    """
    if precision not in INPUT_PRECISION:
        raise RuntimeError(
            f"set_float32_matmul_precision: expected one of {sorted(INPUT_PRECISION)}, got "
            f"{precision!r}"
        )
    set_level("matmul", precision)


def get_float32_matmul_precision() -> str:
    """The level set by :func:`set_float32_matmul_precision`; "highest" at the start."""
    return _Effective.matmul


def set_level(place: str, level: str | None) -> None:
    """Set the level of one of PLACES; None leaves it to the next place."""
    _set[place] = level
    _changed()


def conv_level() -> str:
    """The level of convolutions: their own, or that of products."""
    return _Effective.conv


def set_fp32_precision(place: str, precision: str) -> None:
    """Set one of PLACES by PyTorch's name. Raises RuntimeError for an unknown or unfit one."""
    if precision not in LEVELS:
        if precision == "bf16":
            raise RuntimeError("backend 'cuda' does not support precision 'bf16'")
        raise RuntimeError(f"Unknown precision: {precision}")
    set_level(place, LEVELS[precision])


def get_fp32_precision(place: str) -> str:
    """The name of what is set at ``place`` or above it; "none" where nothing is."""
    above = {"generic": (), "cuda": ("generic",)}.get(place, ("cuda", "generic"))
    found = next((_set[p] for p in (place, *above) if _set[p]), None)
    return "none" if found is None else "ieee" if found == "highest" else "tf32"


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Afterwards all levels are as they were before."""
    before = dict(_set)
    try:
        yield
    finally:
        _set.update(before)
        _changed()


@contextlib.contextmanager
def held(level: str) -> Iterator[None]:
    """Inside, products and convolutions are computed at ``level``, whatever else is set."""
    with restored():
        _set.update(matmul=level, conv=level)
        _changed()
        yield


def input_precision() -> str:
    """The setting of products as ``tl.dot``'s ``input_precision``."""
    return INPUT_PRECISION[_Effective.matmul]


def conv_precision() -> str:
    """The setting of convolutions as ``tl.dot``'s ``input_precision``."""
    return INPUT_PRECISION[_Effective.conv]
