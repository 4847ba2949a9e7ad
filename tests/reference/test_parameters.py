"""Lists and dicts of parameters against torch."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")
LIBRARIES = pytest.mark.parametrize("lib", [tgrad, torch])


def listed(lib):
    made = lib.nn.ParameterList([lib.ones(2, 3), lib.nn.Parameter(lib.zeros(())), "text"])
    made.append(lib.ones(1))
    made += [lib.zeros(2)]
    made[1] = lib.ones(4)
    return made


def named(lib):
    made = lib.nn.ParameterDict({"b": lib.ones(2), "a": lib.zeros(3)})
    made["c"] = lib.ones(1, 2)
    made.update([("d", 3), ["e", lib.ones(())]])
    made |= OrderedDict(z=lib.ones(1), y=lib.ones(1))
    del made["b"]
    assert made.setdefault("k", lib.zeros(1)) is made["k"]
    assert made.popitem()[0] == "k"
    return made


@pytest.mark.parametrize("make", [listed, named])
def test_they_hold_and_show_the_same(make):
    ours, theirs = make(tgrad), make(torch)
    assert repr(ours) == repr(theirs).replace("torch.", "tgrad.")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert len(ours) == len(theirs)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours) and list(twin.state_dict()) == list(ours.state_dict())


@LIBRARIES
def test_lists_slice_index_and_refuse(lib):
    made = listed(lib)
    assert len(made[1:4:2]) == 2 and made[1:4:2][1] is made[3]
    assert made[-1] is made[4] and list(made)[2] == "text"
    assert all(isinstance(p, lib.nn.Parameter) for p in made.parameters())
    with pytest.raises(IndexError, match="index 5 is out of range"):
        made[5]
    for wrong in (3, lib.ones(2)):
        with pytest.raises(TypeError, match=r"ParameterList.extend should be called"):
            made.extend(wrong)
    with pytest.raises(RuntimeError, match="should not be called"):
        made()
    assert len(made) == 5


@LIBRARIES
def test_dicts_behave_as_dicts(lib):
    made = named(lib)
    assert list(made) == ["a", "c", "d", "e", "z", "y"] == list(made.keys())
    assert next(reversed(made)) == "y" and "d" in made and "b" not in made
    assert made.get("b", 7) == 7 and made.pop("d") == 3 and "d" not in made
    assert [k for k, v in made.items() if v is made[k]] == list(made)
    assert list((made | {"n": lib.ones(1)}).keys()) == [*made, "n"]
    assert list(made.fromkeys(["p", "q"], 1).values()) == [1, 1]
    with pytest.raises(TypeError, match="not a string"):
        made[3]
    with pytest.raises(TypeError, match="should be called with an iterable"):
        made.update(3)
    with pytest.raises(ValueError, match="has length 3; 2 is required"):
        made.update([("a", 1, 2)])
    made.clear()
    assert len(made) == 0 and not list(made.parameters())


def test_a_module_trains_its_lists():
    class Net(tgrad.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = tgrad.nn.ParameterList([tgrad.ones(2, 2) for _ in range(3)])

        def forward(self, x):
            for w in self.weights:
                x = x @ w
            return x

    net = Net()
    net(tgrad.ones(1, 2)).sum().backward()
    assert [n for n, _ in net.named_parameters()] == ["weights.0", "weights.1", "weights.2"]
    assert all(p.grad is not None for p in net.parameters())
