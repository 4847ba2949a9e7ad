"""The README's code runs as it stands, and its commands are what CI runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tgrad import cli
from tgrad.dispatch import OPS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.S | re.M)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]


def test_every_block_is_python_or_shell():
    assert {language for language, _ in BLOCKS} == {"python", "sh"} and len(PYTHON) >= 4


@pytest.fixture(autouse=True)
def no_choices_are_left():
    """What a block tunes is forgotten after it, when the environment is again what it was."""
    yield
    if "tgrad.kernels.cuda.configs" in sys.modules:
        sys.modules["tgrad.kernels.cuda.configs"].reread()


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_blocks_run(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TGRAD_TUNED", str(tmp_path / "tuned.sqlite"))
    path = tmp_path / f"readme_{number}.py"  # a file, since Triton reads a kernel's source
    path.write_text(PYTHON[number])
    if "import triton" in PYTHON[number] and importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    before = set(OPS)
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    finally:
        for name in set(OPS) - before:
            del OPS[name]
    printed = capsys.readouterr().out
    for line, comment in re.findall(r"^print\((.*)\)  # .*?(tensor\(.*\))$", PYTHON[number], re.M):
        assert comment in printed, line


def test_the_training_loop_learns(tmp_path: Path):
    names: dict = {}
    exec(PYTHON[0], names)
    assert names["accuracy"] > 0.9


@pytest.mark.parametrize("command", [c for c in COMMANDS if "tgrad" in c.split()])
def test_commands_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    arguments = words[words.index("tgrad") + 1 :]
    if "--plot" in arguments and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    if arguments[0] == "demo":
        arguments += ["--steps", "2"]
    if arguments[0] == "tune":
        ready_to_tune(tmp_path, monkeypatch)
        if "--dry-run" in arguments:
            dry_run(arguments)
            return
    assert cli.main(arguments) == 0


TRAIN = """
import tgrad
x = tgrad.ones(4, 24, device="cuda")
tgrad.softmax(tgrad.nn.functional.layer_norm(x, (24,)), 1)
"""


def ready_to_tune(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program and a table with a choice, as the README's reader has them, and one config more
    than the rule to race."""
    pytest.importorskip("triton", reason="kernels are written in Triton")
    from tgrad.kernels.cuda import configs
    from tgrad.runtime.tuned import Choice
    from tgrad.tuner import session
    from tgrad.tuner.table import Place, Table, Trial, export

    monkeypatch.setattr(session, "MOST_EMULATED", 1)
    monkeypatch.setenv("TGRAD_TUNED", str(folder / "tuned.sqlite"))
    (folder / "train.py").write_text(TRAIN)
    case = ("softmax", "16-bit", 90, (8192, 4096, 1), "rows")
    config = {"block_t": 1, "block_n": 4096, "num_warps": 8}
    choice = Choice("a GPU", "3.9", case, config, 1.0, 2.0, "{}", 1.0)
    for name in ("old", "choices"):
        export(folder / f"{name}.json", [choice])
    with Table(folder / "tuned.sqlite") as table:
        table.choose(choice)
        place = Place("a GPU", "3.9", configs.Case(*case))
        table.add(place, Trial(config, "raced", 3, 1.0, 1.0, 1.0, 40, 0, 64))


def dry_run(arguments: list[str]) -> None:
    """In a process whose kernels are compiled."""
    made = subprocess.run(
        [sys.executable, "-m", "tgrad.cli", *arguments],
        env={**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert "candidates survive" in made.stdout


def test_ci_runs_the_readmes_test_command():
    assert "pip install . && tgrad demo" in COMMANDS
    assert "pip install -e '.[test]' && pytest" in COMMANDS
    assert "pip install -e '.[test]' && pytest" in (ROOT / ".ci/run").read_text()


def test_every_environment_variable_is_in_the_readme():
    found = set()
    for folder in ("tgrad", "kernels", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r"environ[^\n]*?\"((?:TGRAD|TRITON)_\w+)\"", path.read_text()))
    assert found and all(f"`{name}" in TEXT for name in found)
