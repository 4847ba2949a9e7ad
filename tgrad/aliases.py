"""PyTorch's file names, where code here is divided in another way.

Programs import ``torch.nn.modules.batchnorm._BatchNorm`` or ``torch.optim.adamw.AdamW``; the tables
that the packages hand to :func:`publish` are all that makes such paths work.
"""

from __future__ import annotations

import importlib
import sys
import types


def publish(package: str, parts: dict[str, tuple[str, ...]]) -> None:
    """Let each module ``package.name`` have the classes and functions of its parts' files too.

    A module without a file is made. Names that begin with one underscore come along, those that a
    module has stay.
    """
    for name, files in parts.items():
        path = f"{package}.{name}"
        module = sys.modules.get(path)
        if module is None:
            module = types.ModuleType(path, f"Names of {', '.join(files)}, as PyTorch groups them.")
            sys.modules[path] = module
            setattr(sys.modules[package], name, module)
        for file in files:
            source = importlib.import_module(f"{package}.{file}")
            for key, value in vars(source).items():
                if getattr(value, "__module__", None) == source.__name__:
                    vars(module).setdefault(key, value)
