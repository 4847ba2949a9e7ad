"""Lazy layers against torch: signature, repr, state_dict, values around the first call."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")

SPATIAL = {1: (6,), 2: (6, 5), 3: (6, 5, 4)}
LAZY = {
    "linear": (lambda nn: nn.LazyLinear(3), (2, 4)),
    "linear no bias": (lambda nn: nn.LazyLinear(3, bias=False), (2, 2, 4)),
    **{f"conv {n}": (
        lambda nn, n=n: getattr(nn, f"LazyConv{n}d")(4, 2, 2, 1, 1, 2, bias=n != 2), (2, 6, *s))
       for n, s in SPATIAL.items()},
    **{f"alone {n}": (lambda nn, n=n: getattr(nn, f"LazyConv{n}d")(4, 2), (6, *s))
       for n, s in SPATIAL.items()},
    **{f"transpose {n}": (
        lambda nn, n=n: getattr(nn, f"LazyConvTranspose{n}d")(4, 2, 2, 1, 1, 2), (2, 6, *s))
       for n, s in SPATIAL.items()},
    **{f"{kind} {n} {options}": (
        lambda nn, n=n, kind=kind, options=options: getattr(nn, f"Lazy{kind}{n}d")(**options),
        (3, 6, *s))
       for n, s in SPATIAL.items() for kind in ("BatchNorm", "InstanceNorm")
       for options in ({}, {"affine": False}, {"bias": False, "momentum": None},
                       {"track_running_stats": False, "eps": 1e-3})
       if (kind, options.get("momentum", 0)) != ("InstanceNorm", None)},
}  # fmt: skip


def shapes(state):
    return {k: repr(v) if "Uninit" in repr(v) else tuple(v.shape) for k, v in state.items()}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers_agree_before_and_after_the_first_call(name: str):
    make, shape = LAZY[name]
    theirs, ours = make(torch.nn).double(), make(tgrad.nn).double()
    assert repr(ours) == repr(theirs)
    assert shapes(ours.state_dict()) == shapes(theirs.state_dict())
    assert ours.state_dict()._metadata == theirs.state_dict()._metadata
    a = np.random.default_rng(1).standard_normal(shape)
    x, z = tgrad.tensor(a), torch.tensor(a)
    ours(x), theirs(z)
    assert repr(ours) == repr(theirs)
    assert shapes(ours.state_dict()) == shapes(theirs.state_dict())
    ours.load_state_dict({k: tgrad.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    np.testing.assert_allclose(
        ours(x).detach().numpy(), theirs(z).detach().numpy(), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", [
    "LazyLinear", *(f"Lazy{kind}{n}d" for n in (1, 2, 3)
                    for kind in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm")),
    "UninitializedParameter", "UninitializedBuffer",
])  # fmt: skip
def test_signatures_agree(name: str):
    def arguments(lib):
        cls = getattr(lib.nn, name)
        made = cls.__new__ if lib is torch and "Uninit" in name else cls.__init__
        found = list(inspect.signature(made).parameters.values())[1:]
        return [(p.name, p.default, p.kind) for p in found]

    assert arguments(tgrad) == arguments(torch)
