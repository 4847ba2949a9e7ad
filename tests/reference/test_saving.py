"""Files go both ways between tgrad and torch."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tgrad
from tgrad import serialization
from tgrad.dtypes import ALL

torch = pytest.importorskip("torch", reason="torch is not installed")


def values(lib):
    x = lib.arange(12.0)
    p = lib.nn.Parameter(x[2:5].clone())
    return {
        "x": x, "t": x.view(3, 4).t(), "wide": x[:1].expand(3), "p": p, "same": x,
        "scalar": lib.tensor(3), "empty": lib.empty(0, 2), "leaf": lib.ones(2, requires_grad=True),
        "dtype": lib.bfloat16, "device": lib.device("cpu"), "size": lib.ones(2, 3).size(),
        "ordered": OrderedDict(a=1, b=[2.5, None, True, "é", b"\xff", 2j, -(2**40), {1, 2}]),
        5: (1, (2,)),
        **{d.name: lib.tensor([[0, 1], [2, 3]]).to(getattr(lib, d.name)) for d in ALL},
    }  # fmt: skip


def check(found, expected):
    assert list(found) == list(expected)
    for key, want in expected.items():
        got = found[key]
        if isinstance(want, (tgrad.Tensor, torch.Tensor)):
            assert got.tolist() == want.tolist() and (
                got.stride() == want.stride() or not want.numel()
            ), key
            assert got.requires_grad == want.requires_grad and tuple(got.shape) == tuple(want.shape)
            assert str(got.dtype).partition(".")[2] == str(want.dtype).partition(".")[2]
            assert got.storage_offset() == want.storage_offset(), key
        else:
            strip = str(want).replace("torch", "tgrad")
            assert got == want or str(got).replace("torch", "tgrad") == strip, key
    assert found["same"] is found["x"] and type(found["p"]).__name__ == "Parameter"
    found["x"][:] = found["x"] + 1
    assert found["t"].tolist() == (expected["t"] + 1).tolist()
    assert found["wide"].tolist() == [1.0] * 3


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_what_tgrad_saves(mmap: bool, tmp_path: Path):
    tgrad.save(values(tgrad), tmp_path / "x.pt")
    check(torch.load(tmp_path / "x.pt", weights_only=True, mmap=mmap), values(torch))


@pytest.mark.parametrize("mmap", [False, True])
def test_tgrad_loads_what_torch_saves(mmap: bool, tmp_path: Path):
    torch.save(values(torch), tmp_path / "x.pt")
    check(tgrad.load(tmp_path / "x.pt", mmap=mmap), values(tgrad))


def test_trained_models_and_optimisers_move_both_ways(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)

    def made(lib):
        lib.manual_seed(0)
        nn = lib.nn
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        return model, lib.optim.Adam(model.parameters(), lr=0.01)

    def step(lib, model, optimizer):
        optimizer.zero_grad()
        loss = model(lib.from_numpy(x)).square().sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    for first, second in ((torch, tgrad), (tgrad, torch)):
        model, optimizer = made(first)
        step(first, model, optimizer)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        first.save(state, tmp_path / "checkpoint.pt")
        again, optimizer_again = made(second)
        loaded = second.load(tmp_path / "checkpoint.pt")
        assert loaded["model"]._metadata == state["model"]._metadata
        again.load_state_dict(loaded["model"])
        optimizer_again.load_state_dict(loaded["optimizer"])
        for _ in range(3):
            losses = step(first, model, optimizer), step(second, again, optimizer_again)
            assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_torch_puts_off_is_done_on_loading():
    file = io.BytesIO()
    z = torch.tensor([1 + 2j, 3 - 1j])
    torch.save([z.conj(), z], file)
    file.seek(0)
    a, b = tgrad.load(file)
    assert a.tolist() == [1 - 2j, 3 + 1j] and b.tolist() == z.tolist()
    file = io.BytesIO()
    torch.save(z.conj().imag, file)
    file.seek(0)
    assert tgrad.load(file).tolist() == [-2.0, 1.0]


def test_parameters_with_attributes_are_read():
    file = io.BytesIO()
    p, t = torch.nn.Parameter(torch.ones(2)), torch.ones(3)
    p.tag, t.tag = "w", [1]
    torch.save([p, t], file)
    file.seek(0)
    q, u = tgrad.load(file)
    assert q.tag == "w" and u.tag == [1] and q.tolist() == [1.0, 1.0] and q.requires_grad


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_torchs_is_read(protocol: int):
    file = io.BytesIO()
    torch.save({"a": torch.arange(3), "b": list(range(2000)), "c": "x" * 300}, file,
               pickle_protocol=protocol)  # fmt: skip
    file.seek(0)
    back = tgrad.load(file)
    assert (
        back["a"].tolist() == [0, 1, 2] and back["b"] == list(range(2000)) and len(back["c"]) == 300
    )


def test_modules_of_torchs_are_refused_by_name():
    file = io.BytesIO()
    torch.save(torch.nn.Linear(1, 1), file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.linear\.Linear"):
        tgrad.load(file)
    file.seek(0)
    names = serialization.get_unsafe_globals_in_checkpoint(file)
    assert "torch.nn.modules.linear.Linear" in names


def test_safetensors_move_both_ways(tmp_path: Path):
    theirs = pytest.importorskip("safetensors.torch", reason="the extra is not installed")
    dtypes = [d for d in ALL if d is not tgrad.complex128]
    path = str(tmp_path / "x.safetensors")
    tgrad.save({d.name: tgrad.tensor([[0, 1], [2, 3]]).to(d) for d in dtypes}, path)
    for name, t in theirs.load_file(path).items():
        assert t.tolist() == torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, name)).tolist()
        assert t.dtype is getattr(torch, name)
    theirs.save_file(
        {d.name: torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, d.name)) for d in dtypes}, path
    )
    for name, t in tgrad.load(path).items():
        assert (
            t.dtype.name == name
            and t.tolist() == tgrad.tensor([[0, 1], [2, 3]]).to(t.dtype).tolist()
        )
