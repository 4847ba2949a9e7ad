"""Stepping an optimizer on other parameters and state than its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tgrad.optim.optimizer import Group, Optimizer
from tgrad.tensor import Tensor

NAME = "swap_in_optimizer_params_and_state"


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """While open, ``optimizer`` has these parameters, and this state and these settings.

    ``swapin_parameters`` are in the order of the optimizer's own, ``swapin_optim_state`` is like
    its ``state_dict()``. What is written into the state's tensors stays there; afterwards the
    optimizer is as before.
    Raises: RuntimeError for an optimizer without state, or for groups that do not match.
    """
    saved = check(optimizer, swapin_parameters, swapin_optim_state)
    before, groups = optimizer.state, [dict(g) for g in optimizer.param_groups]
    state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
    params = iter(swapin_parameters.values())
    try:
        for group, new in zip(optimizer.param_groups, saved, strict=True):
            group.update(new, params=[next(params) for _ in new["params"]])
            for p, number in zip(group["params"], new["params"], strict=True):
                state[p] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = state
        yield
    finally:
        optimizer.state = before
        for group, old in zip(optimizer.param_groups, groups, strict=True):
            group.clear()
            group.update(old)


def check(optimizer: Optimizer, params: dict[str, Tensor], given: Any) -> list[Group]:
    """The groups of ``given``. Raises RuntimeError unless they are like the optimizer's."""
    if not optimizer.state:
        raise RuntimeError(f"{NAME} requires initialized optimizer state.")
    if not isinstance(given, dict) or not isinstance(given.get("state"), dict):
        raise RuntimeError(f"{NAME} requires an optimizer's state_dict, with a dict under 'state'.")
    groups = given.get("param_groups")
    own = optimizer.param_groups
    if not isinstance(groups, list) or len(groups) != len(own):
        raise RuntimeError(f"{NAME}: expected a list of {len(own)} param_groups, got {groups!r}")
    numbers: list[Any] = []
    for i, (old, new) in enumerate(zip(own, groups, strict=True)):
        if len(old["params"]) != len(new["params"]):
            raise RuntimeError(
                f"{NAME}: group {i} has {len(old['params'])} parameters, got {len(new['params'])}"
            )
        if set(old) != set(new):
            raise RuntimeError(
                f"{NAME}: the keys of group {i} differ from the optimizer's in "
                f"{sorted(set(old) ^ set(new))}"
            )
        numbers += new["params"]
    if len(numbers) != len(params):
        raise RuntimeError(f"{NAME}: expected {len(numbers)} parameters, got {len(params)}")
    extra = set(given["state"]) - set(numbers)
    if extra:
        raise RuntimeError(f"{NAME}: no param_group has the parameters {sorted(map(str, extra))}")
    return groups
