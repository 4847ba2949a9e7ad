"""Autocast on the CPU against torch's: result dtypes and values of what both list, and names."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.test_amp import LOWER, WIDE

torch = pytest.importorskip("torch", reason="torch is not installed")

# The same calls on torch: the functions of the table, with torch in the place of tgrad.
CALLS = {**LOWER, **WIDE["both"], **WIDE["cuda"]}
CALLS |= {
    "cat": lambda x, h: tgrad.cat([h, x]), "stack": lambda x, h: tgrad.stack([h, x]),
    "mean": lambda x, h: h.mean(), "add": lambda x, h: h + x, "relu": lambda x, h: tgrad.relu(h),
    "einsum": lambda x, h: tgrad.einsum("ij,jk->ik", x, x),
    "mv": lambda x, h: tgrad.mv(x, x[0]), "dot": lambda x, h: tgrad.dot(x[0], x[1]),
    "gelu": lambda x, h: F.gelu(h), "bce": lambda x, h: F.binary_cross_entropy(h, h),
    "var": lambda x, h: h.var(), "softmax dtype": lambda x, h: h.softmax(0, dtype=x.dtype),
}  # fmt: skip
F = tgrad.nn.functional


def on_torch(call: Any) -> Any:
    scope = {**call.__globals__, "tgrad": torch, "F": torch.nn.functional}
    return type(call)(call.__code__, scope)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CALLS)
def test_results_have_the_same_dtype_and_value(name: str, dtype: str):
    a = np.random.default_rng(0).uniform(0.1, 0.9, (3, 3)).astype(np.float32)
    found = []
    for lib, call in ((tgrad, CALLS[name]), (torch, on_torch(CALLS[name]))):
        x = lib.tensor(a)
        with lib.autocast("cpu", dtype=getattr(lib, dtype)):
            y = call(x, x.to(getattr(lib, dtype)))
        found.append((str(y.dtype).split(".")[1], y.detach().double().numpy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=2e-2)


def test_a_training_step_gives_the_same_gradients():
    grads = []
    a = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    for lib in (tgrad, torch):
        layer = lib.nn.Linear(4, 3)
        with lib.no_grad():
            layer.weight.copy_(lib.tensor(w))
            layer.bias.zero_()
        with lib.autocast("cpu"):
            y = layer(lib.tensor(a))
            loss = lib.nn.functional.mse_loss(y, lib.zeros(8, 3))
        loss.backward()
        assert str(layer.weight.grad.dtype).endswith("float32")
        grads.append(layer.weight.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=3e-2, atol=2e-3)


@pytest.mark.parametrize("name", ["autocast", "GradScaler", "custom_fwd", "custom_bwd",
                                  "is_autocast_available"])  # fmt: skip
def test_signatures_are_pytorchs(name: str):
    ours, theirs = getattr(tgrad.amp, name), getattr(torch.amp, name)
    x, y = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert [(p.name, p.kind, p.default) for p in x.values()] == [
        (p.name, p.kind, p.default) for p in y.values()
    ]


def test_scalers_agree_over_many_steps_and_states_move():
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(3) if k % 5 else np.array([1, np.inf, 0]) for k in range(40)]
    runs = []
    for lib in (tgrad, torch):
        p = lib.nn.Parameter(lib.zeros(3, dtype=lib.float64))
        optimizer = lib.optim.Adam([p], lr=0.1)
        scaler = lib.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        scales = []
        for g in gradients:
            optimizer.zero_grad()
            scaler.scale((p * lib.tensor(g)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        runs.append((scales, p.detach().numpy(), scaler.state_dict()))
    assert runs[0][0] == runs[1][0] and runs[0][2] == runs[1][2]
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-9)
    torch.amp.GradScaler("cpu").load_state_dict(runs[0][2])
    tgrad.amp.GradScaler("cpu").load_state_dict(runs[1][2])
