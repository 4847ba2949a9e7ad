"""Layers, with the names, arguments, initial distributions and state_dict keys of ``torch.nn``."""

from tgrad.nn import attention, common_types, functional, grad, init, modules, parallel, utils
from tgrad.nn.modules import *  # noqa: F403
from tgrad.nn.parallel import DataParallel
from tgrad.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = ["Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter",
           "attention", "common_types", "functional", "grad", "init", "parallel", "utils",
           *modules.__all__]  # fmt: skip
