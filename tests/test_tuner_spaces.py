"""Spaces: every kernel has one or a reason to have none, and every config computes what it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="kernels are written in Triton")

from tests.test_gate import KERNELS, generated_kernels, written_kernels
from tgrad.kernels.cuda.configs import SPACES, array, choosing, example
from tgrad.tuner import arms, discover, session, shapes
from tgrad.tuner.fixed import FIXED

ROOT = Path(__file__).resolve().parents[1]
session.every_kernel()
TRIED = 6  # configs of a kernel, from the likeliest to the least likely


def tasks_of(kernel: str) -> list[discover.Task]:
    found = discover.of_samples(shapes.tiny_shapes([kernel]), 0)
    return [t for t in found if t.case.kernel == kernel]


@pytest.mark.parametrize("kernel", sorted(SPACES))
def test_every_config_gives_the_results_of_numpy(kernel):
    tasks = tasks_of(kernel)
    assert tasks, "its tiny call does not ask for a config"
    for task in tasks[:1]:
        line = arms.lineup(task, 0, 10_000)
        blocks = {tuple(arms.fingerprint(n)[:3] for n in a.launches): a for a in line.arms}
        every = list(blocks.values())
        inputs = session.Inputs(line, 0, emulated=True)
        want = inputs.wanted()
        for arm in every[:: -(-len(every) // TRIED)]:
            with choosing(task.case, arm.config):
                assert inputs.disagreement(want) == "", arm.config


# ---- on a GPU, of which there is only a recorder -------------------------------------------------

LONG = 1 << 20  # of rows that are split, and sorted by radix
LARGE = [  # calls that take other ways than the tiny ones
    example("softmax", array(4, LONG), 1, backward=True),
    example("nn.functional.layer_norm", array(4, LONG), (LONG,), backward=True),
    example("nn.functional.cross_entropy", array(4, LONG), array(4, dtype="int64"), backward=True),
    example("sort", array(4, LONG)),
    example("topk", array(4, LONG), 8),
    {**example("matmul", array(4096, 4096), array(4096, 4096)), "dtype": "bfloat16"},
]
CHOSEN = """
import json, os, sys
from tgrad.tuner import arms, discover, session, shapes

session.every_kernel()
large = [discover.sample_of(fields) for fields in json.load(sys.stdin)]
tuned, done = set(), set()
for task in discover.of_samples([*shapes.tiny_shapes(), *large], 90):
    key = task.case.kernel, task.case.kind
    if key[0] in ("matmul", "pointwise") and key in done:
        continue
    done.add(key)
    ways = [
        {(n.kernel.fn.__code__.co_filename, n.kernel.__name__, arms.fingerprint(n))
         for n in arm.launches}
        for arm in arms.lineup(task, 90, 4).arms
    ]
    same = set.intersection(*ways)
    tuned |= {(file, name) for way in ways for file, name, print in way - same}
print(json.dumps(sorted(tuned)))
"""


def outside(*arguments: str, stdin: str = "") -> str:
    """What Python prints where kernels are as a GPU runs them."""
    made = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True,
        env={**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_every_kernel_has_a_space_or_a_reason_to_have_none():
    every = {f"{p.stem}.{n}" for p in KERNELS.glob("*.py") for n in written_kernels(p)}
    every |= {n for p in KERNELS.glob("*.py") for n in generated_kernels(p)}
    found = json.loads(outside("-c", CHOSEN, stdin=json.dumps(LARGE)))
    tuned = {
        file[1:].split(" ")[0] if file[0] == "<" else f"{Path(file).stem}.{name}"
        for file, name in found
    }
    assert sorted(every - tuned) == sorted(FIXED)
    assert all(FIXED.values())


def survivors(said: str) -> dict[str, int]:
    """From a dry run's answer, the fewest configs that survive of a kernel's cases."""
    found: dict[str, int] = {}
    for part in said.strip().split("\n\n"):
        head, *lines = part.splitlines()
        rows = [line for line in lines if line.split()[0].isdigit() and "%" in line]
        kernel = head.split()[0]
        found[kernel] = min(found.get(kernel, 99), len(rows))
    return found


RACED = ("batch_norm", "cat", "dropout", "embedding", "extrema", "gather", "max_pool2d", "resample",
         "scan", "sort", "update", "var_mean")  # fmt: skip


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_a_dry_run_ranks_two_configs_that_fit(arch, tmp_path):
    kernels = RACED[("sm_80", "sm_90", "sm_100").index(arch) :: 3]
    file = tmp_path / "shapes"
    calls = {json.dumps(SPACES[k].tiny) for k in kernels}
    file.write_text("\n".join(sorted(calls)))
    options = ["--dry-run", "--most", "1", "--jobs", "1", "--budget", "10m"]
    said = survivors(
        outside(
            "-m", "tgrad.cli", "tune", *kernels, "--arch", arch, "--shapes", str(file), *options
        )
    )
    assert set(said) == set(kernels)
    assert min(said.values()) >= 2, said
