"""tgrad.save and tgrad.load: what goes in comes out, in PyTorch's format, in one step."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
import time
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

import tgrad
from tgrad import nn, serialization
from tgrad.dtypes import ALL
from tgrad.serialization import archive

ROOT = Path(__file__).resolve().parents[1]


def through(obj: object, protocol: int = 2, **options: object):
    file = io.BytesIO()
    tgrad.save(obj, file, pickle_protocol=protocol)
    file.seek(0)
    return tgrad.load(file, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_every_dtype_comes_back(dtype: tgrad.dtype, tmp_path: Path):
    x = tgrad.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)
    tgrad.save(x, tmp_path / "x.pt")
    for mmap in (False, True):
        y = tgrad.load(tmp_path / "x.pt", mmap=mmap)
        assert y.dtype is dtype and y.shape == (2, 3) and y.tolist() == x.tolist()
        assert y.storage_offset() == 0 and not y.requires_grad


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_come_back(protocol: int):
    plain = {
        "text": "é\n", 3: [1, -1, 2**70, -(2**40), 70000, 1.5, None, True, False, 2j],
        (1, "a"): ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "set": {1, 2}, b"k": b"\x00\xff",
        "frozen": frozenset({3}), "array": bytearray(b"xy"), "count": Counter("aab"),
        "default": defaultdict(list, {"a": [1]}), "ordered": OrderedDict(b=1, a=2),
        "many": list(range(3000)),
        "empty": [{}, [], set(), b"", ""],
    }  # fmt: skip
    back = through(plain, protocol)
    assert back == plain and list(back["ordered"]) == ["b", "a"]
    assert type(back["count"]) is Counter and back["default"]["new"] == []


def test_tgrads_own_values_come_back():
    size, place = tgrad.Size([2, 3]), tgrad.device("cuda", 0)
    back = through([size, place, tgrad.bfloat16, tgrad.strided, tgrad.channels_last])
    assert back == [size, place, tgrad.bfloat16, tgrad.strided, tgrad.channels_last]
    assert type(back[0]) is tgrad.Size


def test_numpy_values_come_back():
    values = [
        np.arange(6, dtype=">i2").reshape(2, 3).T,
        np.float64(2.5),
        np.bool_(True),
        np.dtype("f4"),
    ]
    back = through(values)
    assert np.array_equal(back[0], values[0]) and back[0].dtype == np.int16
    assert back[1:] == values[1:] and type(back[1]) is np.float64


def test_views_share_their_storage_again():
    x = tgrad.arange(12.0)
    back = through(
        {"x": x, "t": x.view(3, 4).t(), "tail": x[9:], "same": x, "wide": x[:1].expand(5)}
    )
    assert back["same"] is back["x"] and back["t"].stride() == (1, 4)
    back["x"][:] = tgrad.arange(12.0) + 100
    assert back["t"].tolist() == (x + 100).view(3, 4).t().tolist()
    assert back["tail"].tolist() == [109, 110, 111] and back["wide"].tolist() == [100.0] * 5
    assert back["wide"].stride() == (0,) and back["tail"].storage_offset() == 9


def test_a_small_view_does_not_save_the_whole_memory(tmp_path: Path):
    tgrad.save(tgrad.zeros(1_000_000)[500_000:500_010], tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 3000
    assert tgrad.load(tmp_path / "x.pt").shape == (10,)


def test_parts_of_one_buffer_may_have_several_dtypes():
    raw = np.zeros(64, np.uint8)
    pair = tgrad.from_numpy(raw[:32].view(np.float32)), tgrad.from_numpy(raw[32:].view(np.int64))
    a, b = through(pair)
    assert a.dtype is tgrad.float32 and b.dtype is tgrad.int64
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        tgrad.save([pair[0], tgrad.from_numpy(raw[16:32])], io.BytesIO())


def test_leaves_and_computed_tensors_come_back_as_leaves():
    w = tgrad.ones(3, requires_grad=True)
    p = nn.Parameter(tgrad.ones(2))
    a, b, c = through([w, w * 2, p])
    assert a.requires_grad and b.requires_grad and b.is_leaf and b.tolist() == [2.0] * 3
    assert type(c) is nn.Parameter and c.requires_grad
    frozen = through(nn.Parameter(tgrad.ones(2), requires_grad=False))
    assert not frozen.requires_grad


def test_scalars_and_empty_tensors_come_back():
    a, b, c = through([tgrad.tensor(3), tgrad.empty(0), tgrad.empty(2, 0, 3)])
    assert a.item() == 3 and b.shape == (0,) and c.shape == (2, 0, 3)


def test_training_goes_on_where_it_stopped(tmp_path: Path):
    def made():
        tgrad.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        return model, tgrad.optim.Adam(model.parameters(), lr=0.1)

    def step(model: nn.Module, optimizer: tgrad.optim.Optimizer):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    tgrad.manual_seed(1)
    x = tgrad.randn(6, 4)
    model, optimizer = made()
    for _ in range(2):
        step(model, optimizer)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 2}
    tgrad.save(state, tmp_path / "checkpoint.pt")
    again, optimizer_again = made()
    loaded = tgrad.load(tmp_path / "checkpoint.pt")
    assert loaded["model"]._metadata == state["model"]._metadata and loaded["epoch"] == 2
    again.load_state_dict(loaded["model"])
    optimizer_again.load_state_dict(loaded["optimizer"])
    for m, o in ((model, optimizer), (again, optimizer_again)):
        step(m, o)
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert p.tolist() == q.tolist()


# ---- where tensors go ----------------------------------------------------------------------------


def test_tensors_return_to_their_device_or_where_they_are_mapped():
    x = tgrad.arange(6.0, device="cuda").view(2, 3).t()
    back = through([x, x[1], tgrad.ones(1)])
    assert [t.device.type for t in back] == ["cuda", "cuda", "cpu"]
    assert back[0].stride() == (1, 3) and back[0].tolist() == x.tolist()
    back[0].zero_()
    assert back[1].tolist() == [0.0, 0.0]
    for where in ("cpu", tgrad.device("cpu"), {"cuda:0": "cpu"}, lambda s, place: s,
                  lambda s, place: s.cpu()):  # fmt: skip
        assert through(x, map_location=where).device.type == "cpu"
    for where in ("cuda", {"cpu": "cuda:0"}, lambda s, place: s.cuda()):
        assert through(tgrad.ones(2), map_location=where).device == tgrad.device("cuda", 0)
    seen = []
    through([x, tgrad.ones(1)], map_location=lambda s, place: seen.append((place, s.nbytes())))
    assert seen == [("cuda:0", 24), ("cpu", 4)]


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RuntimeError, match=r"device 7 but tgrad\.cuda\.device_count"):
        through(tgrad.ones(2), map_location="cuda:7")
    with pytest.raises(RuntimeError, match="tagged with mps"):
        through(tgrad.ones(2), map_location={"cpu": "mps"})
    with pytest.raises(TypeError, match="map_location must be"):
        through(tgrad.ones(2), map_location=3)
    file = io.BytesIO()
    tgrad.save(tgrad.ones(2, device="cuda"), file)
    file.seek(0)
    monkeypatch.setattr("tgrad.runtime.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"map_location=tgrad\.device"):
        tgrad.load(file)


def test_a_mapped_file_is_private(tmp_path: Path):
    tgrad.save(tgrad.zeros(1000), tmp_path / "x.pt")
    before = (tmp_path / "x.pt").read_bytes()
    x = tgrad.load(tmp_path / "x.pt", mmap=True)
    x += 1
    assert x.sum().item() == 1000 and (tmp_path / "x.pt").read_bytes() == before
    assert x.data_ptr() % 64 == 0
    with pytest.raises(ValueError, match="mmap"):
        tgrad.load(io.BytesIO(before), mmap=True)


# ---- the file ------------------------------------------------------------------------------------


def test_the_archive_is_pytorchs(tmp_path: Path):
    tgrad.save([tgrad.arange(3.0), tgrad.arange(5)], tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as z:
        assert z.testzip() is None
        assert set(z.namelist()) == {f"model/{n}" for n in (
            "data.pkl", ".format_version", ".storage_alignment", "byteorder", "data/0", "data/1",
            "version", ".data/serialization_id")}  # fmt: skip
        assert z.read("model/version") == b"3\n" and z.read("model/byteorder") == b"little"
        assert z.read("model/data/0") == np.arange(3, dtype=np.float32).tobytes()
    reader = archive.Reader(open(tmp_path / "model.pt", "rb"), "model.pt")  # noqa: SIM115
    assert all(start % 64 == 0 for start, _, _ in reader.records.values())
    reader.file.close()


def test_large_archives_have_64_bit_fields(monkeypatch: pytest.MonkeyPatch):
    file = io.BytesIO()
    monkeypatch.setattr(archive, "_LARGE", 100)  # as if 100 bytes were 4 GiB
    x = tgrad.arange(64.0)
    writer = archive.Writer(file, "a")
    for name in ("data.pkl", "data/0"):
        writer.add(name, x.numpy())
    writer.close()
    monkeypatch.undo()
    raw = bytearray(file.getvalue())
    # zipfile and this reader take a field for a 64-bit one where it is 2^32 - 1
    small, large = (100).to_bytes(4, "little"), b"\xff" * 4
    for at in _fields(raw):
        if raw[at : at + 4] == small:
            raw[at : at + 4] = large
    reader = archive.Reader(io.BytesIO(raw), "a")
    assert reader.read("data/0") == x.numpy().tobytes()


def _fields(raw: bytearray) -> list[int]:
    """Where the sizes and offsets of an archive's headers are."""
    found = []
    headers = {b"PK\x03\x04": (18, 22), b"PK\x01\x02": (20, 24, 42), b"PK\x05\x06": (12, 16)}
    for mark, offsets in headers.items():
        at = raw.find(mark)
        while at >= 0:
            found += [at + o for o in offsets]
            at = raw.find(mark, at + 4)
    return found


