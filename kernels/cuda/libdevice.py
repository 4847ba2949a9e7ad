"""CUDA's libdevice for compiled kernels; under Triton's interpreter, NumPy and SciPy in its place.

libdevice is NVIDIA's library of accurate maths (at most 2 units in the last place for what is used
here). The interpreter cannot call it, so there each name is the host's function of the same
meaning, on the arrays that the interpreter computes with.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import triton.language as tl

from tgrad.runtime import cuda

# libdevice's name -> where the host has it. The interpreter's floats are NumPy's of the same width.
HOST = {
    **{name: f"numpy.{name}" for name in ("cbrt", "copysign", "cos", "cosh", "exp", "exp2", "expm1",
       "fmod", "hypot", "log", "log10", "log1p", "log2", "nextafter", "rint", "sin", "sinh",
       "tan", "tanh", "trunc")},
    "acos": "numpy.arccos", "acosh": "numpy.arccosh", "asin": "numpy.arcsin",
    "asinh": "numpy.arcsinh", "atan": "numpy.arctan", "atan2": "numpy.arctan2",
    "atanh": "numpy.arctanh", "pow": "numpy.power",
    "erf": "scipy.special.erf", "erfc": "scipy.special.erfc", "erfinv": "scipy.special.erfinv",
    "lgamma": "scipy.special.gammaln", "cyl_bessel_i0": "scipy.special.i0",
    "cyl_bessel_i1": "scipy.special.i1", "normcdfinv": "scipy.special.ndtri",
    **{name: f"scipy.special.{name}" for name in ("erfcx", "j0", "j1", "y0", "y1")},
}  # fmt: skip


@functools.cache
def host(name: str) -> Callable[..., Any]:
    """The function of interpreter tensors that stands for libdevice's ``name``."""
    module, _, attribute = HOST[name].rpartition(".")
    function = getattr(importlib.import_module(module), attribute)

    def call(*args: Any) -> Any:
        like = max((a for a in args if isinstance(a, tl.tensor)), key=lambda a: a.handle.data.size)
        kind = like.handle.data.dtype
        values = [
            a.handle.data if isinstance(a, tl.tensor) else kind.type(getattr(a, "value", a))
            for a in args
        ]
        data = np.asarray(function(*values), kind)
        handle = type(like.handle)(data, like.handle.dtype)
        return tl.tensor(handle, like.type)  # pyright: ignore[reportArgumentType]

    return call


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


if cuda.is_emulated():
    globals().update({name: host(name) for name in HOST})
else:
    from triton.language.extra.cuda.libdevice import *  # noqa: F403
