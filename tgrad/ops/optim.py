"""Optimiser steps over many tensors at once. They write their inputs and have no gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tgrad.autograd import no_grad
from tgrad.autograd.graph import rebase_history
from tgrad.dispatch import Op, copy_array, register
from tgrad.execute import check_devices, execute
from tgrad.runtime.array import is_contiguous

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


def update(card: Callable[..., list[list[Tensor]]]) -> Callable[..., None]:
    """Declare an op that overwrites lists of tensors: the card checks and returns those lists.

    Its kernels get contiguous arrays; tensors that are not are copied there and back.
    """
    entry = Op(card, "kernel", ())
    register(entry)

    @functools.wraps(card)
    def call(*args: Any) -> None:
        where = check_devices(entry, entry.inputs(args))
        written = card(*args)
        dense = list(args)
        with no_grad():
            for i in entry.tensors:
                dense[i] = [t if is_contiguous(t.array) else t.contiguous() for t in args[i]]
            execute(entry, where, [], dense)
            for i in entry.tensors:
                if not any(args[i] is w for w in written):
                    continue
                for t, d in zip(args[i], dense[i], strict=True):
                    if d is not t:
                        copy_array(t, d.array)
                    rebase_history(t, None)

    call.op = entry  # pyright: ignore[reportAttributeAccessIssue]
    entry.function = call
    return call


def _check(name: str, params: list[Tensor], *others: list[Tensor]) -> None:
    """Raise RuntimeError unless each list is empty or matches ``params`` in shape and dtype."""
    for tensors in others:
        if not tensors:
            continue
        for p, t in zip(params, tensors, strict=True):
            if t.shape != p.shape or t.dtype is not p.dtype or p.dtype is not params[0].dtype:
                raise RuntimeError(
                    f"{name}: expected gradient and state like the parameter, {p.dtype} "
                    f"{list(p.shape)}, got {t.dtype} {list(t.shape)}"
                )


@update
def _sgd_step(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    lr: float,
    weight_decay: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    maximize: bool,
) -> list[list[Tensor]]:
    """p -= lr u, with g += weight_decay p, b = momentum b + (1 - dampening) g.

    u is b, or g + momentum b (Nesterov), or g where ``buffers`` is empty. ``maximize`` negates the
    gradient first. All tensors are of one dtype; half precision is computed in float32.
    """
    _check("_sgd_step", params, grads, buffers)
    return [params, buffers]


@update
def _adam_step(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> list[list[Tensor]]:
    """m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^step), v^ = v / (1 - b2^step); ``max_exp_avg_sqs``, where not empty, keep the
    largest v, which then stands for it (amsgrad). Weight decay is added to the gradient, or
    ``decoupled``: p *= 1 - lr weight_decay first. Half precision is computed in float32.
    Source: Kingma & Ba 2014, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2017,
    arXiv:1711.05101, algorithm 2; Reddi et al. 2018, arXiv:1904.09237, algorithm 2.
    """
    _check("_adam_step", params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs)
    return [params, exp_avgs, exp_avg_sqs, max_exp_avg_sqs]


__all__ = ["_adam_step", "_sgd_step"]
