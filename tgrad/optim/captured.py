"""Optimiser steps inside a CUDA graph: each replay is the step that an eager call would be.

What a step needs of the host (the step count, learning rate, betas) is worked out again before each
replay, see ``tgrad.runtime.rehearsal``. So ``state["step"]`` counts the replays, and a scheduler
between replays has its effect, which PyTorch reaches with ``capturable=True`` and a tensor ``lr``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tgrad.autograd.grad_mode import no_grad
from tgrad.runtime.rehearsal import Rehearsal
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from tgrad.optim.optimizer import Optimizer
    from tgrad.runtime.graph import Capture

# Those whose step is launches of update rules and nothing else, by the class that defines it.
BY_RULE = {"SGD", "Adam", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "ASGD",
           "Rprop"}  # fmt: skip


def capture_step(optimizer: Optimizer, capture: Capture) -> None:
    """Record one step of every parameter that has a gradient.

    Raises: RuntimeError for an optimiser that computes otherwise than by update rules, with
    ``differentiable``, or before the first step, which makes the state.
    """
    name = type(optimizer).__name__
    rule = type(optimizer)._update
    module, _, owner = f"{rule.__module__}.{rule.__qualname__}".removesuffix("._update").rpartition(
        "."
    )
    if owner not in BY_RULE or not module.startswith("tgrad.optim."):
        raise RuntimeError(
            f"{name}.step(): a replay would repeat the numbers of the captured step (step count, "
            "learning rate). Step outside of the capture, or use one of "
            + ", ".join(sorted(BY_RULE))
        )
    if any(group.get("differentiable") for group in optimizer.param_groups):
        raise RuntimeError(
            f"{name}.step(): differentiable=True cannot be captured into a CUDA graph"
        )
    tracked = [p for group in optimizer.param_groups for p in group["params"]]
    grads = {p: p.grad for p in tracked}
    known = {p: set(optimizer.state[p]) for p in tracked if p in optimizer.state}

    def run() -> None:
        with no_grad(), with_grads(grads):
            for group in optimizer.param_groups:
                optimizer._update(group)
        if any(set(optimizer.state.get(p, ())) != known.get(p, set()) for p in tracked):
            raise RuntimeError(
                f"{name}.step(): the first step makes the state and cannot be captured. "
                "Step once before the capture, as a warm-up."
            )

    step = Rehearsal(f"{name}.step()", run, lambda: keep(optimizer, tracked))
    step.record()
    capture.inputs.append(step)


def keep(optimizer: Optimizer, params: list[Tensor]) -> Callable[[], None]:
    """A function that gives ``params`` the state back that they have now, its counts included."""
    before = {p: dict(optimizer.state[p]) for p in params if p in optimizer.state}
    counts = {p: {k: v.clone() for k, v in state.items() if is_counter(v)}
              for p, state in before.items()}  # fmt: skip

    def restore() -> None:
        for p in params:
            state = optimizer.state.pop(p, {})
            if p in before:
                state.clear()
                state.update(before[p] | counts[p])
                optimizer.state[p] = state

    return restore


def is_counter(value: Any) -> bool:
    """Whether a piece of state is a number of the host's."""
    return isinstance(value, Tensor) and value.is_cpu and value.ndim == 0


@contextmanager
def with_grads(grads: dict[Tensor, Any]) -> Iterator[None]:
    """Inside, parameters have the gradients that the graph reads, whatever became of them since."""
    now = {p: p.grad for p in grads}
    for p, g in grads.items():
        p.grad = g
    try:
        yield
    finally:
        for p, g in now.items():
            p.grad = g
