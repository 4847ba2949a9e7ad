"""The base of schedulers: it watches the order of calls and writes the groups' learning rates."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tgrad.optim.optimizer import Optimizer
from tgrad.tensor import Tensor

EPOCH = (
    "The epoch parameter in `scheduler.step()` is deprecated: call `scheduler.step()` without it. "
    "With an epoch the closed form of the schedule is used where there is one."
)
ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite "
    "order: `optimizer.step()` before `lr_scheduler.step()`; otherwise the first value of the "
    "schedule is skipped."
)
OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
    "initialization. Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`."
)
RESUME = (
    "param 'initial_lr' is not specified in param_groups[{}] when resuming scheduler with "
    "last_epoch >= 0: load the optimizer's state first, or leave last_epoch at -1."
)


class LRScheduler:
    """Sets ``group["lr"]`` of every parameter group at each ``step``.

    A subclass gives ``get_lr``, which returns the next learning rates. ``last_epoch`` counts the
    steps from 0; the constructor makes the first. A learning rate that is a tensor is overwritten
    in place.
    Raises: TypeError unless ``optimizer`` is one, KeyError to resume without "initial_lr".
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _last_lr: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(RESUME.format(i))
        self.base_lrs: list[Any] = listed(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        watch(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Every attribute except the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the attributes of a ``state_dict``."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The learning rates that the last step set, one a group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The next learning rates; for subclasses, which :meth:`step` asks."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Set the next learning rates. To be called after the optimizer's step."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(OVERRIDDEN, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._asking():
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
            values = self.get_lr() if closed is None else closed()
        self._set(values)

    def _set(self, values: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            assign(group, "lr", lr)
        self._last_lr = listed(self.optimizer, "lr")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While open, ``get_lr`` is called by ``step`` and not by a user."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _check_asked(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )


class FactorLR(LRScheduler):
    """A scheduler whose step multiplies every group's rate by one factor, or by none."""

    def _factor(self) -> float | None:
        raise NotImplementedError

    def get_lr(self) -> list[Any]:
        """The groups' learning rates times this step's factor."""
        self._check_asked()
        factor = self._factor()
        rates = listed(self.optimizer, "lr")
        return rates if factor is None else [lr * factor for lr in rates]


def copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def listed(optimizer: Optimizer, key: str) -> list[Any]:
    """``group[key]`` of every group; tensors as copies."""
    return [copied(group[key]) for group in optimizer.param_groups]


def assign(group: dict[str, Any], key: str, value: Any) -> None:
    """Set ``group[key]``, a tensor in place."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` for every group, or its entries. Raises ValueError for a wrong number of them."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [copied(value) for _ in range(groups)]
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} "
            f"values, param_groups has {groups}."
        )
    return [copied(v) for v in value]


def watch(optimizer: Optimizer) -> None:
    """Have ``optimizer.step`` note that it was called."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    reference = weakref.ref(optimizer)
    step = optimizer.step.__func__  # pyright: ignore[reportFunctionMemberAccess]

    @functools.wraps(step)
    def watched(*args: Any, **kwargs: Any) -> Any:
        owner: Any = reference()
        owner._opt_called = True
        return step(owner, *args, **kwargs)

    watched._wrapped_by_lr_sched = True  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step = watched


class _LRScheduler(LRScheduler):
    """:class:`LRScheduler` under its old name."""
