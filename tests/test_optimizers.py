"""Optimisers beyond SGD and Adam: each step against its formula in float64, on both devices."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.test_optim import params_of, values
from tgrad import optim
from tgrad.nn import Parameter
from tgrad.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

DEVICES = ("cpu", "cuda")
SHAPES = [(3, 4), (5,), (), (0, 3)]


def decayed(p, g, weight_decay, maximize):
    return (-g if maximize else g) + weight_decay * p


def rmsprop(p, g, s, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False,
            maximize=False):  # fmt: skip
    g = decayed(p, g, weight_decay, maximize)
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    s["a"] = alpha * s.get("a", 0) + (1 - alpha) * g
    u = g / (np.sqrt(s["v"] - s["a"] ** 2 if centered else s["v"]) + eps)
    s["b"] = momentum * s.get("b", 0) + u
    return p - lr * s["b"]


def adagrad(p, g, s, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10,
            maximize=False):  # fmt: skip
    g = decayed(p, g, weight_decay, maximize)
    s["sum"] = s.get("sum", initial_accumulator_value) + g**2
    return p - lr / (1 + (s["t"] - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def adadelta(p, g, s, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    g = decayed(p, g, weight_decay, maximize)
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    u = np.sqrt(s.get("d", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["d"] = rho * s.get("d", 0) + (1 - rho) * u**2
    return p - lr * u


def adamax(p, g, s, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    g = decayed(p, g, weight_decay, maximize)
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return p - lr / (1 - betas[0] ** s["t"]) * s["m"] / s["u"]


def moments(p, g, s, lr, betas, weight_decay, decoupled_weight_decay, maximize):
    """The parameter after weight decay; Adam's averages go to s."""
    g = -g if maximize else g
    if decoupled_weight_decay:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    return p, g


def nadam(p, g, s, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
          decoupled_weight_decay=False, maximize=False):  # fmt: skip
    p, g = moments(p, g, s, lr, betas, weight_decay, decoupled_weight_decay, maximize)
    t = s["t"]
    mus = [betas[0] * (1 - 0.96 ** (i * momentum_decay) / 2) for i in range(1, t + 2)]
    now, then = math.prod(mus[:-1]), math.prod(mus)
    m = mus[-1] * s["m"] / (1 - then) + (1 - mus[-2]) * g / (1 - now)
    return p - lr * m / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def radam(p, g, s, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
          decoupled_weight_decay=False, maximize=False):  # fmt: skip
    p, g = moments(p, g, s, lr, betas, weight_decay, decoupled_weight_decay, maximize)
    t = s["t"]
    m = s["m"] / (1 - betas[0] ** t)
    top = 2 / (1 - betas[1]) - 1
    rho = top - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:
        return p - lr * m
    r = math.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
    return p - lr * r * m * math.sqrt(1 - betas[1] ** t) / (np.sqrt(s["v"]) + eps)


def asgd(p, g, s, lr, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0, maximize=False):
    g = decayed(p, g, weight_decay, maximize)
    eta = s.get("eta", lr)
    p = (1 - lambd * eta) * p - eta * g
    s["ax"] = s.get("ax", 0) + s.get("mu", 1) * (p - s.get("ax", 0))
    s["eta"] = lr / (1 + lambd * lr * s["t"]) ** alpha
    s["mu"] = 1 / max(1, s["t"] - t0)
    return p


def rprop(p, g, s, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50), maximize=False):
    g = -g if maximize else g
    kept = g * s.get("g", 0)
    size = s.get("size", lr) * np.where(kept > 0, etas[1], np.where(kept < 0, etas[0], 1))
    s["size"] = np.clip(size, *step_sizes)
    s["g"] = np.where(kept < 0, 0, g)
    return p - s["size"] * np.sign(s["g"])


def adafactor(p, g, s, lr, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0,
              maximize=False):  # fmt: skip
    if p.size == 0:
        return p
    g = -g if maximize else g
    floor = np.finfo(np.float64).eps if eps[0] is None else eps[0]
    w = s["t"] ** beta2_decay

    def rms(x):
        return np.sqrt(np.mean(np.square(x)))

    size = max(eps[1], rms(p)) * min(lr, s["t"] ** -0.5)
    p = p * (1 - lr * weight_decay)
    if p.ndim > 1:
        s["r"] = (1 - w) * s.get("r", 0) + w * (g**2).mean(-1, keepdims=True)
        s["c"] = (1 - w) * s.get("c", 0) + w * (g**2).mean(-2, keepdims=True)
        v = s["r"] * s["c"] / np.maximum(s["r"].mean(-2, keepdims=True), floor)
    else:
        v = s["v"] = (1 - w) * s.get("v", 0) + w * g**2
    u = g / np.sqrt(np.maximum(v, floor**2))
    return p - size * u / max(1, rms(u) / d)


CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (optim.RMSprop, rmsprop, {"lr": 0.02}),
    (optim.RMSprop, rmsprop, {"lr": 0.02, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.5, "eps": 0.1, "maximize": True}),
    (optim.Adagrad, adagrad, {"lr": 0.1}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.1, "maximize": True,
                              "initial_accumulator_value": 0.5}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1, "maximize": True}),
    (optim.Adamax, adamax, {"lr": 0.1}),
    (optim.Adamax, adamax, {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    (optim.NAdam, nadam, {"lr": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.NAdam, nadam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.RAdam, radam, {"lr": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    (optim.RAdam, radam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.ASGD, asgd, {"lr": 0.1}),
    (optim.ASGD, asgd, {"lr": 0.1, "lambd": 0.1, "t0": 2, "weight_decay": 0.1, "maximize": True}),
    (optim.Rprop, rprop, {"lr": 0.1}),
    (optim.Rprop, rprop, {"lr": 0.1, "etas": (0.6, 1.4), "step_sizes": (0.08, 0.15),
                          "maximize": True}),
    (optim.Adafactor, adafactor, {"lr": 0.1}),
    (optim.Adafactor, adafactor, {"lr": 0.1, "d": 1.5, "weight_decay": 0.1, "eps": (1e-3, 0.1),
                                  "beta2_decay": -0.5, "maximize": True}),
]  # fmt: skip
cases = pytest.mark.parametrize(
    "kind, reference, settings", CASES, ids=[f"{c[0].__name__}-{i}" for i, c in enumerate(CASES)]
)


@pytest.mark.parametrize("device", DEVICES)
@cases
def test_steps_follow_the_formula(kind, reference, settings, device: str):
    # Counters such as eta and mu_product are float32, in tgrad as in PyTorch.
    bound = 1e-6 if kind in (optim.NAdam, optim.ASGD) else 1e-10
    want = values(0, SHAPES)
    states: list[dict] = [{} for _ in want]
    params = params_of(want, device)
    optimizer = kind(params, **settings)
    for step in range(8 if device == "cpu" else 3):
        for k, g in enumerate(values(step + 1, SHAPES)):
            if k == 1 and step == 1:  # without a gradient a parameter and its state stay
                params[k].grad = None
                continue
            params[k].grad = tgrad.tensor(g, device=device)
            states[k]["t"] = states[k].get("t", 0) + 1
            want[k] = reference(want[k], g, states[k], **settings)
        optimizer.step()
    for p, w in zip(params, want, strict=True):
        np.testing.assert_allclose(p.detach().cpu().numpy(), w, rtol=bound, atol=bound)


@cases
def test_large_parameters_step_in_threads_alike(kind, reference, settings):
    n = (1 << 20) + 12345
    a, g = np.linspace(-1, 1, n), np.cos(np.arange(n))
    p = params_of([a])[0]
    p.grad = tgrad.tensor(g)
    kind([p], **settings).step()
    np.testing.assert_allclose(
        p.detach().numpy(), reference(a, g, {"t": 1}, **settings), 1e-7, 1e-7
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype, bound", [("float32", 1e-5), ("bfloat16", 4e-2)])
@pytest.mark.parametrize("kind", list(dict.fromkeys(c[0] for c in CASES)))
def test_smaller_dtypes_follow_the_float64_step(kind, dtype: str, bound: float, device: str):
    p = params_of([values(0)[0]], device, getattr(tgrad, dtype))[0]
    exact = params_of([p.detach().cpu().double().numpy()])[0]
    a, b = kind([p], lr=0.125), kind([exact], lr=0.125)
    for _ in range(2):
        p.grad = p.detach() * 0.5
        exact.grad = p.grad.cpu().double()
        a.step()
        b.step()
    assert p.dtype is getattr(tgrad, dtype)
    got = p.detach().cpu().double().numpy()
    np.testing.assert_allclose(got, exact.detach().numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("device", DEVICES)
def test_muon_moves_along_nearly_orthogonal_matrices(device: str):
    for shape in ((6, 4), (4, 6)):
        p = params_of([values(0, [shape])[0]], device, tgrad.float32)[0]
        before = p.detach().cpu().double().numpy()
        g = values(1, [shape])[0]
        p.grad = tgrad.tensor(g, dtype=tgrad.float32, device=device)
        optim.Muon([p], lr=1.0, weight_decay=0.5, adjust_lr_fn="original").step()
        moved = (0.5 * before - p.detach().cpu().double().numpy()) / math.sqrt(max(1, 6 / 4)
                                                                               if shape[0] == 6
                                                                               else 1)  # fmt: skip
        u, s, vt = np.linalg.svd(moved, full_matrices=False)
        assert s.min() > 0.5 and s.max() < 1.5
        left, _, right = np.linalg.svd(g, full_matrices=False)
        assert np.abs(u @ vt - left @ right).max() < 0.1  # the polar factor of the gradient


def quadratic(device: str, iterations: int, search: str | None) -> tuple[Any, np.ndarray]:
    """An optimizer after a step on 0.5 z'Az - b'z, and how far z is from A^-1 b."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 5))
    a, b = a @ a.T + 3 * np.eye(5), rng.standard_normal(5)
    x, y = params_of([np.zeros(3), np.zeros(2)], device)
    matrix, vector = tgrad.tensor(a, device=device), tgrad.tensor(b, device=device)
    optimizer = optim.LBFGS(
        [x, y], lr=1 if search else 0.5, max_iter=iterations, line_search_fn=search
    )

    def closure():
        optimizer.zero_grad()
        z = tgrad.cat([x, y])
        loss = 0.5 * (z * (matrix @ z)).sum() - (vector * z).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0.0
    found = tgrad.cat([x, y]).detach().cpu().numpy()
    return optimizer, found - np.linalg.solve(a, b)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_minimises_a_quadratic(search: str | None):
    optimizer, error = quadratic("cpu", 40, search)
    assert np.abs(error).max() < 1e-4  # a change of the loss under 1e-9 ends it
    assert set(optimizer.state_dict()["state"]) == {0}


def test_lbfgs_takes_the_same_path_on_both_devices():
    _, error = quadratic("cpu", 2, "strong_wolfe")
    np.testing.assert_allclose(quadratic("cuda", 2, "strong_wolfe")[1], error, rtol=1e-8)


def test_lbfgs_goes_through_the_valley_of_rosenbrock():
    p = Parameter(tgrad.tensor([-1.2, 1.0], dtype=tgrad.float64))
    optimizer = optim.LBFGS([p], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-4)


@pytest.mark.parametrize("kind", list(dict.fromkeys(c[0] for c in CASES)))
def test_a_loaded_state_goes_on_where_it_was(kind):
    def steps(params, optimizer, seeds):
        for seed in seeds:
            for p, g in zip(params, values(seed, SHAPES), strict=True):
                p.grad = tgrad.tensor(g)
            optimizer.step()

    params = params_of(values(0, SHAPES))
    optimizer = kind(params, lr=0.1)
    steps(params, optimizer, (1, 2, 3))
    again = params_of([p.detach().numpy().copy() for p in params])
    other = kind(again, lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(params, optimizer, (4, 5))
    steps(again, other, (4, 5))
    for p, q in zip(params, again, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_differentiable_step_has_the_gradient_of_its_formula():
    lr = tgrad.tensor(0.1, dtype=tgrad.float64, requires_grad=True)
    w = tgrad.tensor([1.0, -2.0], dtype=tgrad.float64, requires_grad=True)
    p = w.clone()
    p.grad = 3 * w**2
    optim.SGD([p], lr=lr, differentiable=True).step()
    dw, dlr = tgrad.autograd.grad(p.sum(), (w, lr))
    np.testing.assert_allclose(dw.numpy(), 1 - 0.1 * 6 * w.detach().numpy())
    np.testing.assert_allclose(dlr.item(), -15.0)


def test_a_leaf_cannot_take_a_differentiable_step():
    p = Parameter(tgrad.ones(2))
    p.grad = tgrad.ones(2)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        optim.SGD([p], differentiable=True).step()


def test_global_hooks_run_around_every_optimizers_step():
    calls: list[str] = []
    first = register_optimizer_step_pre_hook(lambda o, a, k: calls.append("pre"))
    last = register_optimizer_step_post_hook(lambda o, a, k: calls.append("post"))
    optim.Rprop([Parameter(tgrad.ones(1))]).step()
    first.remove()
    last.remove()
    optim.Rprop([Parameter(tgrad.ones(1))]).step()
    assert calls == ["pre", "post"]


def test_an_optimizer_steps_other_parameters_with_other_state():
    p = Parameter(tgrad.zeros(2))
    p.grad = tgrad.ones(2)
    optimizer = optim.Adam([p], lr=0.5)
    other = Parameter(tgrad.ones(2))
    other.grad = tgrad.ones(2)
    swap = optim.swap_in_optimizer_params_and_state
    with (
        pytest.raises(RuntimeError, match="requires initialized optimizer state"),
        swap(optimizer, {"p": other}, {}),
    ):
        pass
    optimizer.step()
    mine = copy.deepcopy(optimizer.state_dict())
    mine["param_groups"][0]["lr"] = 0.25
    with swap(optimizer, {"p": other}, mine):
        optimizer.step()
    np.testing.assert_allclose(other.detach().numpy(), 0.75, rtol=1e-6)
    np.testing.assert_allclose(p.detach().numpy(), -0.5, rtol=1e-6)
    assert mine["state"][0]["step"].item() == 2 and optimizer.state[p]["step"].item() == 1
    assert optimizer.param_groups[0]["lr"] == 0.5 and optimizer.param_groups[0]["params"] == [p]
    for change, message in [
        ({"param_groups": []}, "expected a list of 1 param_groups"),
        ({"state": 3}, "with a dict under 'state'"),
        ({"state": {0: {}, 7: {}}}, "no param_group has the parameters"),
        ({"param_groups": [{"params": [0, 1]}]}, "group 0 has 1 parameters, got 2"),
        ({"param_groups": [{"params": [0]}]}, "the keys of group 0 differ"),
    ]:
        with (
            pytest.raises(RuntimeError, match=message),
            swap(optimizer, {"p": p}, {**mine, **change}),
        ):
            pass


def p22() -> Parameter:
    return Parameter(tgrad.ones(2, 2))


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: optim.RMSprop([p22()], alpha=-1), ValueError, "Invalid alpha value: -1"),
    (lambda: optim.Adagrad([p22()], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
    (lambda: optim.Adagrad([p22()], fused=True, differentiable=True), RuntimeError, "`fused` does"),
    (lambda: optim.Adadelta([p22()], rho=2), ValueError, "Invalid rho value: 2"),
    (lambda: optim.Adamax([p22()], betas=(1, 0)), ValueError, "Invalid beta parameter at index 0"),
    (lambda: optim.NAdam([p22()], momentum_decay=-1), ValueError, "Invalid momentum_decay value"),
    (lambda: optim.Rprop([p22()], etas=(2, 3)), ValueError, "Invalid eta values: 2, 3"),
    (lambda: optim.Adafactor([p22()], d=0.5), ValueError, "Clipping threshold d should be >= 1"),
    (lambda: optim.Muon([Parameter(tgrad.ones(2))]), ValueError, "only supports 2D parameters"),
    (lambda: optim.LBFGS([{"params": [p22()]}, {"params": [p22()]}]), ValueError, "groups"),
    (lambda: optim.Adam([p22()], lr=tgrad.ones(2)), ValueError, "Tensor lr must be 1-element"),
    (lambda: optim.SGD([p22()], lr=tgrad.tensor(0.1), foreach=True), ValueError, "lr as a Tensor"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", BAD, ids=[m for _, _, m in BAD])
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_optimizer_around_another_need_not_start_as_one():
    class Slowed(tgrad.optim.Optimizer):
        def __init__(self, inner):  # as those who wrap write it: without super().__init__
            self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state

        def step(self, closure=None):
            return self.inner.step(closure)

    w = tgrad.nn.Parameter(tgrad.ones(2))
    optimizer, seen = Slowed(tgrad.optim.SGD([w], lr=0.5)), []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    w.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert w.tolist() == [0.5, 0.5] and w.grad is None and seen == [1]
