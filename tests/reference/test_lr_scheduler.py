"""Schedulers against torch: rates and momenta over many epochs, state both ways, errors."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.nn import Parameter
from tgrad.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch", reason="torch is not installed")


def made(lib: Any, name: str, optimizer: Any, args: dict[str, Any]) -> Any:
    where = lib.optim.swa_utils if name == "SWALR" else lib.optim.lr_scheduler
    return getattr(where, name)(optimizer, **args)


def sequential(lib: Any, optimizer: Any) -> Any:
    parts = [made(lib, "ConstantLR", optimizer, {"factor": 0.1, "total_iters": 4}),
             made(lib, "ExponentialLR", optimizer, {"gamma": 0.9}),
             made(lib, "CosineAnnealingLR", optimizer, {"T_max": 10})]  # fmt: skip
    return lib.optim.lr_scheduler.SequentialLR(optimizer, parts, [7, 20])


def chained(lib: Any, optimizer: Any) -> Any:
    parts = [made(lib, "ConstantLR", optimizer, {"factor": 0.1, "total_iters": 4}),
             made(lib, "ExponentialLR", optimizer, {"gamma": 0.95})]  # fmt: skip
    return lib.optim.lr_scheduler.ChainedScheduler(parts)


def nested(lib: Any, optimizer: Any) -> Any:
    inner = sequential(lib, optimizer)
    last = made(lib, "LinearLR", optimizer, {"total_iters": 5})
    with pytest.warns(
        UserWarning, match="before `optimizer.step"
    ):  # both count its start as a step
        return lib.optim.lr_scheduler.SequentialLR(optimizer, [inner, last], [33])


CASES: list[tuple[str, Any]] = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (1 + epoch), lambda epoch: 0.9**epoch]}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.95}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [3, 10, 10, 40], "gamma": 0.3}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 9}),
    ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 13}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 17, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.02}),
    ("CosineAnnealingWarmRestarts", {"T_0": 8}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 7}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.2, "step_size_up": 4, "step_size_down": 9,
                  "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 7, "mode": "exp_range",
                  "gamma": 0.97, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "scale_mode": "iterations",
                  "scale_fn": lambda x: 1 / (1 + 0.1 * x)}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 61}),
    ("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 6, "steps_per_epoch": 11, "pct_start": 0.4,
                    "anneal_strategy": "linear", "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 70, "cycle_momentum": False, "div_factor": 5}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 12}),
    ("SWALR", {"swa_lr": [0.05, 0.5], "anneal_epochs": 7, "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
    ("SequentialLR", sequential),
    ("ChainedScheduler", chained),
    ("SequentialLR", nested),
]  # fmt: skip
cases = pytest.mark.parametrize(
    "name, args", CASES, ids=[f"{name}-{k}" for k, (name, _) in enumerate(CASES)]
)


def optimizers(kind: str = "SGD", tensor_lr: bool = False) -> tuple[Any, Any]:
    """Ours and torch's with two groups of different rates."""
    found = []
    for lib in (tgrad, torch):
        a, b = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))
        rates = [lib.tensor(x, dtype=lib.float64) if tensor_lr else x for x in (0.1, 0.2)]
        groups = [{"params": [a], "lr": rates[0]}, {"params": [b], "lr": rates[1]}]
        options: dict[str, Any] = {"momentum": 0.9} if kind == "SGD" else {}
        found.append(getattr(lib.optim, kind)(groups, **options))
    return found[0], found[1]


def schedulers(name: str, args: Any, ours: Any, theirs: Any) -> tuple[Any, Any]:
    if callable(args):
        return args(tgrad, ours), args(torch, theirs)
    return made(tgrad, name, ours, args), made(torch, name, theirs, args)


def settings(optimizer: Any) -> list[Any]:
    keys = ("lr", "momentum", "betas", "initial_lr")
    return [[np.float64(g[k]) for k in keys if k in g] if "betas" not in g
            else [float(g["lr"]), *g["betas"]] for g in optimizer.param_groups]  # fmt: skip


def advance(optimizer: Any, scheduler: Any) -> None:
    optimizer.step()
    scheduler.step()


