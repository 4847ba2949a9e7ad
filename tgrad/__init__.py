"""PyTorch's programming model on Triton kernels and NumPy, without PyTorch.

Names are PyTorch's. Ops come from the registry (``tgrad.dispatch.OPS``); all else is imported by
name below. Subpackages such as ``tgrad.nn`` are imported when they are first used.
"""

from __future__ import annotations

import importlib
import os
from math import e, inf, nan, pi
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgrad.ops import *  # first: what follows has names of its own

from tgrad import autograd, dtypes, random
from tgrad.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tgrad.autograd.anomaly import (
    is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled,
)  # fmt: skip
from tgrad.autograd.grad_mode import is_inference_mode_enabled
from tgrad.creation import *
from tgrad.device import device, get_default_device, set_default_device
from tgrad.dispatch import OPS, FallbackWarning
from tgrad.dtypes import can_cast, finfo, get_default_dtype, iinfo, promote_types, set_default_dtype
from tgrad.dtypes import dtype
from tgrad.layout import (
    channels_last, channels_last_3d, contiguous_format, layout, memory_format, preserve_format,
    strided,
)  # fmt: skip
from tgrad.methods import IN_PLACE
from tgrad.native import *
from tgrad.printing import set_printoptions
from tgrad.random import (
    Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state,
)  # fmt: skip
from tgrad.runtime.denormals import set_flush_denormal
from tgrad.runtime.pool import OutOfMemoryError
from tgrad.runtime.precision import get_float32_matmul_precision, set_float32_matmul_precision
from tgrad.runtime.settings import (
    are_deterministic_algorithms_enabled, get_deterministic_debug_mode,
    is_deterministic_algorithms_warn_only_enabled, is_warn_always_enabled,
    set_deterministic_debug_mode, set_warn_always,
    use_deterministic_algorithms,
)  # fmt: skip
from tgrad.runtime.threads import (
    get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads,
)  # fmt: skip
from tgrad.tensor import (
    Size, Tensor, is_complex, is_floating_point, is_nonzero, is_tensor, numel, result_type,
    typename,
)  # fmt: skip
from tgrad.version import __version__

newaxis = None

if TYPE_CHECKING:
    from tgrad import accelerator, amp, backends, cpu, cuda, linalg, nn, optim, profiler
    from tgrad import serialization, special, testing, types, utils, version
    from tgrad import vision
    from tgrad.accelerator import get_device_module
    from tgrad.amp import GradScaler, autocast
    from tgrad.amp.state import *
    from tgrad.legacy import *
    from tgrad.serialization import load, save
    from tgrad.serialization.storage import is_storage
    from tgrad.tuner import tune
    from tgrad.dtypes import bfloat16, complex64, complex128, float16, float32, float64
    from tgrad.dtypes import int8, int16, int32, int64, uint8

    half, float, double = float16, float32, float64
    short, int, long = int16, int32, int64
    cfloat, cdouble = complex64, complex128
    bool = dtypes.bool_

globals().update({d.name: d for d in dtypes.ALL}, **dtypes.ALIASES)
globals().update({op.name: op.function for op in OPS.values() if "tgrad" in op.spaces})
globals().update(
    {f"{n}_": getattr(Tensor, f"{n}_") for n in IN_PLACE.split()}, detach=Tensor.detach
)

LAZY = ("accelerator", "amp", "backends", "cpu", "cuda", "data", "datasets", "library",
        "linalg", "multiprocessing", "nn", "optim", "profiler", "serialization", "special",
        "testing", "tuner", "types", "utils", "vision")  # fmt: skip
LAZY_NAMES = {
    "tgrad.accelerator": ("get_device_module",),
    "tgrad.legacy": (
        "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
        "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type",
    ),
    "tgrad.serialization": ("load", "save"),
    "tgrad.serialization.storage": ("is_storage",),
    "tgrad.tuner": ("tune",),
    "tgrad.amp": ("GradScaler", "autocast"),
    "tgrad.amp.state": (
        "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
        "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
        "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled",
        "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
        "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype",
    ),
}  # fmt: skip


if os.environ.get("TGRAD_TRACE", "0") not in ("", "0"):
    importlib.import_module("tgrad.profiler").trace()


def __getattr__(name: str) -> object:
    if name in LAZY:
        try:
            return importlib.import_module(f"tgrad.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"tgrad.{name}":
                raise
    for module, names in LAZY_NAMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    if name.startswith("_foreach_"):
        found = importlib.import_module("tgrad.foreach").get(name)
        if found is not None:
            return found
    raise AttributeError(f"module 'tgrad' has no attribute '{name}'")
