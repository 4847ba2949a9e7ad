"""Tuning from end to end: raced, killed, gone on with, and used by the next launch."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton", reason="kernels are written in Triton")

import tgrad
from tests.fake_driver import on_fake_driver
from tgrad import cli
from tgrad.kernels.cuda import configs
from tgrad.kernels.cuda.rows import RowConfig
from tgrad.runtime import cuda, tuned
from tgrad.tuner import session
from tgrad.tuner.table import Table, export

ROOT = Path(__file__).resolve().parents[1]
TWO = {"block_t": (1, 2), "block_n": (32,), "num_warps": (1,)}  # and the kernel's own rule


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A table of the test's own, and a softmax whose space has two configs."""
    place = tmp_path / "tuned.sqlite"
    monkeypatch.setenv("TGRAD_TUNED", str(place))
    session.every_kernel()
    space = configs.SPACES["softmax"]
    monkeypatch.setitem(configs.SPACES, "softmax", space._replace(values=TWO))
    configs.reread()
    yield place
    monkeypatch.undo()
    configs.reread()


def softmax():
    """Rows of 30: one tile of 32 in the space, and one by the rule."""
    return tgrad.softmax(tgrad.ones(6, 30, device="cuda"), 1)


def launched(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The constants of the softmax that is launched next."""
    found: list[dict] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            cuda.active(), "launch", lambda k, g, a, constants, **o: found.append(constants)
        )
        softmax()
    return found[-1]


def test_a_choice_is_used_by_the_next_launch_and_by_later_processes(file, monkeypatch):
    before = launched(monkeypatch)
    assert before["BLOCK_T"] == 8
    monkeypatch.setattr(session.Session, "timed", by_rule_slower)
    (outcome,) = tgrad.tune("softmax", run=softmax, budget=1, progress=False)
    assert (outcome.state, outcome.raced) == ("tuned", 3)
    choice = outcome.choice
    assert choice is not None and choice.config is not None and choice.us < choice.rule_us
    after = launched(monkeypatch)
    assert (after["BLOCK_T"], after["BLOCK_N"]) == (2, 32)
    configs.reread()  # as another process would
    assert launched(monkeypatch)["BLOCK_T"] == 2
    (again,) = tgrad.tune("softmax", run=softmax, progress=False)
    assert (again.state, again.choice) == ("kept", choice)


def by_rule_slower(self, line, arm, seconds):
    """As ``Session.timed``, on a clock by which larger tiles are faster and the rule is slowest."""
    arm.us = 9.0 if arm.is_rule else 4.0 / arm.config.block_t
    arm.rounds.append(arm.us)


def test_a_config_that_gains_less_than_noise_leaves_the_rule(file, monkeypatch):
    def alike(self, line, arm, seconds):
        arm.us = 1.0 if arm.is_rule else 0.995
        arm.rounds.append(arm.us)

    monkeypatch.setattr(session.Session, "timed", alike)
    (outcome,) = tgrad.tune("softmax", run=softmax, progress=False)
    assert outcome.choice is not None and outcome.choice.config is None
    assert launched(monkeypatch)["BLOCK_T"] == 8


def test_a_config_with_wrong_results_is_never_chosen(file, monkeypatch):
    monkeypatch.setattr(session.Session, "timed", by_rule_slower)
    right = cuda.active().launch

    def launch(kernel, grid, args, constants, **options):
        if constants.get("BLOCK_T") == 2:  # the fastest: forgets its last rows
            grid = (grid[0] - 1, *grid[1:])
        right(kernel, grid, args, constants, **options)

    monkeypatch.setattr(cuda.active(), "launch", launch)
    (outcome,) = tgrad.tune("softmax", run=softmax, progress=False)
    assert outcome.choice is not None and outcome.choice.config == {
        "block_t": 1, "block_n": 32, "num_warps": 1
    }  # fmt: skip
    with Table(file) as table:
        (place,) = table.cases()
        states = {str(t.config): (t.state, t.note) for t in table.trials(place)}
    state, note = states[str({"block_t": 2, "block_n": 32, "num_warps": 1})]
    assert state == "wrong" and "elements of output 0 differ" in note


def test_deterministic_mode_freezes_choices(file, monkeypatch):
    tgrad.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="freezes kernels' configs"):
            tgrad.tune("softmax", run=softmax, progress=False)
        assert not file.exists()
        case = configs.Case("softmax", "32-bit", 0, (6, 30, 1), "rows")
        with pytest.raises(RuntimeError, match="configs are frozen"):
            configs.override({case: RowConfig(2, 32, 1)})
        assert launched(monkeypatch)["BLOCK_T"] == 8
    finally:
        tgrad.use_deterministic_algorithms(False)


def test_a_launch_never_tunes_and_asks_files_once(file, monkeypatch):
    asked = []
    read = tuned.choices
    monkeypatch.setattr(tuned, "choices", lambda name: asked.append(name) or read(name))
    for n in (5, 6, 7):
        tgrad.softmax(tgrad.ones(n, 30, device="cuda"), 1)
    assert asked == ["emulated"] and not file.exists()


def test_a_stored_config_that_the_kernel_no_longer_has_is_not_used(file, monkeypatch):
    case = ("softmax", "32-bit", 0, (8, 32, 1), "rows")
    with Table(file) as table:
        for fields in ({"block_t": 2, "block_n": 24, "num_warps": 1}, {"tile": 5}):
            stored = tuned.Choice(
                "emulated", tuned.triton_version(), case, fields, 1.0, 2.0, "{}", 1.0
            )
            table.choose(stored)
            configs.reread()
            with pytest.warns(RuntimeWarning, match="none that this version has"):
                assert launched(monkeypatch)["BLOCK_T"] == 8


def test_a_choice_of_another_triton_or_gpu_is_not_used(file, monkeypatch):
    case = ("softmax", "32-bit", 0, (8, 32, 1), "rows")
    fields = {"block_t": 2, "block_n": 32, "num_warps": 1}
    with Table(file) as table:
        table.choose(tuned.Choice("emulated", "2.0", case, fields, 1.0, 2.0, "{}", 1.0))
        table.choose(
            tuned.Choice("H100", tuned.triton_version(), case, fields, 1.0, 2.0, "{}", 1.0)
        )
    configs.reread()
    assert launched(monkeypatch)["BLOCK_T"] == 8


def test_the_users_table_comes_before_the_shipped_one(file, tmp_path, monkeypatch):
    case = ("softmax", "32-bit", 0, (8, 32, 1), "rows")
    one, two = (
        tuned.Choice("emulated", tuned.triton_version(), case,
                     {"block_t": t, "block_n": 32, "num_warps": 1}, 1.0, 2.0, "{}", 1.0)
        for t in (1, 2)
    )  # fmt: skip
    monkeypatch.setattr(tuned, "SHIPPED", tmp_path / "tuned.json")
    export(tuned.SHIPPED, [one])
    configs.reread()
    assert launched(monkeypatch)["BLOCK_T"] == 1
    with Table(file) as table:
        table.choose(two)
    configs.reread()
    assert launched(monkeypatch)["BLOCK_T"] == 2
    tuned.SHIPPED.write_text("{}")
    file.unlink()
    configs.reread()
    with pytest.warns(RuntimeWarning, match="shipped choices are not used"):
        assert launched(monkeypatch)["BLOCK_T"] == 8


# ---- killed --------------------------------------------------------------------------------------

TUNING = """
import sys
from tests.test_tuner_run import TWO
from tgrad import cli
from tgrad.kernels.cuda import configs
from tgrad.tuner import session

session.every_kernel()
configs.SPACES["softmax"] = configs.SPACES["softmax"]._replace(values=TWO)
timed = session.Session.timed
write = session.Session.write

def slowly(self, line, arm, seconds):
    timed(self, line, arm, seconds)
    print("timed", flush=True)

def written(self, *args):
    write(self, *args)
    print("written", flush=True)
    if "stop" in sys.argv:
        sys.stdin.read()  # until it is killed

session.Session.timed, session.Session.write = slowly, written
status = cli.main(["tune", "softmax", "--shapes", sys.argv[1], "--budget", "1s"])
print("status", status, flush=True)
sys.exit(status)
"""


def start(shapes: Path, *arguments: str, program: str = TUNING) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(shapes), *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_half_way_it_keeps_what_is_done_and_goes_on(file, tmp_path, number):
    shapes = tmp_path / "shapes"
    shapes.write_text('{"call": "softmax", "args": [{"shape": [6, 30]}, 1]}')
    first = start(shapes, "stop")
    assert first.stdout is not None
    while first.stdout.readline() != "written\n":
        assert first.poll() is None
    first.send_signal(number)
    _, said = first.communicate(timeout=120)
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert "0 of 1 cases done" in said and said.endswith("tgrad tune: interrupted\n")
    with Table(file) as table:
        (place,) = table.cases()
        assert [t.rung for t in table.trials(place)] == [1] and table.choices() == []
    second = start(shapes)
    out, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    # Three configs in two rounds of 3 and 1, of which one was timed before; and twice two at last
    # where the winner is not the rule.
    assert out.split().count("timed") in (3, 3 + 4)
    assert "1 of 1 cases done" in said and "say nothing about a GPU" in said
    with Table(file) as table:
        assert len(table.choices()) == 1 and len(table.trials(place)) == 3
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---- configs that break what they run in ---------------------------------------------------------

DYING = TUNING.replace(
    "def slowly(self, line, arm, seconds):",
    """import os, signal

def slowly(self, line, arm, seconds):
    if not arm.is_rule and arm.config.block_t == 2:
        os.kill(os.getpid(), signal.SIGSEGV)""",
)


def test_a_config_that_ends_its_process_is_not_met_again(file, tmp_path):
    shapes = tmp_path / "shapes"
    shapes.write_text('{"call": "softmax", "args": [{"shape": [6, 30]}, 1]}')
    first = start(shapes, program=DYING)
    first.communicate(timeout=120)
    assert first.returncode == -signal.SIGSEGV
    second = start(shapes, program=DYING)
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    with Table(file) as table:
        (place,) = table.cases()
        notes = {str(t.config): (t.state, t.note) for t in table.trials(place)}
        assert len(table.choices()) == 1
    killer = {"block_t": 2, "block_n": 32, "num_warps": 1}
    assert notes.pop(str(killer)) == ("running", session.ENDED)
    assert {state for state, _ in notes.values()} == {"raced"}


def test_a_fault_that_the_gpu_does_not_recover_from_is_put_down_to_its_config(file, monkeypatch):
    gpu = cuda.active()
    right, broken = gpu.launch, []

    def launch(kernel, grid, args, constants, **options):
        if constants.get("BLOCK_T") == 2:
            broken.append(True)
            raise RuntimeError("an illegal memory access was encountered")
        right(kernel, grid, args, constants, **options)

    def synchronize(index=None):
        if broken:
            raise RuntimeError("an illegal memory access was encountered, earlier")

    with monkeypatch.context() as patch:
        patch.setattr(gpu, "launch", launch)
        patch.setattr(gpu, "synchronize", synchronize)
        with pytest.raises(RuntimeError, match="illegal memory access"):
            tgrad.tune("softmax", run=softmax, progress=False)
    (outcome,) = tgrad.tune("softmax", run=softmax, progress=False)
    assert (outcome.state, outcome.raced) == ("tuned", 2)
    ((reason, count),) = outcome.discarded
    assert count == 1 and reason == "RuntimeError: an illegal memory access was encountered"


def test_an_interrupted_config_is_not_to_blame(file, monkeypatch):
    timed = session.Session.timed

    def interrupted(self, line, arm, seconds):
        if not arm.is_rule:
            raise KeyboardInterrupt
        timed(self, line, arm, seconds)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "timed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tgrad.tune("softmax", run=softmax, progress=False)
    (outcome,) = tgrad.tune("softmax", run=softmax, progress=False)
    assert (outcome.raced, outcome.discarded) == (3, ())


# ---- from a program ------------------------------------------------------------------------------

PROGRAM = """
import sys
import tgrad
from tgrad import nn

device = "cuda" if tgrad.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Linear(12, int(sys.argv[1])), nn.ReLU()).to(device)
optimizer = tgrad.optim.Adam(model.parameters())
for n in (5, 6, 7):  # of one bucket
    loss = tgrad.softmax(model(tgrad.randn(n, 12, device=device)), 1).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("ran on", device, loss.item() > 0)
