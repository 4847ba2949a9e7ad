"""Schedulers against their formulas, their warnings, and averages of weights."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import nn, optim
from tgrad.optim import lr_scheduler as sched
from tgrad.optim import swa_utils

BASE = np.array([0.1, 0.4])


def optimizer_of(kind: Any = optim.SGD, **options: Any) -> Any:
    groups = [{"params": [nn.Parameter(tgrad.ones(2))], "lr": lr} for lr in BASE]
    return kind(groups, **({"momentum": 0.5} if kind is optim.SGD else {}), **options)


def wave(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


def triangle(t: int, up: int, down: int) -> float:
    x = t % (up + down)
    return x / up if x <= up else (up + down - x) / down


def one_cycle(t: int) -> np.ndarray:
    """max_lr 0.5, 60 steps, the first 15 of them up."""
    top = 14.0
    if t <= top:
        return np.full(2, 0.5 + (0.02 - 0.5) * wave(t / top))
    return np.full(2, 0.02 / 1e4 + (0.5 - 0.02 / 1e4) * wave((t - top) / (59 - top)))


def restarts(t: int) -> np.ndarray:
    length = 4
    while t >= length:
        t, length = t - length, length * 2
    return 0.01 + (BASE - 0.01) * wave(t / length)


# name, arguments, and the rates at epoch t.
CASES: list[tuple[Any, dict[str, Any], Any]] = [
    (sched.LambdaLR, {"lr_lambda": lambda t: 1 / (1 + t)}, lambda t: BASE / (1 + t)),
    (sched.MultiplicativeLR, {"lr_lambda": lambda t: 0.9}, lambda t: BASE * 0.9**t),
    (sched.StepLR, {"step_size": 6, "gamma": 0.5}, lambda t: BASE * 0.5 ** (t // 6)),
    (sched.MultiStepLR, {"milestones": [2, 9, 9], "gamma": 0.5},
     lambda t: BASE * 0.5 ** ((t >= 2) + 2 * (t >= 9))),
    (sched.ConstantLR, {"factor": 0.25, "total_iters": 7},
     lambda t: BASE * (0.25 if t < 7 else 1)),
    (sched.LinearLR, {"start_factor": 0.2, "end_factor": 0.6, "total_iters": 8},
     lambda t: BASE * (0.2 + 0.4 * min(t, 8) / 8)),
    (sched.ExponentialLR, {"gamma": 0.95}, lambda t: BASE * 0.95**t),
    (sched.PolynomialLR, {"total_iters": 20, "power": 1.5},
     lambda t: BASE * (1 - min(t, 20) / 20) ** 1.5),
    (sched.CosineAnnealingLR, {"T_max": 12, "eta_min": 0.02},
     lambda t: 0.02 + (BASE - 0.02) * wave(t / 12)),
    (sched.CosineAnnealingWarmRestarts, {"T_0": 4, "T_mult": 2, "eta_min": 0.01}, restarts),
    (sched.CyclicLR, {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 5, "step_size_down": 3},
     lambda t: np.full(2, 0.1 + 0.5 * triangle(t, 5, 3))),
    (sched.CyclicLR, {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "mode": "triangular2"},
     lambda t: np.full(2, 0.1 + 0.5 * triangle(t, 4, 4) / 2 ** (t // 8))),
    (sched.CyclicLR, {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 4, "mode": "exp_range",
                      "gamma": 0.98},
     lambda t: np.full(2, 0.1 + 0.5 * triangle(t, 4, 4) * 0.98**t)),
    (sched.OneCycleLR, {"max_lr": 0.5, "total_steps": 60, "pct_start": 0.25}, one_cycle),
    (swa_utils.SWALR, {"swa_lr": 0.05, "anneal_epochs": 9, "anneal_strategy": "linear"},
     lambda t: 0.05 + (BASE - 0.05) * (1 - min(t, 9) / 9)),
    (swa_utils.SWALR, {"swa_lr": 0.05, "anneal_epochs": 9},
     lambda t: 0.05 + (BASE - 0.05) * wave(min(t, 9) / 9)),
]  # fmt: skip


@pytest.mark.parametrize(
    "kind, args, rates", CASES, ids=[f"{c[0].__name__}-{i}" for i, c in enumerate(CASES)]
)
def test_rates_follow_the_formula(kind: Any, args: dict[str, Any], rates: Any):
    optimizer = optimizer_of()
    scheduler = kind(optimizer, **args)
    for t in range(55):
        got = [g["lr"] for g in optimizer.param_groups]
        np.testing.assert_allclose(got, rates(t), rtol=1e-9, atol=1e-15, err_msg=f"epoch {t}")
        assert scheduler.get_last_lr() == got
        optimizer.step()
        scheduler.step()


def test_momentum_goes_against_the_rate():
    for kind in (optim.SGD, optim.Adam):
        optimizer = optimizer_of(kind)
        scheduler = sched.OneCycleLR(optimizer, 0.5, 30)

        def momentum(optimizer: Any = optimizer) -> float:
            group = optimizer.param_groups[0]
            return group["betas"][0] if "betas" in group else group["momentum"]

        seen = [(optimizer.param_groups[0]["lr"], momentum())]
        for _ in range(29):
            optimizer.step()
            scheduler.step()
            seen.append((optimizer.param_groups[0]["lr"], momentum()))
        assert max(seen)[1] == pytest.approx(0.85) and seen[0][1] == 0.95


def test_sequential_schedulers_take_turns():
    optimizer = optimizer_of()
    parts = [sched.ConstantLR(optimizer, 0.5, 100), sched.ExponentialLR(optimizer, 0.9)]
    scheduler = sched.SequentialLR(optimizer, parts, [4])
    seen = []
    for _ in range(8):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(seen, [0.05] * 4 + [0.1 * 0.9**k for k in range(4)])


def test_chained_schedulers_all_step():
    optimizer = optimizer_of()
    parts = [sched.ConstantLR(optimizer, 0.5, 3), sched.ExponentialLR(optimizer, 0.9)]
    scheduler = sched.ChainedScheduler(parts)
    for t in range(8):
        want = 0.1 * 0.9**t * (0.5 if t < 3 else 1)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(want)
        optimizer.step()
        scheduler.step()


def test_a_plateau_reduces_the_rate_after_patience_and_cools_down():
    optimizer = optimizer_of()
    scheduler = sched.ReduceLROnPlateau(optimizer, patience=2, factor=0.5, cooldown=2, min_lr=0.03)
    rates = []
    for metric in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0] + [1.0] * 12:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    # Bad epochs 3 to 5 halve it, two cool down, three more halve it again, to the minimum at last.
    assert rates[:10] == [0.1] * 4 + [0.05] * 5 + [0.03]
    assert rates[-1] == 0.03 and optimizer.param_groups[1]["lr"] < 0.4


def test_a_state_goes_on_where_it_was():
    optimizer = optimizer_of()
    scheduler = sched.CosineAnnealingWarmRestarts(optimizer, 4, 2)
    for _ in range(6):
        optimizer.step()
        scheduler.step()
    again = optimizer_of()
    other = sched.CosineAnnealingWarmRestarts(again, 4, 2)
    other.load_state_dict(scheduler.state_dict())
    again.load_state_dict(optimizer.state_dict())
    for _ in range(9):
        for o, s in ((optimizer, scheduler), (again, other)):
            o.step()
            s.step()
        assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_scheduler_resumes_from_an_epoch():
    optimizer = optimizer_of()
    with pytest.raises(KeyError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        sched.StepLR(optimizer, 3, last_epoch=5)
    first = sched.CosineAnnealingLR(optimizer, 10)
    for _ in range(5):
        optimizer.step()
        first.step()
    sched.CosineAnnealingLR(optimizer, 10, last_epoch=4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * wave(5 / 10))


def test_calls_in_the_wrong_order_are_warned_of():
    scheduler = sched.StepLR(optimizer_of(), 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    optimizer = optimizer_of()
    scheduler = sched.StepLR(optimizer, 3)
    optimizer.step = lambda *args: None
    with pytest.warns(UserWarning, match="has been overridden"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_an_optimizer_with_a_scheduler_can_be_copied():
    optimizer = optimizer_of()
    sched.StepLR(optimizer, 3)
    other = copy.deepcopy(optimizer)
    other.step()
    assert [g["lr"] for g in other.param_groups] == list(BASE)


BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: sched.StepLR(nn.Linear(1, 1), 3), TypeError, "Linear is not an Optimizer"),  # pyright: ignore[reportArgumentType]
    (lambda: sched.LambdaLR(optimizer_of(), [len]), ValueError, "Expected 2 lr_lambdas"),  # pyright: ignore[reportArgumentType]
    (lambda: sched.MultiplicativeLR(optimizer_of(), 3), TypeError, "should be a function"),  # pyright: ignore[reportArgumentType]
    (lambda: sched.OneCycleLR(optimizer_of(), 1.0), ValueError, "You must define either"),
    (lambda: sched.CyclicLR(optimizer_of(optim.Adagrad), 0.1, 1), ValueError, "support momentum"),
    (lambda: sched.SequentialLR(optimizer_of(), [], []), ValueError, "at least one scheduler"),
    (lambda: sched.ChainedScheduler([]), ValueError, "at least one scheduler to be chained"),
    (lambda: sched.ReduceLROnPlateau(optimizer_of(), factor=2), ValueError, "Factor should be"),
    (lambda: swa_utils.get_ema_avg_fn(2), ValueError, "Invalid decay value 2"),
    (lambda: swa_utils.AveragedModel(
        nn.Linear(1, 1), None, swa_utils.get_swa_avg_fn(), swa_utils.get_swa_multi_avg_fn()),
     AssertionError, "Only one of"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", BAD, ids=[m for _, _, m in BAD])
def test_bad_arguments_are_refused(make: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        make()


def test_parts_must_share_an_optimizer_and_need_no_metric():
    optimizer = optimizer_of()
    part, other = sched.StepLR(optimizer, 3), sched.StepLR(optimizer_of(), 3)
    with pytest.raises(ValueError, match="belong to the same optimizer"):
        sched.SequentialLR(optimizer, [part, other], [2])
    with pytest.raises(ValueError, match="one more than the number of milestone"):
        sched.SequentialLR(optimizer, [part], [2])
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        sched.ChainedScheduler([part, sched.ReduceLROnPlateau(optimizer)])
    late = sched.OneCycleLR(optimizer, 1.0, 2)
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        for _ in range(3):
            optimizer.step()
            late.step()


# ---- averages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("multi", [False, True])
def test_averaged_models_hold_means_and_moving_averages(multi: bool, device: str):
    ema: dict[str, Any] = {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)} if multi else {
        "avg_fn": swa_utils.get_ema_avg_fn(0.8)}  # fmt: skip
    mean: dict[str, Any] = {} if multi else {"avg_fn": swa_utils.get_swa_avg_fn()}
    model = nn.Linear(2, 2, device=device)
    plain = swa_utils.AveragedModel(model, **mean)
    moving = swa_utils.AveragedModel(model, **ema)
    seen = []
    for k in range(4):
        value = np.random.default_rng(k).standard_normal((2, 2)).astype(np.float32)
        seen.append(value)
        with tgrad.no_grad():
            model.weight.copy_(tgrad.tensor(value, device=device))
        plain.update_parameters(model)
        moving.update_parameters(model)
    want = seen[0]
    for value in seen[1:]:
        want = 0.8 * want + 0.2 * value
    for averaged, expected in ((plain, np.mean(seen, 0)), (moving, want)):
        got = averaged.module.weight.detach().cpu().numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert averaged.n_averaged.item() == 4


def test_update_bn_takes_the_mean_over_all_batches():
    model = nn.Sequential(nn.BatchNorm1d(2))
    batches = [np.random.default_rng(k).standard_normal((6, 2)).astype(np.float32) + k
               for k in range(3)]  # fmt: skip
    swa_utils.update_bn([tgrad.tensor(b) for b in batches], model)
    norm: Any = model[0]
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0),
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    assert norm.momentum == 0.1 and model.training
