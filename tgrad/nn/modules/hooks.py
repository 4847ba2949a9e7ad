"""Hooks of a module: what runs before and after ``forward`` and on the gradients around it."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad.autograd.function import Function
from tgrad.autograd.graph import RemovableHandle
from tgrad.autograd.variable import Variable

if TYPE_CHECKING:
    from tgrad.nn.modules.module import Module


class Hook(NamedTuple):
    """A function and how it was registered; called like the function itself."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


Hooks = OrderedDict[int, Hook]


def add(hooks: Hooks, hook: Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)  # pyright: ignore[reportArgumentType]
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks",
         "_state_dict_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks",
         "_load_state_dict_post_hooks")  # fmt: skip


class Hooked:
    """The hooks that a module has, and the methods that register them."""

    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks
    _state_dict_pre_hooks: Hooks
    _state_dict_hooks: Hooks
    _load_state_dict_pre_hooks: Hooks
    _load_state_dict_post_hooks: Hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; a result replaces the arguments."""
        return add(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; a result replaces the output.

        ``always_call``: also where ``forward`` raised.
        """
        return add(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the backward; a result replaces grad_output."""
        return add(self._backward_pre_hooks, Hook(hook), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)``; a result replaces grad_input."""
        return add(self._backward_hooks, Hook(hook), prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The hook of old programs: now :meth:`register_full_backward_hook`.

        Where PyTorch's sees the gradients of the module's last op, this one sees those of its
        inputs, whatever ``forward`` is made of.
        """
        return self.register_full_backward_hook(hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict`` gathers."""
        return add(self._state_dict_pre_hooks, Hook(hook))

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict``."""
        return add(self._state_dict_hooks, Hook(hook))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, err)``."""
        return add(self._load_state_dict_pre_hooks, Hook(hook))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading."""
        return add(self._load_state_dict_post_hooks, Hook(hook))


def call(module: Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    """``module.forward`` between its hooks."""
    done: set[int] = set()
    result = None
    try:
        args, kwargs = before(module, args, kwargs)
        boundary = None
        if module._backward_hooks or module._backward_pre_hooks:
            boundary = Boundary(module)
            args = boundary.enter(args)
        result = module.forward(*args, **kwargs)
        for key, hook in list(module._forward_hooks.items()):
            done.add(key)
            result = after(module, hook, args, kwargs, result)
        return result if boundary is None else boundary.leave(result)
    except Exception:
        for key, hook in list(module._forward_hooks.items()):
            if hook.always_call and key not in done:
                try:
                    after(module, hook, args, kwargs, result)
                except Exception as e:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {e}",
                        stacklevel=3,
                    )
        raise


def before(module: Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Run the forward pre-hooks; each may replace the arguments."""
    for hook in list(module._forward_pre_hooks.values()):
        if hook.with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but "
                    f"got {changed}."
                )
            args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def after(module: Module, hook: Hook, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    if hook.with_kwargs:
        changed = hook(module, args, kwargs, result)
    else:
        changed = hook(module, args, result)
    return result if changed is None else changed


class Boundary:
    """The two identities around one call through which its gradients pass.

    The gradient of the outputs reaches :meth:`leave`'s identity first: pre-hooks see and may
    replace it. That of the inputs reaches :meth:`enter`'s last: then the hooks run on both.
    """

    def __init__(self, module: Module):
        self.module = module
        self.grad_outputs: tuple | None = None
        self.entered = False  # whether an input requires grad, so that enter's identity will run
        self.arity = 0

    def enter(self, args: tuple) -> tuple:
        self.arity = len(args)
        positions = [i for i, a in enumerate(args) if isinstance(a, Variable)]
        self.entered = any(args[i].tracked for i in positions)
        if not self.entered:
            return args
        passed = PassThrough.apply(self.input_gradients, *[args[i] for i in positions])
        self.positions = positions
        changed = list(args)
        for i, x in zip(positions, passed, strict=True):
            changed[i] = x
        return tuple(changed)

    def leave(self, result: Any) -> Any:
        several = isinstance(result, tuple)
        outputs = result if several else (result,)
        positions = [i for i, y in enumerate(outputs) if isinstance(y, Variable)]
        if not isinstance(result, (Variable, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(result)}",
                stacklevel=4,
            )
            return result
        if not any(outputs[i].tracked for i in positions):
            return result
        self.outputs, self.out_positions = len(outputs), positions
        passed = PassThrough.apply(self.output_gradients, *[outputs[i] for i in positions])
        if not several:
            return passed[0]
        changed = list(outputs)
        for i, y in zip(positions, passed, strict=True):
            changed[i] = y
        return tuple(changed)

    def output_gradients(self, gs: tuple) -> tuple:
        full: list[Any] = [None] * self.outputs
        for i, g in zip(self.out_positions, gs, strict=True):
            full[i] = g
        for hook in list(self.module._backward_pre_hooks.values()):
            changed = hook(self.module, tuple(full))
            if changed is not None:
                changed = changed if isinstance(changed, tuple) else (changed,)
                if len(changed) != len(full):
                    raise RuntimeError(
                        "Backward pre hook returned an invalid number of grad_output, got "
                        f"{len(changed)}, but expected {len(full)}"
                    )
                full = list(changed)
        self.grad_outputs = tuple(full)
        if not self.entered:
            self.run((None,) * self.arity)
        return tuple(full[i] for i in self.out_positions)

    def input_gradients(self, gs: tuple) -> tuple:
        full: list[Any] = [None] * self.arity
        for i, g in zip(self.positions, gs, strict=True):
            full[i] = g
        found = self.run(tuple(full))
        return tuple(found[i] for i in self.positions)

    def run(self, grad_inputs: tuple) -> tuple:
        """The backward hooks; each may return gradients of the inputs to use instead."""
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, grad_inputs, self.grad_outputs)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            if not self.entered:
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
            if len(changed) != len(grad_inputs):
                raise RuntimeError(
                    f"Backward hook returned an invalid number of grad_input, got {len(changed)}, "
                    f"but expected {len(grad_inputs)}"
                )
            grad_inputs = changed
        return grad_inputs


class PassThrough(Function):
    """Hands its tensors on, and their gradients to a function on the way back."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple:
        ctx.gradients, *xs = args
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[x for x in xs if not x.tracked])
        return tuple(xs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple:
        return (None, *ctx.gradients(grad_outputs))