@cases
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_rates_and_momenta_agree_over_many_epochs(name: str, args: Any, kind: str):
    a, b = optimizers(kind)
    x, y = schedulers(name, args, a, b)
    for epoch in range(58):
        np.testing.assert_allclose(settings(a), settings(b), rtol=1e-12, err_msg=f"epoch {epoch}")
        np.testing.assert_allclose(x.get_last_lr(), y.get_last_lr(), rtol=1e-12)
        advance(a, x)
        advance(b, y)


@cases
def test_rates_that_are_tensors_are_written_in_place(name: str, args: Any):
    a, b = optimizers("Adam", tensor_lr=True)
    rates = [g["lr"] for g in a.param_groups]
    x, y = schedulers(name, args, a, b)
    for _ in range(20):
        advance(a, x)
        advance(b, y)
    assert all(g["lr"] is lr for g, lr in zip(a.param_groups, rates, strict=True))
    np.testing.assert_allclose([float(lr) for lr in x.get_last_lr()],
                               [float(lr) for lr in y.get_last_lr()], rtol=1e-6)  # fmt: skip


def plain(state: Any) -> Any:
    """A state without functions, which differ by library."""
    if isinstance(state, dict):
        return {k: plain(v) for k, v in state.items()}
    if isinstance(state, (list, tuple)):
        return [plain(v) for v in state]
    return type(state).__name__ if callable(state) else state


def assert_alike(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert set(a) == set(b)
        for k in a:
            assert_alike(a[k], b[k])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_alike(x, y)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-12)
    else:
        assert a == b


@cases
def test_states_have_the_same_entries_and_move_both_ways(name: str, args: Any):
    a, b = optimizers()
    x, y = schedulers(name, args, a, b)
    for _ in range(9):
        advance(a, x)
        advance(b, y)
    assert_alike(plain(x.state_dict()), plain(y.state_dict()))
    c, d = optimizers()
    z, w = schedulers(name, args, c, d)
    z.load_state_dict(copy.deepcopy(y.state_dict()))
    w.load_state_dict(copy.deepcopy(x.state_dict()))
    for mine, saved in ((c, b), (d, a)):
        for group, old in zip(mine.param_groups, saved.param_groups, strict=True):
            group.update({k: v for k, v in old.items() if k != "params"})
    for _ in range(20):
        for optimizer, scheduler in ((a, x), (b, y), (c, z), (d, w)):
            advance(optimizer, scheduler)
    for other in (b, c, d):
        np.testing.assert_allclose(settings(other), settings(a), rtol=1e-12)


@cases
def test_the_closed_form_of_an_epoch_agrees(name: str, args: Any):
    if name in ("SequentialLR", "ChainedScheduler"):
        return  # their step takes no epoch
    a, b = optimizers()
    x, y = schedulers(name, args, a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in (1, 5, 11, 4, 30):
            a.step()
            b.step()
            x.step(epoch)
            y.step(epoch)
            np.testing.assert_allclose(x.get_last_lr(), y.get_last_lr(), rtol=1e-12)


@pytest.mark.parametrize("args", [
    {}, {"mode": "max", "factor": 0.5, "patience": 2, "cooldown": 3, "min_lr": [0.01, 0.05]},
    {"mode": "max", "threshold": 0.1, "patience": 1}, {"threshold_mode": "abs", "patience": 0},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.5, "patience": 3, "eps": 1e-2},
])  # fmt: skip
def test_plateaus_are_found_alike(args: dict[str, Any]):
    a, b = optimizers()
    x = lr_scheduler.ReduceLROnPlateau(a, **args)
    y = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **args)
    metrics = np.abs(np.random.default_rng(0).standard_normal(80)) + np.linspace(2, 1, 80)
    for metric in metrics:
        x.step(metric)
        y.step(metric)
        np.testing.assert_allclose(settings(a), settings(b), rtol=1e-12)
    assert_alike(plain(x.state_dict()), plain(y.state_dict()))


