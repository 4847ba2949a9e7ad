"""Compiling kernels: cache, key, errors and worker processes. No GPU, torch or C compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_kernels import broken_kernel, double_kernel
from tgrad.runtime import binaries
from tgrad.runtime.compiler import CompileError, Job, compile, constant
from tgrad.runtime.warmup import warm_up

ROOT = Path(__file__).resolve().parents[1]
SIGNATURE = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32", "scale": "fp32"}
JOB = Job(double_kernel, SIGNATURE, {}, ("y_ptr", "x_ptr"), 90, {})
BROKEN = Job(broken_kernel, {"y_ptr": "*fp32"}, {"BLOCK": 65}, ("y_ptr",), 90, {})

PREPARE = """
import sys
from tests.small_kernels import broken_kernel, described_kernel, double_kernel, doubled
from tgrad.runtime import compiler
from tgrad.runtime.compiler import CompileError, Job, complete, key_of
SIGNATURE = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32", "scale": "fp32"}
def get(constants={}, divisible=("y_ptr", "x_ptr"), arch=90, **options):
    return compiler.compile(double_kernel, SIGNATURE, constants, divisible, arch, **options)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TGRAD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def script(code: str, **environment: str) -> subprocess.Popen:
    """Python code in a process that compiles, in an environment of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PREPARE + code],
        env={**os.environ, "TRITON_INTERPRET": "0", **environment},
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def output(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip()


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*" + binaries.SUFFIX))


def test_needs_neither_torch_nor_a_c_compiler_and_leaves_nothing_in_the_home(
    cache: Path, tmp_path: Path
):
    home = tmp_path / "home"
    home.mkdir()
    made = script(
        "b = get(); print(b.name, b.num_warps, 'torch' in sys.modules, '.entry double' in b.ptx)\n"
        "print(b.cubin[:4], [name for name, _ in b.parameters])",
        CC="/bin/false",
        HOME=str(home),
        TGRAD_CACHE_DIR="",
        XDG_CACHE_HOME="",
    )
    assert output(made).split("\n") == [
        "double_kernel 4 False True",
        "b'\\x7fELF' ['y_ptr', 'x_ptr', 'n', 'scale']",
    ]
    assert os.listdir(home) == [".cache"]
    assert len(entries(home / ".cache" / "tgrad" / "kernels")) == 1


def test_a_later_process_compiles_nothing(cache: Path):
    made = output(script("print(get())"))
    again = "compiler.build = lambda job: sys.exit('compiled again')\nprint(get())"
    assert output(script(again)) == made


def test_a_damaged_entry_is_made_again(cache: Path):
    (made,) = warm_up([JOB], 1)
    (entry,) = entries(cache)
    whole = entry.read_bytes()
    assert binaries.unpack(whole) == made
    changed = bytearray(whole)
    changed[-40] ^= 1
    for damaged in (whole[:-100], bytes(changed), b"", b"\n", b"\xff" * 200):
        entry.write_bytes(damaged)
        assert binaries.load(entry.parent.name + entry.stem) is None
    assert isinstance(warm_up([JOB], 1)[0], binaries.Binary)
    assert binaries.unpack(entry.read_bytes()) is not None


def test_processes_share_the_cache(cache: Path):
    processes = [script("for warps in (1, 2): print(get(num_warps=warps)[:8])") for _ in "ab"]
    first, second = map(output, processes)
    assert first == second
    assert len(entries(cache)) == 2
    assert not [p for p in cache.rglob("*") if p.is_file() and p.suffix != binaries.SUFFIX]


def test_a_cache_that_cannot_be_written_warns_once(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    code = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always'); get(); get()\n"
        "print([str(w.message).split(' and are')[0][:41] for w in told])"
    )
    made = script(code, TGRAD_CACHE_DIR=str(tmp_path / "file" / "below"))
    assert output(made) == "['compiled kernels cannot be kept in /tmp/p']".replace(
        "/tmp/p", str(tmp_path)[:6]
    )


def test_the_key_tells_apart_all_that_changes_the_code(cache: Path):
    code = """
