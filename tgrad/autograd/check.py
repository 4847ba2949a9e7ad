"""Gradients against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tgrad import autograd, dtypes
from tgrad.autograd.variable import Variable

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Analytical and numerical gradients disagree."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Compare backward's Jacobian of ``func`` with central differences of step ``eps``.

    ``inputs``: a tensor or tuple; those that require grad are checked and should be float64.
    ``fast_mode`` compares one random projection u^T J v instead of every entry.
    Raises: GradcheckError where they differ by more than ``atol + rtol * |numerical|``, unless
    ``raise_exception`` is False; ValueError if no input requires grad.
    """
    xs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    try:
        checked = _checked(xs)
        ys = _outputs(func, xs)
        check = _fast if fast_mode else _full
        for k, y in enumerate(ys):
            check(func, xs, checked, k, y, eps, atol, rtol)
            _deterministic(func, xs, checked, k, nondet_tol)
            if check_grad_dtypes:
                _dtypes(func, xs, checked, k)
        if check_undefined_grad and len(ys) > 1:
            _undefined(func, xs, checked)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    fast_mode: bool = False,
) -> bool:
    """:func:`gradcheck` of the gradient itself, by the inputs and by the output's gradient."""
    xs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        gs = []
        for y in _outputs(func, xs):
            g = y.detach().clone()
            g.copy_(_like(g, rng.standard_normal(g.shape)))
            if gen_non_contig_grad_outputs and g.ndim:
                g = g.unsqueeze(-1).repeat(*[1] * g.ndim, 2).select(-1, 0)
            gs.append(g.detach().requires_grad_())
    else:
        gs = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]
    n = len(xs)

    def gradient(*args: Any) -> tuple:
        wanted = [x for x in args[:n] if isinstance(x, Variable) and x.tracked]
        ys = _outputs(func, args[:n])
        found = autograd.grad(ys, wanted, args[n:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.tracked)

    return gradcheck(
        gradient,
        (*xs, *gs),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        fast_mode=fast_mode,
    )


def _checked(xs: Sequence[Any]) -> list[int]:
    found = [i for i, x in enumerate(xs) if isinstance(x, Variable) and x.tracked]
    if not found:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    for i in found:
        if xs[i].dtype not in (dtypes.float64, dtypes.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or "
                "complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex.",
                stacklevel=3,
            )
    return found


def _outputs(func: Callable, xs: Sequence[Any]) -> list[Any]:
    """The outputs of ``func`` that take part in differentiation."""
    y = func(*xs)
    ys = y if isinstance(y, (tuple, list)) else (y,)
    return [z for z in ys if isinstance(z, Variable) and z.dtype.category >= dtypes.FLOAT]


def _host(x: Any) -> np.ndarray:
    return x.detach().cpu().to(dtypes.float64).array


def _like(x: Any, a: np.ndarray) -> Any:
    """``a`` as a tensor of x's dtype on x's device, outside any graph."""
    fresh = x.detach().cpu().to(dtypes.float64).clone()
    fresh.array[...] = a
    return fresh.to(x.device).to(x.dtype)


def _moved(xs: Sequence[Any], i: int, direction: np.ndarray) -> list[Any]:
    """The inputs with ``direction`` added to number ``i``; copies, unrecorded."""
    moved = list(xs)
    moved[i] = _like(xs[i], _host(xs[i]) + direction).requires_grad_()
    return moved


def _difference(
    func: Callable, xs: Sequence[Any], i: int, k: int, direction: np.ndarray, eps: float
) -> np.ndarray:
    """(f(x + eps d) - f(x - eps d)) / 2 eps of output ``k``."""
    up = _host(_outputs(func, _moved(xs, i, eps * direction))[k])
    down = _host(_outputs(func, _moved(xs, i, -eps * direction))[k])
    return (up - down) / (2 * eps)


def _analytical(func: Callable, xs: Sequence[Any], checked: list[int], k: int, u: np.ndarray):
    """u^T J of output ``k`` for each checked input; zeros where there is no path."""
    y = _outputs(func, xs)[k]
    wanted = [xs[i] for i in checked]
    if not y.tracked:
        return [np.zeros(x.shape) for x in wanted]
    found = autograd.grad(y, wanted, _like(y, u), allow_unused=True)
    return [
        np.zeros(x.shape) if g is None else _host(g) for x, g in zip(wanted, found, strict=True)
    ]


def _full(func, xs, checked, k, y, eps, atol, rtol) -> None:
    shape, size = y.shape, y.numel()
    analytical = [np.zeros((xs[i].numel(), size)) for i in checked]
    for j in range(size):
        u = np.zeros(size)
        u[j] = 1
        for a, g in zip(
            analytical, _analytical(func, xs, checked, k, u.reshape(shape)), strict=True
        ):
            a[:, j] = g.reshape(-1)
    for a, i in zip(analytical, checked, strict=True):
        numerical = np.zeros_like(a)
        for e in range(xs[i].numel()):
            d = np.zeros(xs[i].numel())
            d[e] = 1
            column = _difference(func, xs, i, k, d.reshape(xs[i].shape), eps)
            numerical[e] = column.reshape(-1)
        if not np.allclose(a, numerical, rtol, atol, equal_nan=True):
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {i},\n"
                f"numerical:{numerical}\nanalytical:{a}\n"
            )


def _fast(func, xs, checked, k, y, eps, atol, rtol) -> None:
    rng = np.random.default_rng(0)
    u = rng.standard_normal(y.shape)
    u /= max(np.linalg.norm(u), 1e-30)
    for g, i in zip(_analytical(func, xs, checked, k, u), checked, strict=True):
        v = rng.standard_normal(xs[i].shape)
        v /= max(np.linalg.norm(v), 1e-30)
        numerical = float((_difference(func, xs, i, k, v, eps) * u).sum())
        analytical = float((g * v).sum())
        if not np.isclose(analytical, numerical, rtol, atol, equal_nan=True):
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {i} along a random "
                f"direction: numerical {numerical}, analytical {analytical}"
            )


def _deterministic(func, xs, checked, k, tolerance: float) -> None:
    u = np.random.default_rng(1).standard_normal(_outputs(func, xs)[k].shape)
    first, second = (_analytical(func, xs, checked, k, u) for _ in range(2))
    for i, a, b in zip(checked, first, second, strict=True):
        if a.size and np.nanmax(np.abs(a - b)) > tolerance:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output "
                f"multiple times gives different values, for input {i}. The tolerance for "
                f"nondeterminism was {tolerance}."
            )


def _dtypes(func, xs, checked, k) -> None:
    y = _outputs(func, xs)[k]
    if y.tracked:
        wanted = [xs[i] for i in checked]
        for x, g in zip(wanted, autograd.grad(y.sum(), wanted, allow_unused=True), strict=True):
            if g is not None and g.dtype is not x.dtype:
                raise GradcheckError(f"gradient has dtype {g.dtype}, its input {x.dtype}")


def _undefined(func, xs, checked) -> None:
    """Backward must accept that only one of several outputs has a gradient."""
    ys = _outputs(func, xs)
    for y in ys:
        if y.tracked:
            autograd.grad(y.sum(), [xs[i] for i in checked], retain_graph=True, allow_unused=True)
