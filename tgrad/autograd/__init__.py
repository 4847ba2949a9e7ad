"""Reverse-mode automatic differentiation, with the names of ``torch.autograd``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from tgrad.autograd import engine, functional, graph, profiler
from tgrad.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from tgrad.autograd.check import gradcheck, gradgradcheck
from tgrad.autograd.function import Function
from tgrad.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tgrad.autograd.variable import OldVariable as Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "no_grad",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add to the leaves' ``.grad`` the gradient of ``tensors``, weighted by ``grad_tensors``.

    With ``inputs`` only those leaves are accumulated into. Raises RuntimeError for a tensor
    that does not require grad, or is not a scalar and has no ``grad_tensors``.
    """
    outputs = _tuple(tensors)
    roots = _roots(outputs, _tuple(grad_tensors if grad_variables is None else grad_variables))
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.backward(roots, retain_graph=keep, create_graph=create_graph)
        return
    chosen = _tuple(inputs)
    if not chosen:
        raise RuntimeError("'inputs' argument to backward cannot be empty.")
    targets = [x.edge() for x in chosen]
    found = engine.backward(roots, targets=targets, retain_graph=keep, create_graph=create_graph)
    for x, g in zip(chosen, found, strict=True):
        if g is not None:
            engine.accumulate(x, g, create_graph, steal=create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple; no ``.grad`` changes.

    ``only_inputs`` is what old programs say; other than True it only warns, as in PyTorch.
    Raises RuntimeError if an input does not require grad, or was not used and ``allow_unused``
    (or ``materialize_grads``, which gives zeros) does not permit it.
    """
    if not only_inputs:
        warnings.warn(
            "autograd.grad: only_inputs is ignored, the gradients of inputs alone are returned; "
            "call backward() to accumulate those of other leaves",
            FutureWarning,
            stacklevel=2,
        )
    if is_grads_batched:
        raise NotImplementedError("autograd.grad: is_grads_batched needs vmap, which tgrad lacks")
    wanted = _tuple(inputs)
    for x in wanted:
        if not x.tracked:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, "
            "but got: allow_unused=False."
        )
    roots = _roots(_tuple(outputs), _tuple(grad_outputs))
    found = engine.backward(
        roots,
        targets=[x.edge() for x in wanted],
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )
    if materialize_grads:
        return tuple(
            x.new_zeros(x.shape) if g is None else g for x, g in zip(wanted, found, strict=True)
        )
    if not allow_unused and any(g is None for g in found):
        raise RuntimeError(
            "One of the differentiated Tensors appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior."
        )
    return tuple(found)


def _tuple(x: Any) -> tuple:
    if x is None:
        return ()
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _roots(outputs: Sequence[Any], gs: Sequence[Any]) -> list:
    """(edge, gradient) per output, a missing gradient of a scalar being 1."""
    if gs and len(gs) != len(outputs):
        raise RuntimeError(
            f"got {len(outputs)} tensors and {len(gs)} gradients: expected one per tensor"
        )
    roots = []
    for i, y in enumerate(outputs):
        g = gs[i] if gs else None
        if not y.tracked:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if y.array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = y.detach().new_ones(y.shape)
        elif g.shape != y.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {list(g.shape)} and "
                f"output[{i}] has a shape of {list(y.shape)}."
            )
        elif g.device is not y.device:
            raise RuntimeError(f"gradient {i} is on {g.device}, its output on {y.device}")
        roots.append((y.edge(), g))
    return roots
