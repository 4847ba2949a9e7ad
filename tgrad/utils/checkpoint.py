"""Activation checkpointing: recompute in backward instead of keeping (Chen et al. 2016,
arXiv:1604.06174)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tgrad.autograd.grad_mode import enable_grad
from tgrad.autograd.graph import saved_tensors_hooks
from tgrad.random import get_rng_state, set_rng_state

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(RuntimeError):
    """The recomputation did not save what the first run saved."""


class _Done(Exception):
    """Everything that backward needs has been recomputed."""


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[Any, Any]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, keeping none of its intermediate tensors for backward.

    The first time backward asks for one, the function runs again (with the same random state
    unless ``preserve_rng_state`` is False) and what it saves is used. Any backward works, also
    ``autograd.grad`` and several in one graph; ``use_reentrant`` is accepted and makes no
    difference.
    Raises: CheckpointError if the second run saves another number of tensors, shapes or dtypes
    (``determinism_check="none"`` skips shapes and dtypes).
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'] but got {determinism_check}"
        )
    first, second = context_fn() if context_fn is not None else (contextlib.nullcontext(),) * 2
    region = _Region(function, args, kwargs, preserve_rng_state, second, determinism_check)
    with saved_tensors_hooks(region.pack, region.unpack), first:
        return function(*args, **kwargs)


class _Region:
    """What one checkpointed call knows: how to run again, and what was found when it did."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple,
        kwargs: dict[str, Any],
        preserve_rng_state: bool,
        context: Any,
        determinism_check: str,
    ):
        self.function, self.args, self.kwargs, self.context = function, args, kwargs, context
        self.rng = get_rng_state() if preserve_rng_state else None
        self.metadata: list[tuple] = []
        self.check = determinism_check == "default"
        self.found: list[Any] | None = None
        self.left = 0  # values that backward has yet to take from this recomputation

    def pack(self, x: Any) -> int:
        self.metadata.append((x.shape, x.dtype, x.device))
        return len(self.metadata) - 1

    def unpack(self, index: int) -> Any:
        if self.found is None:
            self.recompute()
        assert self.found is not None
        x = self.found[index]
        self.left -= 1
        if self.left <= 0:  # each value was taken once: a second backward recomputes again
            self.found = None
        return x

    def recompute(self) -> None:
        found: list[Any] = []
        total = len(self.metadata)

        def keep(x: Any) -> None:
            if len(found) < total and self.check:
                self.compare(len(found), x)
            found.append(x)
            if len(found) == total:
                raise _Done

        state = get_rng_state()
        try:
            if self.rng is not None:
                set_rng_state(self.rng)
            with enable_grad(), saved_tensors_hooks(keep, _unused), self.context:
                self.function(*self.args, **self.kwargs)
        except _Done:
            pass
        finally:
            if self.rng is not None:
                set_rng_state(state)
        if len(found) != total:
            raise CheckpointError(
                "tgrad.utils.checkpoint: A different number of tensors was saved during the "
                f"original forward and recomputation. Number of tensors saved during forward: "
                f"{total}. Number of tensors saved during recomputation: {len(found)}."
            )
        self.found, self.left = found, total

    def compare(self, index: int, x: Any) -> None:
        now = (x.shape, x.dtype, x.device)
        if now != self.metadata[index]:
            raise CheckpointError(
                "tgrad.utils.checkpoint: Recomputed values for the following tensors have "
                "different metadata than during the forward pass: tensor at position "
                f"{index}: saved {self.metadata[index]}, recomputed {now}"
            )


def _unused(x: Any) -> Any:
    raise AssertionError("the recomputed graph is never run backward")


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Run a Sequential or list of functions, all but the last of ``segments`` checkpointed."""
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return forward

    size = max(len(steps) // segments, 1)
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, preserve_rng_state=preserve)
    return run(end, len(steps))(input)
