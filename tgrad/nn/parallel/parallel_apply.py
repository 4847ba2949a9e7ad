"""Modules called at once, each in a thread of its own with a device of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from tgrad import cuda
from tgrad.amp.state import state
from tgrad.autograd.grad_mode import is_grad_enabled, set_grad_enabled
from tgrad.nn.modules.module import Module
from tgrad.nn.parallel.scatter_gather import Where, place
from tgrad.tensor import Tensor


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Where | None] | None = None,
) -> list[Any]:
    """The results of ``modules[i](*inputs[i], **kwargs_tup[i])``, computed in threads.

    In each thread ``devices[i]``, or else the device of its first tensor, is the current one; grad
    mode and autocast are the caller's. An input that is no tuple or list is the only argument.
    Raises: AssertionError for lists of other lengths, and what a module raised first, with its
    traceback in the message.
    """
    from tgrad.utils.data.fetch import Failure  # not before it is needed: it brings processes

    given = [{} for _ in modules] if kwargs_tup is None else list(kwargs_tup)
    places = [None for _ in modules] if devices is None else list(devices)
    for what, found in (("inputs", inputs), ("kwargs_tup", given), ("devices", places)):
        if len(found) != len(modules):
            raise AssertionError(
                f"The number of modules {len(modules)} is not equal to the number of {what} "
                f"{len(found)}"
            )
    results: list[Any] = [None] * len(modules)
    mode = is_grad_enabled()
    casts = dict(state.enabled), dict(state.dtype)

    def work(i: int) -> None:
        try:
            args = inputs[i] if isinstance(inputs[i], (list, tuple)) else (inputs[i],)
            with around(places[i], args, i), autocasting(*casts), set_grad_enabled(mode):
                results[i] = modules[i](*args, **given[i])
        except Exception as e:
            results[i] = Failure(e, f"in replica {i} on device {places[i]}")

    if len(modules) == 1:
        work(0)
    else:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(modules))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    for r in results:
        if isinstance(r, Failure):
            r.reraise()
    return results


def around(where: Where | None, args: Any, i: int) -> Any:
    """The context in which a replica's device is the current GPU."""
    if where is None:
        first = first_tensor(args)
        if first is None:
            raise RuntimeError(
                f"in replica {i}, no device was provided and no tensor input was found; device "
                "cannot be resolved"
            )
        where = first.device
    found = place(where)
    return cuda.device(found) if found.type == "cuda" else contextlib.nullcontext()


def first_tensor(obj: Any) -> Tensor | None:
    """The first tensor in nested lists, tuples and dicts."""
    if isinstance(obj, Tensor):
        return obj
    parts = obj.values() if isinstance(obj, dict) else obj
    if isinstance(parts, (list, tuple)) or parts is not obj:
        for part in parts:
            found = first_tensor(part)
            if found is not None:
                return found
    return None


@contextlib.contextmanager
def autocasting(enabled: dict[str, bool], dtypes: dict[str, Any]) -> Any:
    """Autocast in this thread as it was in another."""
    from tgrad.amp import autocast

    with contextlib.ExitStack() as stack:
        for kind, on in enabled.items():
            if on:
                stack.enter_context(autocast(kind, dtypes[kind]))
        yield
