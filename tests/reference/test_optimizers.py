"""Optimisers against torch: values over many steps, state both ways, settings, errors."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import optim
from tgrad.nn import Parameter

torch = pytest.importorskip("torch", reason="torch is not installed")

STEPS = 25
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.99)}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.02}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "maximize": True, "centered": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "maximize": True,
                 "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.01, "maximize": True}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.05, "lambd": 0.01, "t0": 5, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {"lr": 0.02}),
    ("Rprop", {"lr": 0.02, "etas": (0.6, 1.4), "step_sizes": (1e-3, 0.05), "maximize": True}),
    ("Adafactor", {"lr": 0.05}),
    ("Adafactor", {"lr": 0.05, "weight_decay": 0.1, "d": 1.5, "beta2_decay": -0.5,
                   "eps": (1e-4, 1e-2), "maximize": True}),
]  # fmt: skip
NAMES = [f"{name}-{k}" for k, (name, _) in enumerate(CASES)]
cases = pytest.mark.parametrize("name, settings", CASES, ids=NAMES)
SHAPES = [(4, 3), (5,), (2, 3, 4), ()]


def values(seed: int, shapes: Any = SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s)) for s in shapes]


def both(name: str, settings: dict, dtype: str, shapes: Any = SHAPES) -> tuple:
    """(our parameters and optimizer, torch's)."""
    arrays = [a.astype(dtype) for a in values(0, shapes)]
    ours = [Parameter(tgrad.tensor(a)) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    return (ours, getattr(optim, name)(ours, **settings),
            theirs, getattr(torch.optim, name)(theirs, **settings))  # fmt: skip


def set_gradients(ours: list, theirs: list, seed: int, dtype: str) -> None:
    grads = values(seed, [tuple(p.shape) for p in ours])
    for k, (p, q, g) in enumerate(zip(ours, theirs, grads, strict=True)):
        if k == 1 and seed == 3:  # a step without a gradient
            p.grad, q.grad = None, None
            continue
        p.grad = tgrad.tensor(g.astype(dtype))
        q.grad = torch.tensor(g.astype(dtype))


def numpy_of(x: Any) -> np.ndarray:
    return x.detach().double().numpy()


def assert_same(ours: list, theirs: list, dtype: str) -> None:
    bound = 1e-9 if dtype == "float64" else 2e-4
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(numpy_of(p), numpy_of(q), rtol=bound, atol=bound)


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_agree_over_many_steps(name: str, settings: dict, dtype: str):
    ours, a, theirs, b = both(name, settings, dtype)
    for step in range(STEPS):
        set_gradients(ours, theirs, step + 1, dtype)
        a.step()
        b.step()
    assert_same(ours, theirs, dtype)


@cases
def test_state_has_the_same_keys_shapes_and_dtypes(name: str, settings: dict):
    ours, a, theirs, b = both(name, settings, "float64")
    for step in range(2):
        set_gradients(ours, theirs, step + 1, "float64")
        a.step()
        b.step()
    x, y = a.state_dict(), b.state_dict()
    assert x.keys() == y.keys() and x["state"].keys() == y["state"].keys()
    for ours_of, theirs_of in zip(x["state"].values(), y["state"].values(), strict=True):
        assert ours_of.keys() == theirs_of.keys()
        for key, value in theirs_of.items():
            got = ours_of[key]
            assert tuple(got.shape) == tuple(value.shape), key
            assert got.dtype.name == str(value.dtype).removeprefix("torch."), key
            np.testing.assert_allclose(numpy_of(got), numpy_of(value), 1e-6, 1e-12, err_msg=key)
    for ours_of, theirs_of in zip(x["param_groups"], y["param_groups"], strict=True):
        assert ours_of == theirs_of


def to_torch(x: Any) -> Any:
    """The same nest of containers with torch's tensors for ours."""
    if isinstance(x, tgrad.Tensor):
        return torch.tensor(x.numpy())
    if isinstance(x, dict):
        return {k: to_torch(v) for k, v in x.items()}
    return type(x)(to_torch(v) for v in x) if isinstance(x, (list, tuple)) else x


def to_tgrad(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return tgrad.tensor(x.numpy())
    if isinstance(x, dict):
        return {k: to_tgrad(v) for k, v in x.items()}
    return type(x)(to_tgrad(v) for v in x) if isinstance(x, (list, tuple)) else x


@cases
def test_a_state_moves_both_ways_and_goes_on_alike(name: str, settings: dict):
    ours, a, theirs, b = both(name, settings, "float64")
    for step in range(7):
        set_gradients(ours, theirs, step + 1, "float64")
        a.step()
        b.step()
    from_ours, from_theirs = to_torch(a.state_dict()), to_tgrad(b.state_dict())
    more_ours = [Parameter(tgrad.tensor(q.detach().numpy().copy())) for q in theirs]
    more_theirs = [torch.nn.Parameter(torch.tensor(p.detach().numpy().copy())) for p in ours]
    c = getattr(optim, name)(more_ours, **settings)
    d = getattr(torch.optim, name)(more_theirs, **settings)
    c.load_state_dict(from_theirs)
    d.load_state_dict(from_ours)
    for step in range(7, 14):
        set_gradients(more_ours, more_theirs, step + 1, "float64")
        set_gradients(ours, theirs, step + 1, "float64")
        for optimizer in (a, b, c, d):
            optimizer.step()
    # A float32 counter of theirs may have been rounded where ours was not.
    for p, q in ((more_ours, theirs), (ours, more_theirs)):
        for x, y in zip(p, q, strict=True):
            np.testing.assert_allclose(numpy_of(x), numpy_of(y), rtol=1e-6, atol=1e-7)


def test_complex_parameters_step_as_pairs():
    for name, settings in [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"amsgrad": True}),
                           ("RMSprop", {"centered": True}), ("Adagrad", {}), ("Rprop", {}),
                           ("Adadelta", {}), ("NAdam", {}), ("RAdam", {}), ("ASGD", {}),
                           ("Adamax", {})]:  # fmt: skip
        a = values(1, [(3, 4), (3, 4)])
        start = a[0] + 1j * a[1]
        p, q = Parameter(tgrad.tensor(start)), torch.nn.Parameter(torch.tensor(start))
        x, y = getattr(optim, name)([p], **settings), getattr(torch.optim, name)([q], **settings)
        for step in range(5):
            a = values(step + 2, [(3, 4), (3, 4)])
            p.grad, q.grad = tgrad.tensor(a[0] + 1j * a[1]), torch.tensor(a[0] + 1j * a[1])
            x.step()
            y.step()
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), 1e-9, err_msg=name)


