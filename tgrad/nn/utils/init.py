"""Making a module without paying for its initial values."""

from __future__ import annotations

import inspect
from typing import Any

from tgrad.nn.modules.module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` whose own parameters are left uninitialised.

    Raises: RuntimeError unless ``module_cls`` is a Module class that takes ``device``.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    bare = type(module_cls.__name__, (module_cls,), {"reset_parameters": lambda self: None})
    module: Any = bare(*args, **kwargs)
    module.__class__ = module_cls
    return module
