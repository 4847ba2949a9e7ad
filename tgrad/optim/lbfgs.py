"""LBFGS, with a line search that meets the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from tgrad.autograd import enable_grad, no_grad
from tgrad.ops import cat
from tgrad.optim.optimizer import Group, Optimizer, check_lr, like

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


class LBFGS(Optimizer):
    """p += t d, d = -H g, H from the last ``history_size`` changes of p and g.

    One step makes up to ``max_iter`` iterations and calls the closure up to ``max_eval`` times
    (1.25 max_iter where None); it ends early at a gradient under ``tolerance_grad`` or a change
    under ``tolerance_change``. t is lr, in the first iteration lr min(1, 1 / |g|_1), or found by
    ``line_search_fn="strong_wolfe"``. The state, kept with the first parameter, is
    ``history_size + 1`` times the size of the parameters.
    Source: Nocedal 1980, "Updating quasi-Newton matrices with limited storage"; Liu & Nocedal 1989;
    the search: Nocedal & Wright 2006, algorithms 3.5 and 3.6.
    Raises: ValueError for several groups or a negative lr, RuntimeError for complex parameters or
    another line search.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]
        if any(p.is_complex() for p in self._params):
            raise RuntimeError("LBFGS does not support complex parameters")

    # ---- all parameters as one vector ------------------------------------------------------------

    def _gradient(self) -> Tensor:
        parts = [(like(p) if p.grad is None else p.grad).reshape(-1) for p in self._params]
        return cat(parts)

    def _move(self, t: float, d: Tensor) -> None:
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(d[at : at + n].reshape(p.shape), alpha=t)
            at += n

    # ---- stepping --------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Minimise ``closure``, which computes the loss and its gradients; its first loss."""

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        with no_grad():
            group = self.param_groups[0]
            state = self.state[self._params[0]]
            state.setdefault("func_evals", 0)
            state.setdefault("n_iter", 0)
            first = evaluate()
            state["func_evals"] += 1
            g = self._gradient()
            if largest(g) > group["tolerance_grad"]:
                self._iterate(evaluate, group, state, float(first), g)
            return first

    def _iterate(
        self, evaluate: Callable[[], Any], group: Group, state: dict, loss: float, g: Tensor
    ) -> None:
        lr, evals = float(group["lr"]), 1
        for i in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = direction(state, g, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = g.clone(), loss
            start = min(1.0, 1.0 / g.abs().sum().item()) if state["n_iter"] == 1 else 1.0
            state["t"] = start * lr
            slope = g.dot(d).item()
            if slope > -group["tolerance_change"]:
                break
            last = i == group["max_iter"]
            before = loss
            loss, g, used = self._advance(evaluate, group, state, loss, g, slope, evals, last)
            evals += used
            state["func_evals"] += used
            if (
                last
                or evals >= group["max_eval"]
                or largest(g) <= group["tolerance_grad"]
                or largest(d) * abs(state["t"]) <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break

    def _advance(
        self, evaluate: Callable[[], Any], group: Group, state: dict, loss: float, g: Tensor,
        slope: float, evals: int, last: bool,
    ) -> tuple[float, Tensor, int]:  # fmt: skip
        """Move along the direction; the loss and gradient there and how many calls they took."""
        d, t = state["d"], state["t"]
        if group["line_search_fn"] is None:
            self._move(t, d)
            if last:  # nobody would read another loss
                return loss, g, 0
            return float(evaluate()), self._gradient(), 1
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        origin = [p.clone() for p in self._params]

        def at(t: float) -> Point:
            self._move(t, d)
            f = float(evaluate())
            new = self._gradient()
            for p, value in zip(self._params, origin, strict=True):
                p.copy_(value)
            return Point(t, f, new, new.dot(d).item())

        found, used = strong_wolfe(
            at, t, Point(0.0, loss, g, slope), largest(d), group["tolerance_change"],
            group["max_eval"] - evals,
        )  # fmt: skip
        state["t"] = found.t
        self._move(found.t, d)
        return found.f, found.g, used


def largest(x: Tensor) -> float:
    return x.abs().max().item()


def direction(state: dict[str, Any], g: Tensor, size: int) -> Tensor:
    """-H g by the two-loop recursion, after the last step has joined the history (d in state).

    Source: Nocedal & Wright 2006, algorithm 7.4.
    """
    if state["n_iter"] == 1:
        state.update(d=-g, old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return state["d"]
    changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
    y = g - state["prev_flat_grad"]
    s = state["d"] * state["t"]
    ys = y.dot(s)
    if ys.item() > 1e-10:
        if len(changes) == size:
            for kept in (changes, steps, ro):
                kept.pop(0)
        changes.append(y)
        steps.append(s)
        ro.append(1.0 / ys)
        state["H_diag"] = ys / y.dot(y)
    al = state.setdefault("al", [None] * size)
    q = -g
    for i in reversed(range(len(changes))):
        al[i] = steps[i].dot(q) * ro[i]
        q.sub_(changes[i] * al[i])
    d = q * state["H_diag"]
    for i in range(len(changes)):
        d.add_(steps[i] * (al[i] - changes[i].dot(d) * ro[i]))
    state["d"] = d
    return d


# ---- line search ---------------------------------------------------------------------------------


class Point(NamedTuple):
    """A step size, and the loss, gradient and directional derivative there."""

    t: float
    f: float
    g: Any
    slope: float


def minimum(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """The minimum of the cubic through two points with their slopes, within [low, high].

    The bounds are the points themselves where not given; their middle where there is no minimum.
    Source: Nocedal & Wright 2006, equation 3.59.
    """
    if a.t > b.t:
        a, b = b, a
    low, high = a.t if low is None else low, b.t if high is None else high
    if a.t != b.t:
        d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
        square = d1 * d1 - a.slope * b.slope
        if square >= 0:
            d2 = math.sqrt(square)
            below = b.slope - a.slope + 2 * d2
            if below != 0:
                t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below)
                return min(max(t, low), high)
    return (low + high) / 2


C1, C2 = 1e-4, 0.9  # sufficient decrease, and curvature


def strong_wolfe(
    at: Callable[[float], Point], t: float, start: Point, width: float, tolerance: float, limit: int
) -> tuple[Point, int]:
    """A point with f <= f0 + C1 t slope0 and |slope| <= C2 |slope0|, and how many were tried.

    The best one seen after ``limit`` points, or where the bracket times ``width`` is under
    ``tolerance``.
    """
    new, previous, tried = at(t), start, 0
    bracket = None
    while tried < limit:
        if too_high(new, start) or (tried > 1 and new.f >= previous.f):
            bracket = [previous, new]
            break
        if abs(new.slope) <= -C2 * start.slope:
            return new, tried + 1
        if new.slope >= 0:
            bracket = [previous, new]
            break
        t = minimum(previous, new, new.t + 0.01 * (new.t - previous.t), new.t * 10)
        previous, new = new, at(t)
        tried += 1
    return zoom(at, bracket or [start, new], start, width, tolerance, limit, tried)


def too_high(point: Point, start: Point) -> bool:
    return point.f > start.f + C1 * point.t * start.slope


def zoom(
    at: Callable[[float], Point], bracket: list[Point], start: Point, width: float,
    tolerance: float, limit: int, tried: int,
) -> tuple[Point, int]:  # fmt: skip
    """Shrink ``bracket`` around a point that meets the conditions."""
    best = int(bracket[1].f < bracket[0].f)
    stuck = False  # whether the last trial lay close to an end
    while tried < limit and abs(bracket[1].t - bracket[0].t) * width >= tolerance:
        t = minimum(bracket[0], bracket[1])
        low, high = sorted(p.t for p in bracket)
        margin = 0.1 * (high - low)
        close = min(high - t, t - low) < margin
        if close and (stuck or not low < t < high):
            t, close = (high - margin if high - t < t - low else low + margin), False
        stuck = close
        new = at(t)
        tried += 1
        if too_high(new, start) or new.f >= bracket[best].f:
            bracket[1 - best] = new
            best = int(bracket[1].f < bracket[0].f)
            continue
        done = abs(new.slope) <= -C2 * start.slope
        if not done and new.slope * (bracket[1 - best].t - bracket[best].t) >= 0:
            bracket[1 - best] = bracket[best]
        bracket[best] = new
        if done:
            break
    return bracket[best], tried + 1