BAD: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": [len]}), ("MultiplicativeLR", {"lr_lambda": [1, 2]}),
    ("ConstantLR", {"factor": 2}), ("LinearLR", {"start_factor": 0}),
    ("LinearLR", {"end_factor": 2}), ("CosineAnnealingWarmRestarts", {"T_0": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "eta_min": "a"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1, "mode": "other"}),
    ("CyclicLR", {"base_lr": [0.1], "max_lr": 1}), ("OneCycleLR", {"max_lr": 1}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": -1}),
    ("OneCycleLR", {"max_lr": 1, "epochs": 0, "steps_per_epoch": 2}),
    ("OneCycleLR", {"max_lr": 1, "epochs": 2, "steps_per_epoch": 0}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "pct_start": 2.0}),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 5, "anneal_strategy": "other"}),
    ("ReduceLROnPlateau", {"factor": 1.0}), ("ReduceLROnPlateau", {"mode": "other"}),
    ("ReduceLROnPlateau", {"threshold_mode": "other"}), ("ReduceLROnPlateau", {"min_lr": [1]}),
    ("SWALR", {"swa_lr": [1]}), ("SWALR", {"swa_lr": 1, "anneal_strategy": "other"}),
    ("SWALR", {"swa_lr": 1, "anneal_epochs": -1}),
    ("StepLR", {"step_size": 3, "last_epoch": 4}),
]  # fmt: skip


@pytest.mark.parametrize("name, args", BAD, ids=[f"{n}-{a}" for n, a in BAD])
def test_bad_settings_raise_pytorchs_errors(name: str, args: dict[str, Any]):
    a, b = optimizers()
    with pytest.raises(Exception) as theirs:
        made(torch, name, b, args)
    with pytest.raises(type(theirs.value)) as ours:
        made(tgrad, name, a, args)
    assert str(ours.value)[:50] == str(theirs.value)[:50]


@pytest.mark.parametrize("name", [*lr_scheduler.__all__, "SWALR"])
def test_signatures_are_pytorchs(name: str):
    ours = getattr(swa_utils if name == "SWALR" else lr_scheduler, name)
    theirs = getattr(torch.optim.swa_utils if name == "SWALR" else torch.optim.lr_scheduler, name)
    x, y = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert [(p.name, p.default) for p in x.values()] == [(p.name, p.default) for p in y.values()]


def to_torch(x: Any) -> Any:
    return torch.tensor(x.detach().numpy().copy())


@pytest.mark.parametrize("how", ["mean", "ema", "ema multi", "swa", "swa multi", "buffers"])
def test_averaged_models_agree(how: str):
    found = []
    for lib in (tgrad, torch):
        utils = lib.optim.swa_utils
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4))
        options = {"mean": {}, "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
                   "ema multi": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
                   "swa": {"avg_fn": utils.get_swa_avg_fn()},
                   "swa multi": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
                   "buffers": {"use_buffers": True}}[how]  # fmt: skip
        averaged = utils.AveragedModel(model, **options)
        for step in range(6):
            rng = np.random.default_rng(step)
            with lib.no_grad():
                for t in [*model.parameters(), *model.buffers()]:
                    new = lib.tensor(rng.standard_normal(tuple(t.shape)) * 5)
                    t.copy_(new.to(t.dtype))
            averaged.update_parameters(model)
        found.append({k: v.detach().double().numpy() for k, v in averaged.state_dict().items()})
    assert found[0].keys() == found[1].keys()
    for k, v in found[1].items():
        np.testing.assert_allclose(found[0][k], v, rtol=1e-5, atol=1e-6, err_msg=k)


def test_update_bn_agrees():
    found = []
    batches = [np.random.default_rng(k).standard_normal((8, 3)) * (k + 1) for k in range(4)]
    for lib in (tgrad, torch):
        model = lib.nn.Sequential(lib.nn.BatchNorm1d(3), lib.nn.ReLU(), lib.nn.BatchNorm1d(3))
        model = model.double().eval()
        loader = [(lib.tensor(b), None) for b in batches]
        lib.optim.swa_utils.update_bn(loader, model)
        assert not model.training and model[0].momentum == 0.1
        found.append([b.double().numpy() for b in model.buffers()])
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9)


def test_a_parameter_state_of_an_averaged_model_loads_from_torch():
    theirs = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 2))
    ours = swa_utils.AveragedModel(tgrad.nn.Linear(2, 2))
    ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    weight = ours.module.weight
    assert isinstance(weight, Parameter)
    np.testing.assert_array_equal(to_torch(weight).numpy(), theirs.module.weight.detach().numpy())