import triton.language as tl
from triton._C import libtriton
base = Job(double_kernel, SIGNATURE, {}, ("y_ptr",), 90, {})
jobs = [
    base, base._replace(arch=80), base._replace(divisible=("x_ptr",)), base._replace(divisible=()),
    base._replace(options={"num_warps": 8}), base._replace(options={"enable_fp_fusion": False}),
    base._replace(constants={"BLOCK": 128}), base._replace(constants={"BLOCK": 128.0}),
    base._replace(constants={"BLOCK": True}), base._replace(constants={"BLOCK": 1}),
    base._replace(constants={"F": broken_kernel}), base._replace(constants={"F": tl.float32}),
    base._replace(signature={**SIGNATURE, "n": "i64"}), base._replace(kernel=described_kernel,
        signature={"y_ptr": "*fp32", "x_ptr": "*fp32", "rows": "i32", "columns": "i32",
                   "stride_xm": "i64"}),
]
keys = [key_of(complete(job)) for job in jobs]
order = dict(reversed(SIGNATURE.items()))
assert key_of(complete(base._replace(signature=order))) == keys[0]
assert key_of(complete(base._replace(constants={"BLOCK": 64}))) == keys[0]  # the default
compiler.toolchain.cache_clear()
libtriton.get_cache_invalidating_env_vars = lambda: {"TRITON_SOMETHING": "1"}
keys.append(key_of(complete(base)))
print(len(keys), len(set(keys)))
"""
    assert output(script(code)) == "15 15"


def test_the_key_follows_the_source_of_what_is_called(cache: Path, tmp_path: Path):
    text = (ROOT / "tests" / "small_kernels.py").read_text()
    keys = []
    for name, factor in (("one", 2), ("two", 3)):
        (tmp_path / f"{name}.py").write_text(text.replace("x * 2", f"x * {factor}"))
        code = (
            f"import {name}; job = Job({name}.double_kernel, SIGNATURE, {{}}, (), 90, {{}})\n"
            "print(key_of(complete(job)))"
        )
        keys.append(output(script(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")))
    assert keys[0] != keys[1]


def test_constants_of_equal_value_and_other_type_differ():
    values = (1, True, 1.0, "1", None, (1, 2), (1, 2.0), 0.0, -0.0)
    assert len({constant(v) for v in values}) == len(values)


def test_a_kernel_that_makes_descriptors_says_what_scratch_it_needs(cache: Path):
    code = (
        "b = compiler.compile(described_kernel, {'y_ptr': '*fp32', 'x_ptr': '*fp32', 'rows': 'i32',"
        " 'columns': 'i32', 'stride_xm': 'i64'}, {}, ('y_ptr', 'x_ptr', 'stride_xm'), 90)\n"
        "print(b.global_scratch >= 128, b.shared >= 64 * 64 * 4)"
    )
    assert output(script(code)) == "True True"


def test_a_compile_error_names_kernel_types_constants_and_options(cache: Path):
    (error,) = warm_up([BROKEN], 1)
    assert isinstance(error, CompileError)
    for part in ("broken_kernel does not compile for sm_90", "y_ptr: *fp32 (x16)", "BLOCK=65",
                 "enable_fp_fusion=True", "power of 2"):  # fmt: skip
        assert part in str(error)
    assert not entries(cache)


def test_workers_compile_for_a_process_that_interprets(cache: Path):
    from tgrad.dispatch import OPS
    from tgrad.kernels.cuda import pointwise, pointwise_source

    # Source and expression are made at run time; a worker finds neither in a module.
    tl = pytest.importorskip("triton.language")
    generated = Job(
        pointwise_source.flat("ya", "ff", 0, False),
        {"y0_ptr": "*fp32", "x0_ptr": "*bf16", "n": "i32"},
        {"F": pointwise.compiled(OPS["neg"].card), "T": tl.float32, "WIDE": False, "BLOCK": 256},
        ("y0_ptr", "x0_ptr"),
        90,
        {"num_warps": 2},
    )
    results = warm_up([JOB, BROKEN, generated], 2)
    assert [type(r) for r in results] == [binaries.Binary, CompileError, binaries.Binary]
    assert "ld.global" in results[2].ptx  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(CompileError, match="imported under TRITON_INTERPRET=1"):
        compile(*JOB[:5])


def test_a_crash_of_the_compiler_ends_one_job(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A module that ends the process that imports it, if that compiles.
    text = (ROOT / "tests" / "small_kernels.py").read_text()
    trap = "import os\nif os.environ['TRITON_INTERPRET'] == '0':\n    os._exit(3)\n"
    (tmp_path / "crashing.py").write_text(trap + text)
    monkeypatch.syspath_prepend(str(tmp_path))
    crashing = __import__("crashing")
    results = warm_up([JOB._replace(kernel=crashing.double_kernel), JOB], 1)
    assert "ended with code 3" in str(results[0])
    assert isinstance(results[1], binaries.Binary)


def test_missing_and_unknown_arguments_raise(cache: Path):
    results = warm_up([JOB._replace(signature={"y_ptr": "*fp32"}),
                       JOB._replace(constants={"BLOK": 1})], 1)  # fmt: skip
    assert "no type or value for argument 'x_ptr'" in str(results[0])
    assert "has no argument 'BLOK'" in str(results[1])
