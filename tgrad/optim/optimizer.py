"""The base of optimisers: parameter groups, state by parameter, hooks, saving and loading."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

from tgrad.autograd import enable_grad, set_grad_enabled
from tgrad.autograd.graph import RemovableHandle
from tgrad.creation import tensor, zeros
from tgrad.dtypes import float32, float64, get_default_dtype
from tgrad.optim.captured import capture_step
from tgrad.runtime import stream
from tgrad.tensor import Tensor

Group = dict[str, Any]
ParamsT = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]
KINDS = ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre",
         "load_state_dict_post")  # fmt: skip


class _RequiredParameter:
    """Stands for a setting that each group must bring itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()


class Optimizer:
    """Holds ``param_groups``, dicts of "params" and settings, and ``state``, a dict by parameter.

    A subclass gives ``defaults`` for the settings and either ``_update(group)``, which steps the
    parameters of one group, or its own ``step``.
    Raises: TypeError for parameters that are not tensors, ValueError for none, for computed ones
    and for one that is in two groups.
    """

    _counters: tuple[str, ...] = ("step",)  # state that is one number, on the host

    @functools.cached_property
    def _hooks(self) -> dict[str, OrderedDict[int, Callable]]:
        """Made when asked for: optimisers that wrap others may leave this class's start out."""
        return {kind: OrderedDict() for kind in KINDS}

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.defaults = defaults
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any):
        """A ``step`` of the subclass's own runs between the step hooks too."""
        super().__init_subclass__(**options)
        if "step" in vars(cls):
            cls.step = _hooked(cls.step)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; settings that it lacks are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and all(isinstance(p, tuple) for p in params):
            param_group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not (self.defaults.get("differentiable") or p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error",
                stacklevel=3,
            )
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
        param_group["params"] = params
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        self.param_groups.append(param_group)

    # ---- stepping --------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what ``closure`` returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        capture = stream.capture()
        if capture is not None:
            capture_step(self, capture)
            return loss
        with set_grad_enabled(self.defaults.get("differentiable", False)):
            for group in self.param_groups:
                self._update(group)
        return loss

    def _update(self, group: Group) -> None:
        raise NotImplementedError

    def _start(self, p: Tensor, group: Group, state: dict[str, Any]) -> None:
        """Make what ``state`` of ``p`` lacks, "step" aside; called before each step."""

    def _ready(
        self, group: Group, key: Callable[..., Any] = lambda p, state: None
    ) -> Iterable[Any]:
        """Count a step of each parameter that has a gradient: (step, key, params, grads, states).

        Those of one device, dtype, step and ``key(p, state)`` come together: one launch steps them.
        """
        found: dict[tuple, list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is not None:
                state = self.state[p]
                self._start(p, group, state)
                which = (p.device, p.dtype, count(state), key(p, state))
                found.setdefault(which, []).append(p)
        for (_, _, step, name), params in found.items():
            yield step, name, params, gradients(params), [self.state[p] for p in params]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient, or fill it with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    # ---- hooks -----------------------------------------------------------------------------------

    def _register(self, kind: str, hook: Callable, prepend: bool = False) -> RemovableHandle:
        handle = RemovableHandle(self._hooks[kind], hook)
        if prepend:
            self._hooks[kind].move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before a step; a result replaces both."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after a step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before ``state_dict`` gathers."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after ``state_dict``; a result replaces it."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; a result is loaded instead."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return self._register("load_state_dict_post", hook, prepend)

    # ---- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": by number of the parameter, "param_groups": with numbers for parameters}."""
        for hook in self._hooks["state_dict_pre"].values():
            hook(self)
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
        groups = [
            {**{k: v for k, v in g.items() if k != "params"},
             "params": [numbers[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]  # fmt: skip
        state = {numbers.get(id(p), p): s for p, s in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._hooks["state_dict_post"].values():
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take settings and state from a ``state_dict``, cast to each parameter's dtype and device.

        Raises: ValueError where the groups do not match in number and size.
        """
        state_dict = dict(state_dict)
        for hook in self._hooks["load_state_dict_pre"].values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for old, new in zip(self.param_groups, saved, strict=True):
            if len(old["params"]) != len(new["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
        owners = dict(zip(chain.from_iterable(g["params"] for g in saved),
                          chain.from_iterable(g["params"] for g in self.param_groups),
                          strict=True))  # fmt: skip
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            if number in owners:
                p = owners[number]
                state[p] = {k: _cast(p, k, v, self._counters) for k, v in entries.items()}
            else:
                state[number] = entries
        for old, new in zip(self.param_groups, saved, strict=True):
            if "param_names" in old:
                new.setdefault("param_names", old["param_names"])
            new["params"] = old["params"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._hooks["load_state_dict_post"].values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for group in self.param_groups:  # settings that an older file lacks
            for name, default in self.defaults.items():
                group.setdefault(name, default)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += ["", f"Parameter Group {i}"] if i else [f"Parameter Group {i}"]
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join(lines) + "\n)"


_global_pre: OrderedDict[int, Callable] = OrderedDict()
_global_post: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before a step of any optimizer."""
    return RemovableHandle(_global_pre, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after a step of any optimizer."""
    return RemovableHandle(_global_post, hook)


def _hooked(step: Callable) -> Callable:
    """``step`` between the optimizer's step hooks."""
    if getattr(step, "hooked", False):
        return step

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        hooks = self._hooks
        for hook in [*_global_pre.values(), *hooks["step_pre"].values()]:
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{changed}."
                    )
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in [*hooks["step_post"].values(), *_global_post.values()]:
            hook(self, args, kwargs)
        return result

    setattr(wrapper, "hooked", True)  # noqa: B010 - functions have no such declared attribute
    return wrapper


Optimizer.step = _hooked(Optimizer.step)


def _cast(p: Tensor, key: str, value: Any, counters: tuple[str, ...]) -> Any:
    """Saved state as parameter ``p`` needs it: counters stay as they are, on the host."""
    if isinstance(value, Tensor):
        if key in counters:
            return value.cpu().clone()
        return value.to(p.device, p.dtype) if p.is_floating_point() else value.to(p.device)
    if isinstance(value, dict):
        return {k: _cast(p, k, v, counters) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(p, key, v, counters) for v in value)
    return value


# ---- what the optimisers share -------------------------------------------------------------------


def like(p: Tensor) -> Tensor:
    """Zeros for state that belongs to ``p``."""
    return zeros(p.shape, dtype=p.dtype, device=p.device)


def counter(value: float = 0.0) -> Tensor:
    """A number of the state: 0-d on the CPU, float64 where that is the default dtype."""
    wide = get_default_dtype() is float64
    return tensor(value, dtype=float64 if wide else float32, device="cpu")


def count(state: dict[str, Any]) -> float:
    """Count one more step in ``state`` and return the number."""
    step = state.get("step")
    if not isinstance(step, Tensor):
        step = state["step"] = counter(float(step or 0.0))
    if step.array.__class__ is not np.ndarray:
        step = state["step"] = step.cpu()
    np.add(step.array, 1, out=step.array)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return float(step.array)  # pyright: ignore[reportArgumentType]


def gradients(params: Sequence[Tensor]) -> list[Tensor]:
    return [p.grad for p in params]  # pyright: ignore[reportReturnType]


def check_not_negative(what: str, value: Any) -> None:
    """Raise ValueError for a negative setting or NaN."""
    if not value >= 0.0:
        raise ValueError(f"Invalid {what}: {value}")


def check_lr(lr: Any, foreach: bool | None = None, capturable: bool = False) -> None:
    """Raise ValueError for a negative learning rate or a tensor of several numbers."""
    if isinstance(lr, Tensor):
        if foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    check_not_negative("learning rate", lr)


def check_betas(betas: Sequence[Any]) -> None:
    """Raise ValueError for a beta outside [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    """Raise RuntimeError where ``fused`` stands beside what PyTorch does not let it."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def rate(group: Group) -> Any:
    """The learning rate as a step takes it: a tensor only where gradients may flow to it."""
    lr = group["lr"]
    return lr if group.get("differentiable") else float(lr)
