"""Jacobians, Hessians and their products with vectors, by one or two backward passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tgrad import autograd
from tgrad.autograd.grad_mode import enable_grad
from tgrad.autograd.variable import Variable

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _as_tuple(x: Any, what: str, name: str) -> tuple[bool, tuple]:
    """(whether it was one already, the tensors). Raises TypeError for anything but tensors."""
    several = isinstance(x, (tuple, list))
    parts = tuple(x) if several else (x,)
    for i, part in enumerate(parts):
        if not isinstance(part, Variable):
            where = f"the element at index {i} of the tuple" if several else "the value"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but "
                f"{where} has type {type(part).__name__}."
            )
    return several, parts


def _inputs(inputs: Any, name: str, create_graph: bool) -> tuple[bool, list[Any]]:
    """Copies to differentiate by: connected to the given ones only where a graph is asked for."""
    several, xs = _as_tuple(inputs, "inputs", name)
    fresh = []
    for x in xs:
        if create_graph and x.tracked:
            fresh.append(x.view_as(x))
        else:
            fresh.append(x.detach().requires_grad_())
    return several, fresh


def _call(func: Callable, xs: list[Any], name: str) -> tuple[bool, tuple]:
    return _as_tuple(func(*xs), "outputs of the user-provided function", name)


def _gradients(
    y: Any, xs: list[Any], g: Any, create_graph: bool, strict: bool, name: str, keep: bool = True
) -> list[Any]:
    """Gradients of ``y`` by ``xs``, zeros where there is no path (an error when strict)."""
    found: tuple = (None,) * len(xs)
    if y.tracked:
        found = autograd.grad(
            y, xs, g, create_graph=create_graph, retain_graph=keep, allow_unused=True
        )
    if strict and any(f is None for f in found):
        i = next(i for i, f in enumerate(found) if f is None)
        raise RuntimeError(
            f"The output of the user-provided function is independent of input {i}. This is not "
            f"allowed in strict mode ({name})."
        )
    return [x.new_zeros(x.shape) if f is None else f for x, f in zip(xs, found, strict=True)]


def _vector(v: Any, like: tuple, what: str, name: str) -> tuple:
    if v is None:
        if len(like) == 1 and like[0].numel() == 1:
            return (like[0].detach().new_ones(like[0].shape),)
        raise RuntimeError(
            f"The vector v can only be None if {what} is a single one-element Tensor ({name})."
        )
    _, vs = _as_tuple(v, "v", name)
    if len(vs) != len(like) or any(a.shape != b.shape for a, b in zip(vs, like, strict=True)):
        raise RuntimeError(
            f"{name}: v must have the shapes of {what}, {[tuple(x.shape) for x in like]}, "
            f"got {[tuple(x.shape) for x in vs]}"
        )
    return vs


def _result(several: bool, xs: Any, create_graph: bool) -> Any:
    xs = tuple(x if create_graph else x.detach() for x in xs)
    return xs if several else xs[0]


def vjp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), v^T J): one backward pass. ``v`` has the shape of the output."""
    with enable_grad():
        several, xs = _inputs(inputs, "vjp", create_graph)
        many, ys = _call(func, xs, "vjp")
        vs = _vector(v, ys, "the output", "vjp")
        total = _weighted(ys, vs)
        gs = _gradients(total, xs, None, create_graph, strict, "vjp", keep=create_graph)
    return _result(many, ys, create_graph), _result(several, gs, create_graph)


def jvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), J v) by the double-backward trick: J^T u is linear in u, differentiate it."""
    with enable_grad():
        _, xs = _inputs(inputs, "jvp", create_graph)
        many, ys = _call(func, xs, "jvp")
        vs = _vector(v, tuple(xs), "the input", "jvp")
        us = [y.detach().new_zeros(y.shape).requires_grad_() for y in ys]
        gs = _gradients(_weighted(ys, us), xs, None, True, strict, "jvp")
        out = _gradients(_weighted(gs, vs), us, None, create_graph, False, "jvp")
    return _result(many, ys, create_graph), _result(many, out, create_graph)


def _weighted(ys: Any, ws: Any) -> Any:
    """sum of y * w over all elements of all tensors."""
    parts = [(y * w).sum() for y, w in zip(ys, ws, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def jacobian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """d func(inputs)[i] / d inputs[j], shape (*output, *input), one backward per output element.

    A tuple of inputs and/or outputs gives a tuple of (tuples of) Jacobians. ``vectorize`` changes
    nothing here; "forward-mode" computes columns by :func:`jvp`.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            'Expected strategy to be either "reverse-mode" or "forward-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph)
    with enable_grad():
        several, xs = _inputs(inputs, "jacobian", create_graph)
        many, ys = _call(func, xs, "jacobian")
        rows = []
        for y in ys:
            flat = y.reshape(-1)
            parts = [
                _gradients(flat[i], xs, None, create_graph, strict, "jacobian")
                for i in range(flat.numel())
            ]
            rows.append(
                tuple(
                    _stack([p[k] for p in parts], x).reshape((*y.shape, *x.shape))
                    for k, x in enumerate(xs)
                )
            )
    rows = [_result(several, row, create_graph) for row in rows]
    return tuple(rows) if many else rows[0]


def _stack(parts: list[Any], like: Any) -> Any:
    """(n, *like.shape) from n tensors; n may be 0."""
    if not parts:
        return like.new_zeros((0, *like.shape))
    from tgrad.ops.shape import stack  # three layers up: this module is made of ops

    return stack(parts, 0)


def _forward_jacobian(func: Callable, inputs: Any, create_graph: bool) -> Any:
    several, xs = _as_tuple(inputs, "inputs", "jacobian")
    many = False
    ys: tuple = ()
    columns: list[list[list[Any]]] = []  # [input][element][output]
    for k, x in enumerate(xs):
        columns.append([])
        for i in range(x.numel()):
            vs = [z.detach().new_zeros(z.shape) for z in xs]
            vs[k].reshape(-1)[i] = 1
            y, out = jvp(func, tuple(xs), tuple(vs), create_graph)
            many, ys = _as_tuple(y, "outputs", "jacobian")
            columns[k].append(list(_as_tuple(out, "outputs", "jacobian")[1]))
    rows = []
    for m, y in enumerate(ys):
        row = []
        for k, x in enumerate(xs):
            stacked = _stack([column[m] for column in columns[k]], y)  # (input, *output)
            row.append(stacked.reshape(x.numel(), -1).transpose(0, 1).reshape(*y.shape, *x.shape))
        rows.append(tuple(row) if several else row[0])
    return tuple(rows) if many else rows[0]


def _scalar_output(func: Callable, name: str) -> Callable:
    def checked(*xs: Any) -> Any:
        y = func(*xs)
        if not isinstance(y, Variable) or y.numel() != 1:
            raise RuntimeError(
                f"The function given to {name} should return a single Tensor with a single element"
            )
        return y.reshape(())

    return checked


def hessian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """d^2 func / d inputs[i] d inputs[j] of a scalar function, shape (*input_i, *input_j)."""
    several = isinstance(inputs, (tuple, list))
    scalar = _scalar_output(func, "hessian")

    def gradient(*xs: Any) -> Any:
        found = jacobian(scalar, xs, create_graph=True, strict=strict)
        return found if several else found[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), v^T H) of a scalar function, by the gradient of (gradient . v)."""
    scalar = _scalar_output(func, "vhp")
    with enable_grad():
        several, xs = _inputs(inputs, "vhp", create_graph)
        y = scalar(*xs)
        vs = _vector(v, tuple(xs), "the input", "vhp")
        gs = _gradients(y, xs, None, True, strict, "vhp")
        out = _gradients(_weighted(gs, vs), xs, None, create_graph, strict, "vhp")
    return _result(False, (y,), create_graph), _result(several, out, create_graph)


def hvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func(inputs), H v) of a scalar function; H is symmetric, so this is :func:`vhp`."""
    return vhp(func, inputs, v, create_graph, strict)
