"""The gate without a GPU: what it records, what it finds, and that every rule can fail."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tgrad import dtypes
from tgrad.dispatch import OPS
from tgrad.pointwise import Pointwise
from tgrad.runtime import recorder
from tgrad.runtime.recorder import Recorder, recording

pytest.importorskip("triton", reason="the gate compiles with Triton")
ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "kernels" / "cuda"


def run(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess:
    """Python with kernels as a GPU runs them: this process has them interpreted."""
    env = {**os.environ, "TRITON_INTERPRET": "0"}
    if cache is not None:
        env["TGRAD_CACHE_DIR"] = str(cache)
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=env
    )


def answer(*arguments: str) -> object:
    """What a run prints as JSON."""
    made = run(*arguments)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


# ---- the recorder --------------------------------------------------------------------------------


def test_addresses_are_aligned_and_never_overlap():
    gpu = Recorder()
    arrays = [gpu.empty((n,), np.dtype(d)) for n in (1, 0, 1000, 1 << 33) for d in ("i1", "f8")]
    assert all(a.ptr % recorder.ALIGN == 0 for a in arrays)
    assert all(a.ptr + a.nbytes <= b.ptr for a, b in itertools.pairwise(arrays))


def test_a_launch_is_recorded_and_an_empty_grid_is_not():
    gpu = Recorder()
    gpu.op = "add"
    a = gpu.empty((4, 8), np.dtype(np.float32))
    options = {"num_warps": 4, "num_stages": 3}
    gpu.launch("kernel", (0,), (a,), {}, **options)
    gpu.launch("kernel", (2, 3), (a, a.T, 5, 2.5), {"BLOCK": 64}, **options)
    (made,) = gpu.launches
    assert (made.op, made.kernel, made.grid, made.constants) == (
        "add",
        "kernel",
        (2, 3),
        {"BLOCK": 64},
    )
    assert made.args == (a, made.args[1], 5, 2.5)


def test_what_comes_from_the_host_goes_back_and_all_else_is_ones():
    gpu = Recorder()
    sizes = np.array([3, 4, 5])
    assert (gpu.to_host(gpu.from_host(sizes)) == sizes).all()
    assert (gpu.to_host(gpu.empty((2, 2), np.dtype(np.int64))) == 1).all()


def test_recording_refuses_interpreted_kernels():
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=0"), recording():
        pass


# ---- the samples ---------------------------------------------------------------------------------

REACHED = """
import json
from tgrad.kernels.gate.variants import variants, watched_ops
from tgrad.kernels.samples import samples
from tgrad.kernels.samples.matrix import every_tile
from tgrad.runtime.recorder import recording

every = [*samples(), *every_tile(90)]
ops = set()
with recording(), watched_ops(lambda op, ys, xs: ops.add(op.name)):
    for sample in every:
        sample.call(sample.dtypes[0])
kernels = {(v.kernel.fn.__code__.co_filename, v.name) for v in variants(every)}
print(json.dumps([sorted(ops), sorted(kernels)]))
"""


@pytest.fixture(scope="module")
def reached() -> tuple[set[str], set[tuple[str, str]]]:
    """The ops and the (file, name) of the kernels that the samples reach."""
    ops, kernels = answer("-c", REACHED)  # pyright: ignore[reportGeneralTypeIssues]
    return set(ops), {(file, name) for file, name in kernels}


def is_jit(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        ast.unparse(d).startswith("triton.jit") for d in node.decorator_list
    )


def written_kernels(path: Path) -> list[str]:
    """The launch kernels that stand in a file: by convention their names end in _kernel."""
    tree = ast.parse(path.read_text())
    return [n.name for n in ast.walk(tree) if is_jit(n) and n.name.endswith("_kernel")]  # pyright: ignore


def generated_kernels(path: Path) -> list[str]:
    """What the file names kernels after whose source it puts together: "<name ...>"."""
    return re.findall(r'f"<(\w+) ', path.read_text())


def test_every_launch_kernel_is_reached_by_a_sample(reached):
    kernels = reached[1]
    written = {
        (str(path.resolve()), n) for path in KERNELS.glob("*.py") for n in written_kernels(path)
    }
    found = {(str(Path(file).resolve()), name) for file, name in kernels}
    assert len(written) > 50
    missing = sorted(written - found)
    assert not missing


def test_every_generated_kernel_is_reached_by_a_sample(reached):
    names = {n for path in KERNELS.glob("*.py") for n in generated_kernels(path)}
    assert {"pointwise", "addressing"} <= names
    missing = sorted(names - {file[1:].split(" ")[0] for file, _ in reached[1] if file[0] == "<"})
    assert not missing


def complex_alone(name: str) -> bool:
    entry = OPS[name]
    return isinstance(entry, Pointwise) and entry.accepts == {dtypes.COMPLEX}


def test_every_op_with_a_cuda_kernel_is_reached_by_a_sample(reached):
    ours = [e for e in OPS.values() if e.card.__module__.startswith("tgrad.")]  # not of tests
    primitive = {e.name for e in ours if e.kind not in ("view", "composite")}
    aliases = {e.name for e in OPS.values() if e.name != e.card.__name__}
    on_host = {n for n in primitive if OPS[n].kernel("cuda") is None or complex_alone(n)}
    missing = sorted(primitive - aliases - on_host - reached[0])
    assert not missing


# ---- the rules -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken() -> dict[str, list[str]]:
    return answer("-m", "tests.broken_kernels")  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    "name, complaint",
    [
        ("strided", "loads 4 bytes at a time"),
        ("narrow", r"loads \d+% of its bytes 16 at a time"),
        ("spill", r"spills \d+ bytes"),
        ("sums", "multiplies matrices without tensor cores"),
        ("tiles", r"needs \d+ bytes of shared memory, sm_90 has 232448"),
        ("broken", "does not compile"),
        ("grid", r"launches a grid of \(1, 70000\)"),
    ],
)
def test_the_gate_finds(broken, name: str, complaint: str):
    assert any(re.match(complaint, said) for said in broken[name]), broken[name]


def test_the_gate_accepts_a_good_kernel_and_a_misaligned_one(broken):
    assert broken["good"] == broken["misaligned"] == []


CRASHING = """
import json, os
from types import SimpleNamespace
from tgrad.kernels.gate import facts

