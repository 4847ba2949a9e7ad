"""The op registry: one entry per op, holding its card, its kernels and its gradient rules.

An op is declared once, in ``tgrad/ops``. The *card* is a function whose signature, docstring and
checks are the op's, and whose body returns the :class:`Spec` of each output. :func:`kernel` adds,
from ``kernels/<device>/<family>.py``, the code that fills the outputs; :func:`gradient` adds the
backward rule. A :func:`view` needs no kernel, a :func:`composite` neither kernel nor rule.

Calls are planned at declaration: which arguments are tensors, what each rule wants saved.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tgrad.autograd.grad_mode import mode
from tgrad.autograd.recorded import Rule
from tgrad.execute import (
    FallbackWarning,
    check_fits,
    check_inplace,
    check_out,
    copy_array,
    fallback,
    finish_small,
    record,
    run,
    run_inplace,
    run_out,
    run_view,
    store_out,
)
from tgrad.registry import OPS, Op, Spec, register, set_tensor_type, wrap

__all__ = ["OPS", "FallbackWarning", "Op", "Spec", "alias", "check_fits", "check_inplace",
           "check_out", "composite", "copy_array", "fallback", "finish", "finish_small", "gradient",
           "inplace_method", "kernel", "op", "record", "register", "run", "run_inplace", "run_out",
           "run_view", "set_tensor_type", "spaces_of", "store_out", "view", "wrap"]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

PUBLIC = ("tgrad", "Tensor")


def op(
    card: Callable | None = None,
    *,
    spaces: Sequence[str] | None = None,
    inplace: str | None = None,
) -> Any:
    """Declare a kernel op named after its card.

    ``spaces`` says where it is public ("tgrad", "Tensor", "nn.functional", ...); backward ops and
    names with a leading underscore default to nowhere. ``inplace`` gives it a ``name_`` method:
    "copy" computes and copies, "direct" promises that its kernels work when ``y is x``.
    """

    def declare(card: Callable) -> Callable:
        entry = Op(card, "kernel", spaces_of(card.__name__, spaces))
        entry.inplace = inplace
        register(entry)

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != entry.arity:
                out = kwargs.pop("out", None)
                args = entry.bind(args, kwargs)
                if out is not None:
                    return run_out(entry, args, out)
            return run(entry, args)

        return finish(entry, call)

    return declare if card is None else declare(card)


def view(card: Callable | None = None, *, spaces: Sequence[str] | None = None) -> Any:
    """Declare an op whose result shares memory: the card checks and returns the new array."""

    def declare(card: Callable) -> Callable:
        entry = Op(card, "view", spaces_of(card.__name__, spaces))
        register(entry)

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != entry.arity:
                args = entry.bind(args, kwargs)
            return run_view(entry, call, args)

        return finish(entry, call)

    return declare if card is None else declare(card)


def composite(
    function: Callable | None = None,
    *,
    spaces: Sequence[str] | None = None,
    inplace: bool = False,
) -> Any:
    """Register a plain function of other ops; it costs nothing at the call.

    ``inplace`` gives it a ``name_`` method that copies the result over its first argument.
    """

    def declare(function: F) -> F:
        entry = Op(function, "composite", spaces_of(function.__name__, spaces))
        entry.inplace = "copy" if inplace else None
        register(entry)
        entry.function = function
        function.op = entry  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return declare if function is None else declare(function)


def alias(name: str, of: Callable[..., Any], spaces: Sequence[str] | None = None) -> None:
    """Register op ``of`` under a second name, in-place form included."""
    entry: Op = copy.copy(of.op)  # pyright: ignore[reportFunctionMemberAccess]
    entry.name = name
    if spaces is not None:
        entry.spaces = tuple(spaces)
    register(entry)


def spaces_of(name: str, spaces: Sequence[str] | None) -> Sequence[str]:
    hidden = name.startswith("_") or name.endswith("_backward")
    return spaces if spaces is not None else () if hidden else PUBLIC


def finish(entry: Op, call: Callable) -> Callable:
    """Give ``call`` the card's name, docs and public signature."""
    parameters = list(entry.signature.parameters.values())
    if parameters and parameters[0].name == "x":
        parameters[0] = parameters[0].replace(name="input")
    call.__name__ = call.__qualname__ = entry.name
    call.__doc__, call.__module__ = entry.card.__doc__, entry.card.__module__
    call.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    call.op = entry  # pyright: ignore[reportFunctionMemberAccess]
    entry.function = call
    return call


def kernel(name: str, device: str) -> Callable[[F], F]:
    """Register ``fill(y, *args)`` as op ``name``'s kernel on ``device`` ("cpu" or "cuda").

    It gets the allocated output arrays, then the card's arguments with arrays for tensors.
    """

    def add(fill: F) -> F:
        if device in OPS[name].kernels:
            OPS[name].plans.clear()  # they replay the kernel that was
        OPS[name].kernels[device] = fill
        return fill

    return add


def gradient(of: Callable, *inputs: str) -> Callable[[F], F]:
    """Register a backward rule of op ``of`` for all tensor inputs, or for the named ones.

    The rule's parameter names say what it needs, and only that is kept until backward: ``g`` the
    gradient of the output, ``y`` the output, any argument of the card, ``<input>_spec`` for shape
    and dtype of an input without keeping it, ``needs`` for a tuple of booleans per tensor input.
    An op that itself has an input ``g`` (a backward op) calls the gradient of its output ``gg``.
    Ops with several outputs number them: ``g0``, ``g1``, ``y0``, ... (``g0`` may be None).
    It returns one gradient (or None) per input.
    """
    entry: Op = of.op  # pyright: ignore[reportFunctionMemberAccess]

    def add(rule: F) -> F:
        positions = [entry.tensors.index(entry.index[n]) for n in inputs] or None
        entry.rules.append(Rule(rule, positions, entry))
        return rule

    return add


def inplace_method(entry: Op) -> Callable[..., Any] | None:
    """The ``name_`` function of an op declared with ``inplace``, or None."""
    if entry.inplace is None:
        return None
    function = entry.function

    def composite_(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_inplace(entry.name + "_", self)
        # What the function saves for backward must outlive the write.
        old = self.clone() if self.tracked and mode.enabled else self
        return self.copy_(function(old, *args, **kwargs))

    def kernel_(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run_inplace(entry, entry.bind((self, *args), kwargs))

    method = composite_ if entry.kind == "composite" else kernel_
    method.__name__ = method.__qualname__ = entry.name + "_"
    method.__doc__ = f"In-place form of :func:`{entry.name}`."
    return method
