"""Optimisers: each step against the formula in float64, state, groups, hooks and errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import optim
from tgrad.nn import Parameter
from tgrad.optim.optimizer import Optimizer

DEVICES = ("cpu", "cuda")
on_devices = pytest.mark.parametrize("device", DEVICES)
SHAPES = [(3, 4), (5,), (), (0, 3), (91, 97)]  # the last has two blocks on the emulated GPU


def values(seed: int, shapes=SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s) for s in shapes]


def params_of(arrays, device: str = "cpu", dtype=None) -> list[Parameter]:
    return [Parameter(tgrad.tensor(a, device=device, dtype=dtype or tgrad.float64)) for a in arrays]


def numpy_sgd(
    p, g, s, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False
):
    g = (-g if maximize else g) + weight_decay * p
    u = g
    if momentum:
        s["b"] = momentum * s["b"] + (1 - dampening) * g if "b" in s else g
        u = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * u


def numpy_adam(p, g, s, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False,
               maximize=False, decoupled=False):  # fmt: skip
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    t = s["t"] = s.get("t", 0) + 1
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    v = s["v"]
    if amsgrad:
        v = s["top"] = np.maximum(s.get("top", 0), v)
    m_hat, v_hat = s["m"] / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps)


def numpy_adamw(p, g, s, weight_decay=1e-2, **settings):
    return numpy_adam(p, g, s, weight_decay=weight_decay, decoupled=True, **settings)


CASES = [
    (optim.SGD, numpy_sgd, {"lr": 0.1}),
    (optim.SGD, numpy_sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (optim.SGD, numpy_sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    (optim.SGD, numpy_sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.SGD, numpy_sgd, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.Adam, numpy_adam, {"lr": 0.1}),
    (optim.Adam, numpy_adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, numpy_adam, {"lr": 0.1, "amsgrad": True, "maximize": True}),
    (optim.AdamW, numpy_adamw, {"lr": 0.1}),
    (optim.AdamW, numpy_adamw, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
]
cases = pytest.mark.parametrize(
    "kind, reference, settings", CASES, ids=[f"{c[0].__name__}-{i}" for i, c in enumerate(CASES)]
)


@on_devices
@cases
def test_steps_follow_the_formula(kind, reference, settings, device: str):
    want = values(0)
    states: list[dict] = [{} for _ in want]
    params = params_of(want, device)
    optimizer = kind(params, **settings)
    for step in range(3):
        for k, g in enumerate(values(step + 1)):
            if k == 1 and step == 0:  # without a gradient a parameter and its state stay
                params[k].grad = None
                continue
            params[k].grad = tgrad.tensor(g, device=device)
            want[k] = reference(want[k], g, states[k], **settings)
        optimizer.step()
    for p, w in zip(params, want, strict=True):
        np.testing.assert_allclose(p.detach().cpu().numpy(), w, rtol=1e-10, atol=1e-12)


@on_devices
@pytest.mark.parametrize("dtype, bound", [("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_smaller_dtypes_are_computed_in_float32(kind, dtype: str, bound: float, device: str):
    p = params_of([values(0)[0]], device, getattr(tgrad, dtype))[0]
    exact = params_of([p.detach().cpu().double().numpy()])[0]
    g = p.detach() * 0.5
    p.grad, exact.grad = g, g.cpu().double()
    for x in (p, exact):
        kind([x], lr=0.125, weight_decay=0.5).step()
    assert p.dtype is getattr(tgrad, dtype)
    got = p.detach().cpu().double().numpy()
    np.testing.assert_allclose(got, exact.detach().numpy(), rtol=bound, atol=bound)


@cases
def test_large_parameters_step_in_threads_alike(kind, reference, settings):
    n = (1 << 20) + 12345
    a, g = np.linspace(-1, 1, n), np.cos(np.arange(n))
    p = params_of([a])[0]
    p.grad = tgrad.tensor(g)
    kind([p], **settings).step()
    np.testing.assert_allclose(p.detach().numpy(), reference(a, g, {}, **settings), 1e-9, 1e-12)


@on_devices
def test_strided_parameters_and_gradients_are_written_in_place(device: str):
    a, g = values(3)[0], values(4)[0]
    memory = tgrad.tensor(a.T.copy(), device=device)
    p = Parameter(memory.transpose(0, 1))
    p.grad = tgrad.tensor(g.T.copy(), device=device).transpose(0, 1)
    optim.Adam([p], lr=0.1).step()
    want = numpy_adam(a, g, {}, lr=0.1)
    np.testing.assert_allclose(memory.cpu().numpy().T, want, rtol=1e-10)


def test_a_step_is_noticed_by_backward():
    p = Parameter(tgrad.tensor([1.0, 2.0]))
    y = (p * p).sum()
    p.grad = tgrad.tensor([1.0, 1.0])
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_groups_have_settings_of_their_own():
    a, b = params_of([np.ones(2), np.ones(2)])
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    a.grad = b.grad = tgrad.ones(2, dtype=tgrad.float64)
    optimizer.step()
    assert a.tolist() == [0.5, 0.5] and b.tolist() == [0.0, 0.0]
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert a.tolist() == [0.25, 0.25]


def test_named_parameters_are_accepted():
    layer = tgrad.nn.Linear(2, 3)
    optimizer = optim.SGD(layer.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_closure_runs_with_gradients_and_its_loss_is_returned():
    p = Parameter(tgrad.tensor([3.0]))
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tgrad.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == pytest.approx(3.0 - 0.1 * 6.0)


def test_zero_grad_forgets_or_zeroes():
    p = Parameter(tgrad.tensor([3.0]))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = tgrad.tensor([1.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None


@on_devices
@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_a_loaded_state_goes_on_where_it_was(kind, device: str):
    def make(arrays):
        params = params_of(arrays, device)
        settings: Any = {"momentum": 0.9} if kind is optim.SGD else {"amsgrad": True}
        return params, kind(params, lr=0.1, **settings)

    def steps(params, optimizer, seeds):
        for seed in seeds:
            for p, g in zip(params, values(seed, SHAPES[:2]), strict=True):
                p.grad = tgrad.tensor(g, device=device)
            optimizer.step()

    params, optimizer = make(values(0, SHAPES[:2]))
    steps(params, optimizer, (1, 2))
    halfway = [p.detach().cpu().numpy().copy() for p in params]
    saved = pickle.loads(pickle.dumps(copy.deepcopy(optimizer.state_dict())))
    steps(params, optimizer, (3, 4))
    again, other = make(halfway)
    other.load_state_dict(saved)
    steps(again, other, (3, 4))
    for p, q in zip(params, again, strict=True):
        np.testing.assert_array_equal(p.detach().cpu().numpy(), q.detach().cpu().numpy())


def test_state_dict_has_pytorchs_layout():
    p, q = params_of([np.ones(2), np.ones(3)])
    p.grad, q.grad = tgrad.ones(2, dtype=tgrad.float64), tgrad.ones(3, dtype=tgrad.float64)
    optimizer = optim.Adam([p, q])
    optimizer.step()
    saved = optimizer.state_dict()
    assert set(saved) == {"state", "param_groups"}
    assert set(saved["state"]) == {0, 1}
    assert set(saved["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert saved["state"][0]["step"].dtype is tgrad.float32
    assert saved["state"][0]["step"].shape == () and saved["state"][0]["step"].item() == 1.0
    assert saved["param_groups"][0]["params"] == [0, 1]
    assert set(saved["param_groups"][0]) == {
        "lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable",
        "differentiable", "fused", "decoupled_weight_decay", "params"}  # fmt: skip


def test_state_is_cast_to_its_parameter_and_counters_are_not():
    p = Parameter(tgrad.ones(2))
    p.grad = tgrad.ones(2)
    optimizer = optim.Adam([p])
    optimizer.step()
    q = Parameter(tgrad.ones(2, dtype=tgrad.float64, device="cuda"))
    other = optim.Adam([q])
    other.load_state_dict(optimizer.state_dict())
    state = other.state[q]
    assert state["exp_avg"].dtype is tgrad.float64 and state["exp_avg"].is_cuda
    assert state["step"].dtype is tgrad.float32 and state["step"].is_cpu
    state["step"].add_(5)
    assert optimizer.state[p]["step"].item() == 1.0


def test_step_hooks_run_around_the_step_of_any_subclass():
    class Fixed(Optimizer):
        def step(self, closure=None):
            calls.append("step")

    calls: list[str] = []
    for kind in (Fixed, optim.SGD):
        p = Parameter(tgrad.ones(1))
        optimizer = Fixed([p], {"lr": 0.1}) if kind is Fixed else optim.SGD([p], lr=0.1)
        optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre"))
        handle = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))
        optimizer.step()
        handle.remove()
        optimizer.step()
    assert calls == ["pre", "step", "post", "pre", "step", "pre", "post", "pre"]


def test_state_dict_hooks_may_replace_what_is_saved_and_loaded():
    p = Parameter(tgrad.ones(1))
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1})
    assert optimizer.state_dict()["extra"] == 1

    def halve(o, s):
        s["param_groups"] = [{**g, "lr": g["lr"] / 2} for g in s["param_groups"]]
        return s

    optimizer.register_load_state_dict_pre_hook(halve)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_an_optimizer_can_be_copied():
    p = Parameter(tgrad.ones(2))
    p.grad = tgrad.ones(2)
    optimizer = optim.Adam([p], lr=0.1)
    optimizer.step()
    other = copy.deepcopy(optimizer)
    (q,) = other.param_groups[0]["params"]
    q.grad = tgrad.ones(2)
    other.step()
    assert other.state[q]["step"].item() == 2.0 and optimizer.state[p]["step"].item() == 1.0


def test_repr_lists_the_settings():
    optimizer = optim.SGD([Parameter(tgrad.ones(1))], lr=0.1)
    assert repr(optimizer).startswith("SGD (\nParameter Group 0\n    dampening: 0\n")


def leaf() -> Parameter:
    return Parameter(tgrad.ones(2))


BAD = [
    (lambda: optim.SGD([], lr=0.1), ValueError, "empty parameter list"),
    (lambda: optim.SGD(leaf(), lr=0.1), TypeError, "should be an iterable of Tensors"),
    (lambda: optim.SGD([1.0], lr=0.1), TypeError, "can only optimize Tensors"),
    (lambda: optim.SGD([leaf() * 2], lr=0.1), ValueError, "non-leaf"),
    (lambda: optim.SGD([{"params": {leaf()}}], lr=0.1), TypeError, "ordered collections"),
    (lambda: optim.SGD([leaf()], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda: optim.SGD([leaf()], momentum=-1), ValueError, "Invalid momentum value: -1"),
    (lambda: optim.SGD([leaf()], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
    (lambda: optim.SGD([leaf()], nesterov=True), ValueError, "Nesterov momentum requires"),
    (lambda: optim.Adam([leaf()], betas=(1.0, 0.9)), ValueError, "beta parameter at index 0"),
    (lambda: optim.Adam([leaf()], betas=(0.9, -1)), ValueError, "beta parameter at index 1"),
    (lambda: optim.Adam([leaf()], eps=-1), ValueError, "Invalid epsilon value: -1"),
    (lambda: optim.AdamW([leaf()], weight_decay=-1), ValueError, "Invalid weight_decay value"),
    (lambda: optim.Adam([leaf()], lr=float("nan")), ValueError, "Invalid learning rate: nan"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", BAD, ids=[m for _, _, m in BAD])
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_parameter_in_two_groups_is_refused():
    p = leaf()
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p], lr=0.1)


def test_a_state_of_other_groups_is_refused():
    saved = optim.SGD([leaf()], lr=0.1).state_dict()
    with pytest.raises(ValueError, match="doesn't match the size"):
        optim.SGD([leaf(), leaf()], lr=0.1).load_state_dict(saved)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optim.SGD([{"params": [leaf()]}, {"params": [leaf()]}], lr=0.1).load_state_dict(saved)