def test_equal_values_make_equal_files():
    files = [io.BytesIO(), io.BytesIO()]
    for f in files:
        tgrad.save({"x": tgrad.arange(4.0)}, f)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_failed_save_leaves_the_old_file_alone(tmp_path: Path):
    path = tmp_path / "x.pt"
    tgrad.save(1, path)
    path.chmod(0o640)
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        tgrad.save(lambda: 0, path)
    assert tgrad.load(path) == 1 and os.listdir(tmp_path) == ["x.pt"]
    tgrad.save(2, path)
    assert tgrad.load(path) == 2 and path.stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.pt"
    tgrad.save(1, path)

    def full(*args: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Writer, "close", full)
    with pytest.raises(OSError, match="No space"):
        tgrad.save(2, path)
    monkeypatch.undo()
    assert tgrad.load(path) == 1 and os.listdir(tmp_path) == ["x.pt"]


def test_links_are_followed_and_folders_refused(tmp_path: Path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "real" / "x.pt")
    tgrad.save(1, link)
    assert link.is_symlink() and tgrad.load(tmp_path / "real" / "x.pt") == 1
    with pytest.raises(IsADirectoryError):
        tgrad.save(1, tmp_path)
    with pytest.raises(FileNotFoundError):
        tgrad.save(1, tmp_path / "absent" / "x.pt")
    tgrad.save(1, "/dev/null")
    assert not Path("/dev/null").is_file()


