"""Copies of a module on other devices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from tgrad.nn.modules.module import Module
from tgrad.nn.parallel.scatter_gather import Where, place
from tgrad.tensor import Tensor


def replicate(network: Module, devices: Sequence[Where], detach: bool = False) -> list[Any]:
    """``network`` once for each device, its parameters and buffers copied there.

    The copies are computed from the originals, so that backward adds the gradients of all into
    ``network``'s parameters; with ``detach`` they are not. On the device where a tensor lives, its
    copy is the tensor itself: what the module writes to it is kept.
    """
    found = []
    for where in map(place, devices):
        tensors: dict[int, Tensor] = {}
        modules: dict[Module, Module] = {}
        for m in network.modules():
            modules[m] = shell(m)
        for original, made in modules.items():
            for own, entries, moved in (
                (original._parameters, made._parameters, True),
                (original._buffers, made._buffers, False),
            ):
                for name, x in own.items():
                    if x is not None and id(x) not in tensors:
                        y = x if moved and not detach else x.detach()
                        tensors[id(x)] = y.to(where) if x.device is not where else y
                    given: Any = None if x is None else tensors[id(x)]
                    entries[name] = given
            for name, child in original._modules.items():
                made._modules[name] = None if child is None else modules[child]
        found.append(modules[network])
    return found


def shell(module: Module) -> Module:
    """``module`` with the same attributes and hooks, and nothing registered."""
    custom: Any = getattr(module, "_replicate_for_data_parallel", None)
    if custom is not None:
        return custom()
    made = module.__new__(type(module))
    made.__dict__ = dict(vars(module))
    for name in ("_parameters", "_buffers", "_modules"):
        made.__dict__[name] = OrderedDict()
    return made
