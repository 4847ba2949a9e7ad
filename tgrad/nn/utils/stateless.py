"""Calling a module with other tensors in the place of its parameters and buffers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tgrad.nn.modules.module import Module
from tgrad.tensor import Tensor


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the tensors of ``parameters_and_buffers`` by dotted name.

    A tensor that the module knows by several names is replaced under all of them
    (``tie_weights``); ``strict`` wants exactly the module's names. Deprecated in PyTorch in favour
    of ``func.functional_call``.
    Raises: RuntimeError for missing or unknown names if ``strict``, ValueError for different
    tensors under tied names.
    """
    warnings.warn(
        "`nn.utils.stateless.functional_call` is deprecated in favor of `func.functional_call`.",
        FutureWarning,
        stacklevel=2,
    )
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*given, **(kwargs or {}))


@contextmanager
def replaced(
    module: Module, tensors: dict[str, Tensor], tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    """While open, ``module`` has these tensors; what it assigns to them goes to ``tensors``."""
    known: dict[str, Tensor] = {}
    known.update(module.named_parameters(remove_duplicate=False))
    known.update(module.named_buffers(remove_duplicate=False))
    if strict:
        check(module, known, tensors)
    wanted = tied(known, tensors) if tie_weights else tensors
    places = [place(module, name) for name in wanted]
    before = [entries.get(name, MISSING) for entries, name in places]
    for (entries, name), value in zip(places, wanted.values(), strict=True):
        entries[name] = value
    try:
        yield
    finally:
        after = {k: entries[name] for k, (entries, name) in zip(wanted, places, strict=True)}
        tensors.update({k: after[k] for k in tensors})
        for (entries, name), value in zip(places, before, strict=True):
            if value is MISSING:
                del entries[name]
            else:
                entries[name] = value


MISSING = object()


def place(module: Module, path: str) -> tuple[dict[str, Any], str]:
    """The dict that holds the tensor at a dotted path, and its name there."""
    prefix, _, name = path.rpartition(".")
    owner = module.get_submodule(prefix)
    for entries in (owner._parameters, owner._buffers):
        if name in entries:
            return entries, name  # pyright: ignore[reportReturnType]
    if not hasattr(owner, name):
        raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
    return owner.__dict__, name


def check(module: Module, known: dict[str, Any], given: dict[str, Tensor]) -> None:
    messages = []
    for what, names in (("Unexpected", set(given) - set(known)),
                        ("Missing", set(known) - set(given))):  # fmt: skip
        if names:
            messages.append(f"{what} key(s): {', '.join(map(repr, sorted(names)))}.")
    if messages:
        lines = "\n\t".join(messages)
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t{lines}")


def tied(known: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """``given`` with every other name of the tensors that it replaces."""
    names: dict[int, list[str]] = {}
    for name, t in known.items():
        names.setdefault(id(t), []).append(name)
    whole = dict(given)
    for name, value in given.items():
        for other in names.get(id(known.get(name)), ()):
            if whole.setdefault(other, value) is not value:
                raise ValueError(
                    f"functional_call got multiple values for keys {sorted(names[id(known[name])])}"
                    ", which are tied. Consider using tie_weights=False"
                )
    return whole