WRITER = """
import sys, numpy as np, tgrad
path, i = sys.argv[1], 0
while True:
    i += 1
    tgrad.save({"number": i, "x": tgrad.from_numpy(np.full(300_000, i, np.float32))}, path)
    if i == 1:
        print("ready", flush=True)
"""


def test_a_writer_killed_at_a_random_moment_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "x.pt"
    rng = np.random.default_rng(0)
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.05))  # any moment will do
        writer.kill()
        writer.wait()
        writer.stdout.close()
        state = tgrad.load(path)
        assert state["number"] >= 1 and state["x"].eq(state["number"]).all()
    tgrad.save({"number": -1}, path)  # removes what the dead writers left
    assert os.listdir(tmp_path) == ["x.pt"] and tgrad.load(path) == {"number": -1}


KILLED = """
import os, signal, sys, tgrad
from tgrad.serialization import archive, atomic

path, steps = sys.argv[1], 0


def dies_at(step, function):
    def call(*args, **kwargs):
        global steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        return result
    return call


tgrad.save("old", path)
for step in range(1, 100):
    child = os.fork()
    if child == 0:
        archive.Writer._write = dies_at(step, archive.Writer._write)
        for name in ("fsync", "replace", "chmod"):
            setattr(os, name, dies_at(step, getattr(os, name)))
        tgrad.save("new", path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    left = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp")]
    print(step, tgrad.load(path), os.WIFSIGNALED(status), len(left))
    if not os.WIFSIGNALED(status):
        break
    if tgrad.load(path) == "new":
        tgrad.save("old", path)
"""


