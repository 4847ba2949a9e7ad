"""Averages of the weights along training: AveragedModel, its averages, and SWALR."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from tgrad.autograd import no_grad
from tgrad.creation import tensor
from tgrad.device import device as Device
from tgrad.dtypes import int64
from tgrad.nn.modules import Module
from tgrad.nn.modules.batchnorm import _BatchNorm
from tgrad.ops.optim import _average_step
from tgrad.optim.lr_scheduler.base import LRScheduler, per_group
from tgrad.optim.optimizer import Optimizer
from tgrad.tensor import Tensor

Tensors = list[Tensor]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Tensors, Tensors, Any], None]:
    """average += (1 - decay)(parameter - average), for lists of tensors in place.

    Raises: ValueError for a decay outside [0, 1].
    """
    _check_decay(decay)

    def ema_update(ema_param_list: Tensors, current_param_list: Tensors, _: Any) -> None:
        with no_grad():
            if moving(ema_param_list):
                _average_step(ema_param_list, current_param_list, 1 - decay)
                return
            for average, p in zip(ema_param_list, current_param_list, strict=True):
                average.copy_(average * decay + p * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Tensors, Tensors, Any], None]:
    """average += (parameter - average) / (num_averaged + 1), for lists of tensors in place."""

    def swa_update(
        averaged_param_list: Tensors, current_param_list: Tensors, num_averaged: Tensor | int
    ) -> None:
        with no_grad():
            if moving(averaged_param_list):
                weight = 1 / (float(num_averaged) + 1)
                _average_step(averaged_param_list, current_param_list, weight)
                return
            for average, p in zip(averaged_param_list, current_param_list, strict=True):
                average.copy_(average + (p - average) / (num_averaged + 1))

    return swa_update


def moving(tensors: Tensors) -> bool:
    """Whether the tensors have fractions to average in."""
    return tensors[0].is_floating_point() or tensors[0].is_complex()


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """decay average + (1 - decay) parameter. Raises ValueError for a decay outside [0, 1]."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """average + (parameter - average) / (num_averaged + 1)."""

    def swa_update(
        averaged_param: Tensor, current_param: Tensor, num_averaged: Tensor | int
    ) -> Tensor:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    ``update_parameters`` takes the model's in: the first time as they are, later by ``avg_fn`` of
    (average, parameter, number averaged), by ``multi_avg_fn`` of lists, or as the plain mean.
    Buffers are copied, or with ``use_buffers`` averaged too.
    Source: Izmailov et al. 2018, arXiv:1803.05407; exponential: Polyak & Juditsky 1992.
    Raises: AssertionError for both functions.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: int | str | Device | None = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[Tensors, Tensors, Any], None] | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of ``model`` into the averages."""
        averages, current = self._tensors(self.module), self._tensors(model)
        current = [p.detach().to(a.device) for a, p in zip(averages, current, strict=True)]
        averages = [a.detach() for a in averages]
        if self.n_averaged.item() == 0:
            for a, p in zip(averages, current, strict=True):
                a.copy_(p)
        elif self.avg_fn is not None:
            for a, p in zip(averages, current, strict=True):
                a.copy_(self.avg_fn(a, p, self.n_averaged.to(a.device)))
        else:
            self._average(averages, current)
        if not self.use_buffers:
            for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                a.detach().copy_(b.detach().to(a.device))
        self.n_averaged += 1

    def _tensors(self, model: Module) -> Tensors:
        buffers = model.buffers() if self.use_buffers else ()
        return list(chain(model.parameters(), buffers))

    def _average(self, averages: Tensors, current: Tensors) -> None:
        average = self.multi_avg_fn or get_swa_multi_avg_fn()
        alike: dict[tuple, tuple[Tensors, Tensors]] = {}
        for a, p in zip(averages, current, strict=True):
            mine, theirs = alike.setdefault((a.device, a.dtype), ([], []))
            mine.append(a)
            theirs.append(p)
        for (where, _), (mine, theirs) in alike.items():
            average(mine, theirs, self.n_averaged.to(where))


def update_bn(
    loader: Iterable[Any], model: Module, device: int | str | Device | None = None
) -> None:
    """Run ``model`` over ``loader`` so that its batch norms have the averages of these inputs.

    An item that is a list or tuple counts by its first entry.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    was_training = model.training
    model.train()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the plain mean of all batches
    with no_grad():
        for item in loader:
            x = item[0] if isinstance(item, (list, tuple)) else item
            model(x if device is None else x.to(device))
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the group's learning rate to ``swa_lr`` in ``anneal_epochs`` epochs, then constant.

    Along a cosine or a straight line. Source: Izmailov et al. 2018, arXiv:1803.05407.
    Raises: ValueError for an unknown strategy or a negative number of epochs.
    """

    anneal_func: Callable[[float], float]

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        rates = per_group("swa_lr", optimizer, swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        self._set_anneal_func(anneal_strategy)
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _set_anneal_func(self, anneal_strategy: str) -> None:
        self._anneal_strategy = anneal_strategy
        self.anneal_func = cosine if anneal_strategy == "cos" else linear

    def get_lr(self) -> list[Any]:
        """The learning rates on the way to ``swa_lr``."""
        self._check_asked()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        length = max(1, self.anneal_epochs)
        before = self.anneal_func(max(0, min(1, (step - 1) / length)))
        now = self.anneal_func(max(0, min(1, step / length)))
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * now + start * (1 - now))
        return rates

    def state_dict(self) -> dict[str, Any]:
        """The attributes; the annealing function by its name."""
        return {k: v for k, v in super().state_dict().items() if k != "anneal_func"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the attributes of a ``state_dict``."""
        super().load_state_dict(state_dict)
        self._set_anneal_func(self._anneal_strategy)


def linear(t: float) -> float:
    return t


def cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2


__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
           "get_swa_multi_avg_fn", "update_bn"]  # fmt: skip