def facts_of(work):
    return os._exit(9) if work.crashes else facts.Facts(registers=work.number)

facts.facts_of = facts_of
work = [SimpleNamespace(family="", number=k, crashes=k == 3) for k in range(8)]
print(json.dumps(sorted((k, f.registers, f.error) for k, f in facts.all_facts(work, 2))))
"""


def test_a_crash_of_the_compiler_is_that_of_one_kernel():
    answers = answer("-c", CRASHING)
    died = [3, 0, "the compiler's process died"]
    assert answers == [died if k == 3 else [k, k, ""] for k in range(8)]


# ---- the command ---------------------------------------------------------------------------------


def test_one_variant_of_every_kernel_passes_on_sm_90():
    made = run("-m", "tgrad.kernels", "--check", "--arch", "sm_90", "--dtype", "bfloat16",
               "--first", "1")  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    compiled = re.search(r"(\d+) kernels compiled in \d+ s, 0 of them fail", made.stdout)
    assert compiled is not None and int(compiled[1]) > 60


SOFTMAX = ("-m", "tgrad.kernels", "--arch", "sm_80", "--family", "softmax", "--dtype", "float16",
           "--first", "1")  # fmt: skip


def test_results_are_stored_in_a_stable_order(tmp_path: Path):
    rows = []
    for jobs in ("1", "2"):
        file = tmp_path / f"{jobs}.json"
        made = run(*SOFTMAX, "--jobs", jobs, "--json", str(file), cache=tmp_path)
        assert made.returncode == 0, made.stdout + made.stderr
        assert re.search(r"softmax\.softmax_kernel +sm_80 +1 ", made.stdout)
        stored = json.loads(file.read_text())
        assert stored["columns"][-1] == "sm_80"
        rows.append([[*about, facts[:-1]] for *about, facts in stored["rows"]])
    assert rows[0] == rows[1]
    registers, spilled, _, load, wide, write, tensor_core, tma = rows[0][0][-1]
    assert 8 <= registers <= 255
    assert (spilled, load, wide, write, tensor_core, tma) == (0, 16, 100, 16, "", 0)


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (("--arch", "sm_70"), 2, "expected one of sm_80, sm_90, sm_100, got 'sm_70'"),
        (("--dtype", "float8"), 2, "invalid choice: 'float8'"),
        (("--family", "sotfmax"), 2, "no sample is of these families, kernels and dtypes"),
    ],
)
def test_a_wrong_choice_is_named(arguments, status: int, said: str):
    made = run("-m", "tgrad.kernels", *arguments)
    assert made.returncode == status
    assert said in made.stderr


COSTS = """
import json
from tgrad.kernels.gate.variants import costs
from tgrad.kernels.samples import Sample, t

linear = Sample("matmul", "nn.functional.linear", (t(64, 32), t(16, 32), t(16)), {}, (), True)
conv = Sample("conv", "nn.functional.conv2d", (t(2, 8, 10, 10), t(4, 4, 3, 3)), {"groups": 2}, (),
              True)
wide = Sample("pointwise", "add", (t(64, 32, layout="expanded"), t(64, 32)), {}, (), False)
print(json.dumps([costs(s, "float16") for s in (linear, conv, wide)]))
"""


def test_bytes_and_flops_follow_from_the_shapes():
    linear, conv, wide = answer("-c", COSTS)  # pyright: ignore[reportGeneralTypeIssues]
    ops = {op: (moved, flops) for op, moved, flops in linear}
    assert ops["linear"] == (2 * (64 * 32 + 16 * 32 + 16 + 64 * 16), 2 * 64 * 16 * 32)
    assert [flops for _, _, flops in linear].count(2 * 64 * 16 * 32) == 3
    each = 2 * 2 * 4 * 8 * 8 * (4 * 3 * 3)
    assert [flops for _, _, flops in conv] == [each] * 3
    assert wide == [["add", 2 * (32 + 64 * 32 + 64 * 32), 0]]
