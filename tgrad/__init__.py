"""PyTorch's programming model on Triton kernels and NumPy, without PyTorch."""

from __future__ import annotations

from tgrad import autograd, dtypes
from tgrad.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from tgrad.creation import from_numpy, tensor
from tgrad.device import device, get_default_device, set_default_device
from tgrad.dispatch import OPS, FallbackWarning
from tgrad.dtypes import (
    can_cast, dtype, finfo, get_default_dtype, iinfo, promote_types, set_default_dtype,
)  # fmt: skip
from tgrad.tensor import Tensor

__version__ = "0.1.0"

globals().update({d.name: d for d in dtypes.ALL}, **dtypes.ALIASES)
globals().update({e.name: e.function for e in OPS.values() if "tgrad" in e.spaces})