@pytest.mark.parametrize("settings", [
    {"lr": 0.02},
    {"lr": 0.02, "nesterov": False, "momentum": 0.8, "weight_decay": 0.0},
    {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
])  # fmt: skip
def test_muon_agrees_within_what_bfloat16_resolves(settings: dict):
    ours, a, theirs, b = both("Muon", settings, "float32", [(8, 5), (4, 9), (6, 6)])
    for step in range(20):
        set_gradients(ours, theirs, step + 1, "float32") if step + 1 != 3 else None
        a.step()
        b.step()
    for p, q, start in zip(ours, theirs, values(0, [(8, 5), (4, 9), (6, 6)]), strict=True):
        moved = np.abs(numpy_of(q) - start).max()
        assert np.abs(numpy_of(p) - numpy_of(q)).max() < 0.05 * moved


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


@pytest.mark.parametrize("settings", [
    {"lr": 1e-3},
    {"lr": 1.0, "line_search_fn": "strong_wolfe"},
    {"lr": 1.0, "line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 3},
    {"lr": 0.5, "line_search_fn": "strong_wolfe", "max_eval": 4, "tolerance_grad": 1e-3},
])  # fmt: skip
def test_lbfgs_takes_the_same_path(settings: dict):
    start = np.array([-1.2, 1.0, -0.5, 0.8])
    p, q = Parameter(tgrad.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    a, b = optim.LBFGS([p], **settings), torch.optim.LBFGS([q], **settings)

    def closure_of(x: Any, optimizer: Any) -> Any:
        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(x)
            loss.backward()
            return loss

        return closure

    for _ in range(6):
        x, y = a.step(closure_of(p, a)), b.step(closure_of(q, b))
        np.testing.assert_allclose(x.item(), y.item(), rtol=1e-4, atol=1e-10)
    np.testing.assert_allclose(numpy_of(p), numpy_of(q), rtol=1e-4, atol=1e-6)
    ours_of, theirs_of = a.state_dict()["state"][0], b.state_dict()["state"][0]
    assert ours_of.keys() == theirs_of.keys()
    assert ours_of["n_iter"] == theirs_of["n_iter"]
    assert ours_of["func_evals"] == theirs_of["func_evals"]
    again = torch.optim.LBFGS([q], **settings)
    again.load_state_dict(to_torch(copy.deepcopy(a.state_dict())))
    again.step(closure_of(q, again))
    mine = optim.LBFGS([p], **settings)
    mine.load_state_dict(to_tgrad(b.state_dict()))
    mine.step(closure_of(p, mine))


@pytest.mark.parametrize("name", sorted(n for n in optim.__all__ if n[0].isupper()))
def test_signatures_and_reprs_are_pytorchs(name: str):
    ours, theirs = getattr(optim, name), getattr(torch.optim, name)
    x, y = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert [(p.name, p.kind, p.default) for p in x.values()] == [
        (p.name, p.kind, p.default) for p in y.values()
    ]
    if name != "Optimizer":
        p, q = Parameter(tgrad.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
        assert repr(ours([p])) == repr(theirs([q]))


BAD: list[tuple[str, dict[str, Any]]] = [
    ("RMSprop", {"lr": -1}), ("RMSprop", {"alpha": -1}), ("RMSprop", {"momentum": -1}),
    ("RMSprop", {"eps": -1}), ("RMSprop", {"weight_decay": -1}), ("Adagrad", {"lr": -1}),
    ("Adagrad", {"lr_decay": -1}), ("Adagrad", {"initial_accumulator_value": -1}),
    ("Adagrad", {"eps": -1}), ("Adagrad", {"fused": True, "foreach": True}),
    ("Adagrad", {"fused": True, "differentiable": True}), ("Adadelta", {"rho": 1.1}),
    ("Adadelta", {"rho": -0.1}), ("Adadelta", {"lr": -1}), ("Adamax", {"betas": (0.9, 1.0)}),
    ("Adamax", {"eps": -1}), ("NAdam", {"momentum_decay": -1}), ("NAdam", {"betas": (-0.1, 0.9)}),
    ("RAdam", {"weight_decay": -1}), ("RAdam", {"betas": (0.9, 1.0)}), ("ASGD", {"lr": -1}),
    ("ASGD", {"weight_decay": -1}), ("Rprop", {"etas": (1.1, 1.2)}), ("Rprop", {"lr": -1}),
    ("Adafactor", {"lr": -1}), ("Adafactor", {"beta2_decay": 1}), ("Adafactor", {"d": 0.5}),
    ("Adafactor", {"eps": (-1, 1)}), ("Adafactor", {"eps": (1, -1)}),
    ("Adafactor", {"weight_decay": -1}), ("Muon", {"lr": -1}), ("Muon", {"momentum": -1}),
    ("Muon", {"weight_decay": -1}), ("Muon", {"adjust_lr_fn": "other"}), ("LBFGS", {"lr": -1}),
    ("SGD", {"fused": True, "foreach": True}), ("SGD", {"fused": True, "differentiable": True}),
    ("Adam", {"fused": True, "foreach": True}), ("Adam", {"betas": (1.0, 0.9)}),
]  # fmt: skip


@pytest.mark.parametrize("name, settings", BAD, ids=[f"{n}-{s}" for n, s in BAD])
def test_bad_settings_raise_pytorchs_errors(name: str, settings: dict):
    q = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(Exception) as theirs:
        getattr(torch.optim, name)([q], **settings)
    with pytest.raises(type(theirs.value)) as ours:
        getattr(optim, name)([Parameter(tgrad.ones(2, 2))], **settings)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax",
                                  "NAdam", "RAdam", "ASGD"])  # fmt: skip
def test_gradients_flow_through_a_differentiable_step(name: str):
    a = values(5, [(3,), (3,)])
    found = []
    for lib, kind in ((tgrad, getattr(optim, name)), (torch, getattr(torch.optim, name))):
        w = lib.tensor(a[0], requires_grad=True)
        p = w.clone()
        optimizer = kind([p], lr=0.1, differentiable=True)
        for _ in range(1 if name == "Adamax" else 3):  # torch's own fails at its second step
            (g,) = lib.autograd.grad((p.clone() ** 3).sum(), p, create_graph=True)
            p.grad = g
            optimizer.step()
        (d,) = lib.autograd.grad(p.sum(), w)
        found.append(d.detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)


def test_bad_input_of_muon_and_lbfgs():
    with pytest.raises(ValueError, match="only supports 2D parameters"):
        optim.Muon([Parameter(tgrad.ones(2))])
    with pytest.raises(ValueError, match="parameter groups"):
        optim.LBFGS(
            [{"params": [Parameter(tgrad.ones(2))]}, {"params": [Parameter(tgrad.ones(2))]}]
        )
    p = Parameter(tgrad.ones(2))
    optimizer = optim.LBFGS([p], line_search_fn="other")

    def closure():
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optimizer.step(closure)
