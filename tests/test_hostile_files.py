"""Files that lie, are cut off or want to run code: each is refused by name, and nothing runs."""

from __future__ import annotations

import builtins
import copyreg
import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tgrad
from tgrad import nn, serialization
from tgrad.serialization import archive

P = pickle
Refused = pickle.UnpicklingError


def file_of(data: bytes, storages: dict[str, bytes] | None = None, **records: bytes) -> io.BytesIO:
    """An archive around the pickle ``data``."""
    file = io.BytesIO()
    writer = archive.Writer(file, "archive")
    everything = {"data.pkl": data, "byteorder": b"little", "version": b"3\n", **records}
    for name, content in everything.items():
        writer.add(name, content)
    for key, content in (storages or {"0": np.arange(4, dtype=np.float32).tobytes()}).items():
        writer.add(f"data/{key}", content)
    writer.close()
    file.seek(0)
    return file


def text(value: str) -> bytes:
    return P.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return P.LONG1 + bytes([9]) + value.to_bytes(9, "little", signed=True)


def named(module: str, name: str) -> bytes:
    return P.GLOBAL + f"{module}\n{name}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return P.MARK + b"".join(items) + P.TUPLE


def called(module: str, name: str, *args: bytes) -> bytes:
    return named(module, name) + tuple_of(*args) + P.REDUCE


def storage(
    key: str = "0", numel: int = 4, kind: str = "FloatStorage", place: str = "cpu"
) -> bytes:
    parts = text("storage"), named("torch", kind), text(key), text(place), number(numel)
    return tuple_of(*parts) + P.BINPERSID


def tensor(
    offset: int = 0, size: tuple = (4,), stride: tuple = (1,), where: bytes | None = None,
    requires_grad: bytes = P.NEWFALSE,
) -> bytes:  # fmt: skip
    return called(
        "torch._utils", "_rebuild_tensor_v2", storage() if where is None else where,
        number(offset), tuple_of(*map(number, size)), tuple_of(*map(number, stride)), requires_grad,
        called("collections", "OrderedDict"),
    )  # fmt: skip


START, STOP = P.PROTO + b"\x02", P.STOP


def load(body: bytes, **options: object):
    return tgrad.load(file_of(START + body + STOP, **options))  # pyright: ignore[reportArgumentType]


def test_the_samples_are_well_formed():
    assert load(tensor()).tolist() == [0, 1, 2, 3]
    assert load(tensor(1, (2,), (2,))).tolist() == [1, 3]


class Marker:
    """Raises the alarm if anything of a file's is called."""

    def __reduce__(self):
        return (os.system, ("touch pwned",))


