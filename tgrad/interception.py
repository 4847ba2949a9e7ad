"""Layers around ops: code that runs in the place of chosen ops' functions while it is on.

Autocast casts arguments before the op, the profiler takes its time. Functions are imported by name
all over, so a layer cannot be put around them by giving the registry other ones: what is exchanged
is a function's code. While no layer is on, functions are as they were declared: it costs nothing.
"""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

from tgrad.registry import Op

Layer = Callable[..., Any]  # layer(entry, call, *args, **kwargs): ``call`` is what lies below

_lock = threading.Lock()


class Site:
    """An op's function, its own body, and the layers around it, the outermost last."""

    def __init__(self, entry: Op, function: types.FunctionType):
        self.entry, self.function = entry, function
        self.body = function.__code__
        self.original = types.FunctionType(
            self.body, function.__globals__, function.__name__, function.__defaults__,
            function.__closure__,
        )  # fmt: skip
        self.original.__kwdefaults__ = function.__kwdefaults__
        self.layers: list[Layer] = []
        self.call: Callable[..., Any] = self.original
        self.forward = forwarding(self, len(self.body.co_freevars))

    def arrange(self) -> None:
        """Take the layers as they are now into use."""
        call: Callable[..., Any] = self.original
        for layer in self.layers:
            call = functools.partial(layer, self.entry, call)
        self.call = call
        self.function.__code__ = self.forward if self.layers else self.body


_sites: dict[int, Site] = {}  # id of a function -> its site, which keeps it alive


def sites(entries: Iterable[Op]) -> list[Site]:
    """The sites of ``entries``, each once; ops by aliases have one function in common."""
    found = {}
    for entry in entries:
        function = entry.function
        if isinstance(function, types.FunctionType):
            if id(function) not in _sites:
                _sites[id(function)] = Site(entry, function)
            found[id(function)] = _sites[id(function)]
    return list(found.values())


def put(layer: Layer, entries: Iterable[Op]) -> None:
    """Put ``layer`` around the functions of ``entries``, outside of the layers that are there."""
    with _lock:
        for site in sites(entries):
            site.layers.append(layer)
            site.arrange()


def remove(layer: Layer) -> None:
    """Take ``layer`` away wherever it is."""
    with _lock:
        for site in _sites.values():
            if layer in site.layers:
                site.layers.remove(layer)
                site.arrange()


def forwarding(site: Site, cells: int) -> types.CodeType:
    """The code of ``site.call(*args, **kwargs)`` for a function that closes over ``cells`` values.

    A function's code can only be exchanged for one with as many free variables, and keeps the
    globals of its module: the site is one of the code's constants.
    """
    names = [f"cell{i}" for i in range(cells)]
    lines = [f"def outer({', '.join(names)}):", "    def call(*args, **kwargs):"]
    if names:
        lines.append(f"        if False: {', '.join(names)}")
    lines += ["        return 'site'.call(*args, **kwargs)", "    return call"]
    scope: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<layers>", "exec"), scope)
    code = scope["outer"](*names).__code__
    constants: Any = tuple([site if c == "site" else c for c in code.co_consts])
    return code.replace(co_consts=constants, co_name=site.function.__name__)