def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new_file(tmp_path: Path):
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "x.pt")],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    steps = [line.split() for line in made.stdout.splitlines()]
    assert steps[-1][1:] == ["new", "False", "0"]
    killed = [step[1] for step in steps[:-1]]
    assert len(killed) > 10 and killed[:-1] == ["old"] * (len(killed) - 1)
    assert killed[-1] == "new"  # dead between the rename and forcing the folder to the disk


def test_a_live_writers_file_is_not_taken_for_a_dead_ones(tmp_path: Path):
    path = str(tmp_path / "x.pt")
    with serialization.atomic.replacing(path) as file:
        file.write(b"first")
        with serialization.atomic.replacing(path) as other:
            other.write(b"second")
        assert Path(path).read_bytes() == b"second"
    assert Path(path).read_bytes() == b"first"


# ---- Python's own pickling -----------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [tgrad.float32, tgrad.bfloat16, tgrad.bool], ids=str)
def test_tensors_pickle_and_copy(device: str, dtype: tgrad.dtype):
    x = tgrad.tensor([[0, 1], [2, 3]], device=device).to(dtype).t()
    for made in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert made.tolist() == x.tolist() and made.dtype is dtype and made.device == x.device
        assert made.data_ptr() != x.data_ptr()


def test_modules_and_optimisers_pickle_and_copy():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    optimizer = tgrad.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(tgrad.ones(4, 2)).sum().backward()
    optimizer.step()
    for made in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert repr(made) == repr(model) and not made.training
        assert made(tgrad.ones(1, 2)).tolist() == model(tgrad.ones(1, 2)).tolist()
        assert made[0].weight.data_ptr() != model[0].weight.data_ptr()
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


# ---- .safetensors --------------------------------------------------------------------------------


def test_safetensors_go_both_ways(tmp_path: Path):
    pytest.importorskip("safetensors", reason="the extra is not installed")
    dtypes = [d for d in ALL if d is not tgrad.complex128]
    state = {d.name: tgrad.tensor([[0, 1, 2], [3, 4, 5]]).to(d).t() for d in dtypes}
    state["scalar"], state["empty"] = tgrad.tensor(2.5), tgrad.empty(0, 3)
    tgrad.save(state, tmp_path / "x.safetensors")
    back = tgrad.load(tmp_path / "x.safetensors", map_location="cuda")
    assert set(back) == set(state) and all(t.device.type == "cuda" for t in back.values())
    for name, t in tgrad.load(tmp_path / "x.safetensors").items():
        assert t.dtype is state[name].dtype and t.tolist() == state[name].tolist()
        t.zero_()
    with pytest.raises(RuntimeError, match="share memory"):
        tgrad.save({"a": state["float32"], "b": state["float32"]}, tmp_path / "y.safetensors")
    with pytest.raises(TypeError, match="complex128"):
        tgrad.save({"a": tgrad.zeros(1, dtype=tgrad.complex128)}, tmp_path / "y.safetensors")
    with pytest.raises(TypeError, match="expected a dict"):
        tgrad.save([1], tmp_path / "y.safetensors")
    with pytest.raises(TypeError, match="expected a Tensor by name"):
        tgrad.save({"a": 1}, tmp_path / "y.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "y.safetensors").write_bytes(whole[:-8])
    with pytest.raises(RuntimeError, match=r"y\.safetensors: the file is truncated"):
        tgrad.load(tmp_path / "y.safetensors")


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tgrad\[safetensors\]'"):
        tgrad.save({}, "x.safetensors")


def test_bad_arguments_are_refused(tmp_path: Path):
    with pytest.raises(RuntimeError, match="pickle_module"):
        tgrad.load("x.pt", pickle_module=pickle)
    with pytest.raises(ValueError, match="pickle module"):
        tgrad.save(1, tmp_path / "x.pt", pickle_module=copy)
    with pytest.raises(TypeError, match="weights_only must be a bool"):
        tgrad.load("x.pt", weights_only=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(FileNotFoundError):
        tgrad.load(tmp_path / "absent.pt")
    with pytest.raises(AttributeError, match="expected a path or a file"):
        tgrad.load(3)  # pyright: ignore[reportArgumentType]