SAMPLES = {
    "os.system": (called("os", "system", text("touch pwned")), "names os.system"),
    "posix.system": (called("posix", "system", text("touch pwned")), "names posix.system"),
    "eval": (called("builtins", "eval", text("open('pwned', 'w')")), "names builtins.eval"),
    "eval of Python 2": (called("__builtin__", "eval", text("1")), "names __builtin__.eval"),
    "exec by STACK_GLOBAL": (
        text("builtins") + text("exec") + P.STACK_GLOBAL + tuple_of(text("1")) + P.REDUCE,
        "names builtins.exec",
    ),
    "getattr chain": (
        called("builtins", "getattr", called("builtins", "__import__", text("os")), text("system")),
        "names builtins.getattr",
    ),
    "a dotted name": (called("collections", "OrderedDict.fromkeys", text("ab")), ".fromkeys"),
    "a function of an allowed module": (called("torch", "load", text("x")), "names torch.load"),
    "a submodule's import": (called("torch.hub", "load", text("x")), "names torch.hub.load"),
    "tgrad's own functions": (called("tgrad", "save", P.NONE, text("pwned")), "names tgrad.save"),
    "subprocess": (called("subprocess", "Popen", text("true")), "names subprocess.Popen"),
    "INST": (P.MARK + text("true") + P.INST + b"os\nsystem\n", "opcode INST"),
    "OBJ": (P.MARK + named("collections", "OrderedDict") + P.OBJ, "opcode OBJ"),
    "EXT1": (P.EXT1 + b"\x07" + P.EMPTY_TUPLE + P.REDUCE, "opcode EXT1"),
    "EXT2": (P.EXT2 + b"\x07\x00", "opcode EXT2"),
    "EXT4": (P.EXT4 + b"\x07\x00\x00\x00", "opcode EXT4"),
    "NEWOBJ_EX": (
        named("collections", "OrderedDict") + P.EMPTY_TUPLE + P.EMPTY_DICT + P.NEWOBJ_EX,
        "opcode NEWOBJ_EX",
    ),
    "PERSID": (P.PERSID + b"storage\n", "opcode PERSID"),
    "a call of data": (text("x") + P.EMPTY_TUPLE + P.REDUCE, "call of an object of str"),
    "a call of a tensor": (tensor() + P.EMPTY_TUPLE + P.REDUCE, "call of a Tensor"),
    "a call of a dtype": (called("torch", "float32"), "call of an object of dtype"),
    "an instance of data": (text("x") + P.EMPTY_TUPLE + P.NEWOBJ, "an instance of"),
    "a bare tensor class": (called("torch", "Tensor", number(3)), "cannot be made"),
    "arguments that are no tuple": (named("torch", "Size") + P.EMPTY_LIST + P.REDUCE, "no tuple"),
    "BUILD of a tensor": (tensor() + P.EMPTY_DICT + P.BUILD, "BUILD of a Tensor"),
    "BUILD of a function": (named("torch", "Size") + P.EMPTY_DICT + P.BUILD, "BUILD of torch.Size"),
    "BUILD with __setstate__": (
        called("collections", "OrderedDict") + P.EMPTY_DICT + text("__setstate__")
        + named("torch", "Size") + P.SETITEM + P.BUILD,
        "attribute '__setstate__' cannot be set",
    ),
    "BUILD over a method": (
        called("collections", "OrderedDict") + P.EMPTY_DICT + text("items") + P.NONE + P.SETITEM
        + P.BUILD,
        "attribute 'items' cannot be set",
    ),
    "a tensor's internals": (
        named("torch._tensor", "_rebuild_from_type_v2")
        + tuple_of(
            named("torch._utils", "_rebuild_tensor_v2"), named("torch", "Tensor"),
            tuple_of(storage(), number(0), tuple_of(number(4)), tuple_of(number(1)), P.NEWFALSE,
                     P.NONE),
            P.EMPTY_DICT + text("array") + P.NONE + P.SETITEM,
        ) + P.REDUCE,
        "attribute 'array' cannot be set",
    ),
    "memory by number": (called("builtins", "bytearray", number(1 << 40)), "bytes expected"),
    "a factory of the file's": (
        called("collections", "defaultdict", named("torch", "device")), "Python's own types"),
    "another codec": (called("_codecs", "encode", text("x"), text("zlib_codec")), "no latin-1"),
    "NumPy objects": (called("numpy", "dtype", text("O8"), P.NEWFALSE, P.NEWTRUE), "dtype 'O8'"),
    "NumPy's fields": (called("numpy", "dtype", text("f4,O"), P.NEWFALSE, P.NEWTRUE), "'f4,O'"),
    "another device": (called("torch", "device", text("xpu")), "device type 'xpu'"),
    "sparse layouts": (
        called("torch.serialization", "_get_layout", text("torch.sparse_coo")), "not known"),
    "an unknown opcode": (b"\xff", "opcode 0xff is refused"),
    "protocol 6": (P.PROTO + b"\x06" + P.NONE, "protocol 6"),
    "nothing to stop on": (b"", "objects are left over"),
    "two results": (P.NONE + P.NONE, "objects are left over"),
    "an open mark": (P.NONE + P.MARK + P.NONE, "objects are left over"),
    "a mark that is not there": (P.TUPLE, "malformed pickle at byte 2: IndexError"),
    "an empty stack": (P.TUPLE1, "a tuple of more than there is"),
    "an unknown memo": (P.LONG_BINGET + b"\xff\xff\xff\xff", "pickle at byte 2: KeyError"),
    "text beyond the end": (P.BINUNICODE + b"\xff\xff\xff\xff", "ends before 4294967295"),
    "bytes beyond the end": (P.BINBYTES8 + b"\xff" * 8, "ends before"),
    "a negative length": (P.LONG4 + b"\xff\xff\xff\xff", "ends before -1"),
    "a frame beyond the end": (P.FRAME + b"\xff" * 8, "frame that is cut off"),
    "text that is not UTF-8": (P.SHORT_BINUNICODE + b"\x01\xff", "UnicodeDecodeError"),
    "entries for a list": (P.EMPTY_LIST + P.NONE + P.NONE + P.SETITEM, "entries for"),
    "items for a dict": (P.EMPTY_DICT + P.NONE + P.APPEND, "which is no list"),
    "a key that cannot be hashed": (P.EMPTY_DICT + P.EMPTY_LIST + P.NONE + P.SETITEM, "be a key"),
    "a key of exponential size": (
        P.EMPTY_DICT + P.EMPTY_TUPLE + (P.BINPUT + b"\x00" + P.BINGET + b"\x00" + P.TUPLE2) * 60
        + P.NONE + P.SETITEM,
        "key of more than 1000 parts",
    ),
    "a key nested deeply": (
        P.EMPTY_DICT + P.EMPTY_TUPLE + P.TUPLE1 * 20_000 + P.NONE + P.SETITEM,
        "more than 1000 parts",
    ),
    "too many elements": (tensor(where=storage(numel=400)), "400 elements of float32"),
    "too few elements": (tensor(where=storage(numel=3)), "3 elements of float32"),
    "another type's size": (tensor(where=storage(kind="DoubleStorage")), "4 elements of float64"),
    "a negative count": (tensor(where=storage(numel=-4)), "storage of -4 elements"),
    "two descriptions": (tuple_of(storage(), storage(place="cuda:0")), "described in two ways"),
    "an absent record": (tensor(where=storage("7")), "storage '7' has no record"),
    "a path as a key": (tensor(where=storage("../data.pkl")), "has no record"),
    "a persistent id that is text": (text("x") + P.BINPERSID, "names no storage"),
    "a persistent id of a dict": (
        tuple_of(text("storage"), named("builtins", "dict"), text("0"), text("cpu"), number(4))
        + P.BINPERSID,
        "other types than a storage's",
    ),
    "a shape beyond the storage": (tensor(size=(5,)), "needs 5 elements, its storage has 4"),
    "an offset beyond the storage": (tensor(offset=4), "needs 8 elements"),
    "a negative offset": (tensor(offset=-1), "the offset"),
    "a stride beyond the storage": (tensor(size=(2,), stride=(1 << 60,)), "its storage has 4"),
    "a negative stride": (tensor(stride=(-1,)), "the strides"),
    "a negative size": (tensor(size=(-4,)), "the shape"),
    "ranks that differ": (tensor(size=(2, 2), stride=(1,)), "a tensor of shape"),
    "a shape beyond 64 bits": (tensor(size=(1 << 62, 1 << 62), stride=(0, 0)), "a tensor of shape"),
    "hooks": (
        called("torch._utils", "_rebuild_tensor_v2", storage(), number(0), tuple_of(number(4)),
               tuple_of(number(1)), P.NEWFALSE, text("hook")),
        "hooks",
    ),
    "an integer parameter that requires grad": (
        called(
            "torch._utils", "_rebuild_parameter",
            tensor(size=(2,), where=storage(numel=2, kind="LongStorage")), P.NEWTRUE, P.NONE,
        ),
        "a parameter of int64 that requires grad",
    ),
    "a tensor over no storage": (tensor(where=P.NONE), "without a typed storage"),
    "integers that require grad": (
        tensor(size=(2,), where=storage(numel=2, kind="LongStorage"), requires_grad=P.NEWTRUE),
        "int64 that requires grad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_malicious_pickles_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    body, message = SAMPLES[name]
    (tmp_path / "bad.pt").write_bytes(file_of(START + body + STOP).getvalue())
    for weights_only in (True, False):  # neither ever runs code
        with pytest.raises(Refused, match=r"bad\.pt") as e:
            tgrad.load("bad.pt", weights_only=weights_only)
        assert message in str(e.value)
    assert os.listdir(tmp_path) == ["bad.pt"]


def test_a_pickled_reduce_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for protocol in range(6):
        with pytest.raises(Refused, match=r"system|opcode"):
            tgrad.load(file_of(pickle.dumps(Marker(), protocol)))
    assert not os.listdir(tmp_path)


def test_registered_extensions_are_not_used():
    copyreg.add_extension("builtins", "eval", 7)
    try:
        with pytest.raises(Refused, match="opcode EXT1 is refused"):
            tgrad.load(file_of(pickle.dumps(builtins.eval, 2)))
    finally:
        copyreg.remove_extension("builtins", "eval", 7)


def test_a_hostile_memo_costs_no_memory():
    put = P.LONG_BINPUT + b"\xff\xff\xff\xff"
    assert load(P.NONE + put + P.LONG_BINGET + put[1:] + P.TUPLE2) == (None, None)


def test_lists_may_hold_themselves():
    x = load(P.EMPTY_LIST + P.BINPUT + b"\x00" + P.BINGET + b"\x00" + P.APPEND)
    assert x[0] is x


def test_every_prefix_of_a_pickle_is_refused():
    file = io.BytesIO()
    tgrad.save({"a": tgrad.arange(4.0), "b": nn.Linear(1, 2).state_dict()}, file)
    reader = archive.Reader(file, "whole")
    data = reader.read("data.pkl")
    storages = {k[5:]: reader.read(k) for k in reader.records if k.startswith("data/")}
    for n in range(len(data) - 1):
        with pytest.raises(Refused, match="byte"):
            tgrad.load(file_of(data[:n], storages))


def test_random_damage_to_a_pickle_never_escapes():
    file = io.BytesIO()
    tgrad.save({"a": tgrad.arange(4.0), "o": OrderedDict(x=(1, {2}, "t")), "n": np.arange(3)}, file)
    reader = archive.Reader(file, "whole")
    data = reader.read("data.pkl")
    storages = {k[5:]: reader.read(k) for k in reader.records if k.startswith("data/")}
    rng, refused = np.random.default_rng(0), 0
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        try:
            tgrad.load(file_of(bytes(damaged), storages))
        except (Refused, RuntimeError):  # RuntimeError: a location that is no device
            refused += 1
    assert refused > 700


# ---- the archive ---------------------------------------------------------------------------------


def saved(tmp_path: Path) -> Path:
    tgrad.save({"x": tgrad.arange(100.0), "y": tgrad.arange(7)}, tmp_path / "x.pt")
    return tmp_path / "x.pt"


def test_truncated_files_are_refused_by_name(tmp_path: Path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    for n in [0, 1, 3, *range(4, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:n])
        for mmap in (False, True):
            with pytest.raises(
                (RuntimeError, EOFError), match=r"x\.pt: .*(truncated|empty|not a zip)"
            ):
                tgrad.load(path, mmap=mmap)


def test_every_damaged_byte_of_a_record_is_noticed(tmp_path: Path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as z:
        infos = [i for i in z.infolist() if i.filename.endswith(("data/0", "data/1", "data.pkl"))]
    reader = archive.Reader(io.BytesIO(whole), "x")
    for info in infos:
        start, size = reader.place(info.filename.partition("/")[2])
        for at in range(start, start + size, 13):
            damaged = bytearray(whole)
            damaged[at] ^= 0x10
            path.write_bytes(damaged)
            with pytest.raises(RuntimeError, match=r"x\.pt: record .* is corrupt"):
                tgrad.load(path)


def test_other_files_are_named(tmp_path: Path):
    path = tmp_path / "x.pt"
    cases = [
        (pickle.dumps({"a": 1}), "not a zip archive"),
        (serialization.LEGACY + b"\x80\x02M\xe9\x03.", "PyTorch before 1.6"),
        (b"\x93NUMPY", "not a zip archive"),
        (b"\x1f\x8b\x08", "not a zip archive"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match=f"x\\.pt: .*{message}"):
            tgrad.load(path)


def zipped(*records: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as z, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in records:
            z.writestr(name, content)
    file.seek(0)
    return file


PICKLE = ("a/data.pkl", START + P.NONE + STOP)
VERSION = ("a/version", b"3\n")


def test_an_ordinary_zip_of_the_same_records_is_read():
    assert tgrad.load(zipped(PICKLE, VERSION)) is None


@pytest.mark.parametrize(
    "file, message",
    [
        (zipped(PICKLE, VERSION, method=zipfile.ZIP_DEFLATED), "compressed"),
        (
            zipped(("a/data.pkl", bytes(1 << 22)), VERSION, method=zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        (zipped(PICKLE, VERSION, ("a/../../etc/passwd", b"")), "outside of the archive"),
        (zipped(PICKLE, VERSION, ("/etc/passwd", b"")), "outside of the archive"),
        (zipped(PICKLE, VERSION, ("b/data/0", b"")), "outside of the archive"),
        (zipped(PICKLE, VERSION, PICKLE), "there twice"),
        (zipped(PICKLE, VERSION, ("b/data.pkl", b"")), "found 2"),
        (zipped(VERSION), "found 0"),
        (zipped(PICKLE), "a/version is missing"),
        (zipped(PICKLE, ("a/version", b"99")), "version b'99'"),
        (zipped(PICKLE, ("a/version", b"9" * 100)), "100 bytes, at most 64"),
        (zipped(PICKLE, VERSION, ("a/byteorder", b"middle")), "byte order b'middle'"),
        (zipped(("a/constants.pkl", b""), ("a/code/x.py", b"")), "TorchScript"),
    ],
    ids=range(13),
)
def test_hostile_archives_are_refused(file: io.BytesIO, message: str):
    with pytest.raises(RuntimeError, match=message):
        tgrad.load(file)


def test_records_that_overlap_are_refused():
    """A short file can claim terabytes where its records share their bytes."""
    raw = bytearray(file_of(START + P.NONE + STOP, {"0": bytes(64), "1": bytes(64)}).getvalue())
    first, second = raw.find(b"archive/data/0"), raw.find(b"archive/data/1")
    central = raw.rfind(b"archive/data/1") - 46
    assert 0 < first < second < central
    raw[central + 42 : central + 46] = struct.pack("<I", first - 30)
    raw[first : first + 14] = b"archive/data/1"
    with pytest.raises(RuntimeError, match=r"overlap|truncated or corrupt"):
        tgrad.load(io.BytesIO(raw))


def test_records_beyond_the_end_are_refused():
    raw = bytearray(file_of(START + P.NONE + STOP).getvalue())
    central = raw.rfind(b"archive/data/0") - 46
    raw[central + 20 : central + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    with pytest.raises(RuntimeError, match="goes past the file's end"):
        tgrad.load(io.BytesIO(raw))


def test_checksums_may_be_left_out_as_pytorch_can():
    file = file_of(START + tensor() + STOP)
    raw = bytearray(file.getvalue())
    crc = struct.pack("<I", zlib.crc32(np.arange(4, dtype=np.float32).tobytes()))
    assert raw.count(crc) == 2
    assert tgrad.load(io.BytesIO(raw.replace(crc, bytes(4)))).tolist() == [0, 1, 2, 3]


def test_the_other_byte_order_is_read():
    swapped = np.arange(4, dtype=">f4").tobytes()
    file = file_of(START + tensor() + STOP, {"0": swapped}, byteorder=b"big")
    assert tgrad.load(file).tolist() == [0, 1, 2, 3]


# ---- what the program vouches for ----------------------------------------------------------------


class Config:
    def __init__(self, n: int):
        self.n = n


class Listed(list):
    pass


def test_vouched_classes_are_made():
    file = io.BytesIO()
    tgrad.save([Config(3), Listed([1, 2])], file)
    for protocol in range(2, 6):
        other = io.BytesIO()
        tgrad.save([Config(3), Listed([1, 2]), tgrad.ones(1)], other, pickle_protocol=protocol)
        other.seek(0)
        assert serialization.get_unsafe_globals_in_checkpoint(other) == [
            "tests.test_hostile_files.Config", "tests.test_hostile_files.Listed",
        ]  # fmt: skip
    file.seek(0)
    with pytest.raises(Refused, match="Config, which is not allowed"):
        tgrad.load(file)
    with serialization.safe_globals([Config, Listed]):
        file.seek(0)
        config, listed = tgrad.load(file)
        assert config.n == 3 and type(listed) is Listed and listed == [1, 2]
        assert set(serialization.get_safe_globals()) == {Config, Listed}
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(Config, "elsewhere.Config")])
    try:
        body = named("elsewhere", "Config") + P.EMPTY_TUPLE + P.NEWOBJ
        body += P.EMPTY_DICT + text("n") + number(4) + P.SETITEM + P.BUILD
        assert load(body).n == 4
    finally:
        serialization.clear_safe_globals()
    with pytest.raises(ValueError, match="tuple of length 2"):
        serialization.add_safe_globals([(Config,)])
    with pytest.raises(TypeError, match="to be str"):
        serialization.add_safe_globals([(Config, 3)])
