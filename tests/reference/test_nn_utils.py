"""nn.utils and nn.init against torch: values, state_dict keys, signatures."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LIBS = (tgrad, torch)


def numpy_of(x: Any) -> np.ndarray:
    return x.detach().double().numpy()


def assert_states_alike(a: Any, b: Any) -> None:
    x, y = a.state_dict(), b.state_dict()
    assert list(x) == list(y)
    for k, v in y.items():
        np.testing.assert_allclose(numpy_of(x[k]), numpy_of(v), 1e-5, 1e-6, err_msg=k)


def copy_state(a: Any, b: Any) -> None:
    """Give our module the state of torch's."""
    a.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in b.state_dict().items()})


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, 3.0, math.inf])
def test_clipping_agrees(order: float):
    grads = [np.random.default_rng(k).standard_normal((3, k + 1)) for k in range(3)]
    found = []
    for lib in LIBS:
        params = [lib.nn.Parameter(lib.zeros(g.shape, dtype=lib.float64)) for g in grads]
        for p, g in zip(params, grads, strict=True):
            p.grad = lib.tensor(g)
        utils = lib.nn.utils
        norms = [utils.get_total_norm([p.grad for p in params], order),
                 utils.clip_grad_norm_(params, 1.5, order)]  # fmt: skip
        utils.clip_grad_value_(params, 0.2)
        found.append([*map(float, norms), *(p.grad.numpy() for p in params)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("name, make", [
    ("weight_norm", lambda lib, m: lib.nn.utils.weight_norm(m)),
    ("weight_norm of all", lambda lib, m: lib.nn.utils.weight_norm(m, dim=None)),
    ("spectral_norm", lambda lib, m: lib.nn.utils.spectral_norm(m, n_power_iterations=2)),
    ("new weight_norm", lambda lib, m: lib.nn.utils.parametrizations.weight_norm(m, dim=1)),
    ("new spectral_norm", lambda lib, m: lib.nn.utils.parametrizations.spectral_norm(m)),
    ("matrix_exp", lambda lib, m: lib.nn.utils.parametrizations.orthogonal(
        m, orthogonal_map="matrix_exp")),
    ("cayley", lambda lib, m: lib.nn.utils.parametrizations.orthogonal(
        m, orthogonal_map="cayley")),
    ("householder", lambda lib, m: lib.nn.utils.parametrizations.orthogonal(m)),
    ("householder itself", lambda lib, m: lib.nn.utils.parametrizations.orthogonal(
        m, use_trivialization=False)),
])  # fmt: skip
def test_weights_gradients_and_states_agree(name: str, make: Any):
    ours, theirs = (make(lib, lib.nn.Linear(4, 3).double()) for lib in LIBS)
    if "base" in str(theirs.state_dict().keys()):
        ours.parametrizations.weight[0].base = tgrad.zeros(4, 4, dtype=tgrad.float64)
    copy_state(ours, theirs)
    optimizers = [lib.optim.SGD(m.parameters(), lr=0.1) for lib, m in
                  zip(LIBS, (ours, theirs), strict=True)]  # fmt: skip
    x = np.random.default_rng(0).standard_normal((5, 4))
    for _ in range(4):
        for lib, module, optimizer in zip(LIBS, (ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (module(lib.tensor(x)) ** 2).sum().backward()
            optimizer.step()
        assert_states_alike(ours, theirs)
        np.testing.assert_allclose(numpy_of(ours.weight), numpy_of(theirs.weight), 1e-6, 1e-8)
    assert type(ours).__name__ == type(theirs).__name__
    assert repr(ours) == repr(theirs)


def test_folded_layers_agree():
    found = []
    for lib in LIBS:
        conv, bn = lib.nn.Conv2d(2, 3, 2).double().eval(), lib.nn.BatchNorm2d(3).double().eval()
        linear, bn1 = lib.nn.Linear(4, 3).double().eval(), lib.nn.BatchNorm1d(3).double().eval()
        with lib.no_grad():
            for k, t in enumerate([*conv.parameters(), *linear.parameters(), *bn.parameters(),
                                   *bn1.parameters()]):  # fmt: skip
                t.copy_(lib.tensor(np.random.default_rng(k).standard_normal(tuple(t.shape))))
            for b in (bn, bn1):
                b.running_mean.copy_(lib.tensor([0.5, -1.0, 2.0]))
                b.running_var.copy_(lib.tensor([0.5, 1.5, 2.0]))
        fused = lib.nn.utils.fuse_conv_bn_eval(conv, bn)
        other = lib.nn.utils.fuse_linear_bn_eval(linear, bn1)
        found.append([fused.weight, fused.bias, other.weight, other.bias])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(numpy_of(a), numpy_of(b), rtol=1e-10)


@pytest.mark.parametrize("shape, groups", [((4, 3, 5), 2), ((3, 5, 2, 3), 1), ((6, 4, 1, 2, 3), 3)])
def test_patterns_agree(shape: tuple, groups: int):
    ours, theirs = tgrad.empty(shape), torch.empty(shape)
    np.testing.assert_array_equal(numpy_of(tgrad.nn.init.dirac_(ours, groups)),
                                  numpy_of(torch.nn.init.dirac_(theirs, groups)))  # fmt: skip
    a, b = tgrad.nn.init.eye_(tgrad.empty(3, 5)), torch.nn.init.eye_(torch.empty(3, 5))
    np.testing.assert_array_equal(numpy_of(a), numpy_of(b))


@pytest.mark.parametrize("args", [(0.0, 1.0, -2.0, 2.0), (1.0, 0.5, 0.8, 3.0), (0, 1, 2.5, 3)])
def test_distributions_agree(args: tuple):
    scipy = pytest.importorskip("scipy.stats")
    tgrad.manual_seed(0)
    torch.manual_seed(0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        a = numpy_of(tgrad.nn.init.trunc_normal_(tgrad.empty(20000), *args))
        b = numpy_of(torch.nn.init.trunc_normal_(torch.empty(20000), *args))
    assert scipy.ks_2samp(a, b).pvalue > 1e-3
    a = numpy_of(tgrad.nn.init.orthogonal_(tgrad.empty(2000, 3))).ravel()
    b = numpy_of(torch.nn.init.orthogonal_(torch.empty(2000, 3))).ravel()
    assert scipy.ks_2samp(a, b).pvalue > 1e-3


NAMES = [("init", n) for n in tgrad.nn.init.__all__] + [
    ("utils", n) for n in tgrad.nn.utils.__all__ if callable(getattr(tgrad.nn.utils, n))
]


@pytest.mark.parametrize("where, name", NAMES)
def test_signatures_are_pytorchs(where: str, name: str):
    ours, theirs = getattr(getattr(tgrad.nn, where), name), getattr(getattr(torch.nn, where), name)
    x, y = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in y.values()):
        return  # a wrapper of theirs that hides its arguments
    assert [(p.name, p.default) for p in x.values()] == [(p.name, p.default) for p in y.values()]