"""


def test_a_programs_own_shapes_are_tuned_on_the_emulator(file, tmp_path, capfd):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    arguments = ["--from-run", f"{script} 30", "--budget", "1s"]
    assert cli.main(["tune", "softmax", *arguments]) == 0
    out, _ = capfd.readouterr()
    assert "ran on cuda True" in out
    with Table(file) as table:
        (choice,) = table.choices()
    assert choice.case[0] == "softmax" and choice.case[3] == (8, 32, 1)
    script.write_text("raise SystemExit(3)")
    assert cli.main(["tune", *arguments]) == 1
    assert "ended with code 3" in capfd.readouterr().err


def test_without_a_gpu_candidates_for_a_programs_shapes_are_ranked(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    made = subprocess.run(
        [sys.executable, "-m", "tgrad.cli", "tune", "softmax", "--arch", "sm_80", "--dry-run",
         "--from-run", f"{script} 30", "--most", "2", "--jobs", "1"],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    ran, head, counts, columns, *rows = made.stdout.splitlines()
    assert ran == "ran on cuda True"  # though nothing is computed
    assert head.startswith("softmax 32-bit rows 8x32x1 sm_80: _softmax(5x30) float32")
    assert "on a A100 SXM 80GB; 3 of 3 candidates survive, 0 were not compiled" in counts
    assert columns.split()[-2:] == ["predicted", "us"]
    ranked = [row.split() for row in rows if row]
    assert [row[0] for row in ranked] == ["1", "2", "3"]
    assert sum("(the rule)" in row for row in rows) == 1
    times = [float(row[-1]) for row in ranked]
    registers = [int(row[-4]) for row in ranked]
    assert times == sorted(times) and all(8 <= r <= 255 for r in registers)


# ---- on a driver ---------------------------------------------------------------------------------


@on_fake_driver(arch=90, memory=1 << 30)
def test_a_gpu_that_computes_nothing_gets_no_choice(tmp_path):
    """The whole way on a driver: compiled in workers, captured, timed by events, held against
    NumPy, and turned down."""
    place = tmp_path / "tuned.sqlite"
    os.environ["TGRAD_TUNED"] = str(place)
    session.every_kernel()
    configs.SPACES["softmax"] = configs.SPACES["softmax"]._replace(values=TWO)
    session.COMPILING = 1000.0  # of a second, however long it takes
    (outcome,) = tgrad.tune("softmax", run=softmax, budget=1, jobs=1, progress=False)
    assert outcome.state == "no config gave right results"
    with Table(place) as table:
        (case,) = table.cases()
        trials = table.trials(case)
        assert table.choices() == [] and case.device == "Fake GPU 0"
    assert [t.state for t in trials] == ["wrong"] * 3, trials
    assert all(t.registers and t.registers > 8 and t.spilled == 0 for t in trials)
    assert np.isfinite([t.us for t in trials if t.us is not None]).all()
