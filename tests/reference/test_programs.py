"""The same program on torch and on tgrad: one text, the import line changed, the same numbers."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from tests.test_programs import PROGRAMS

torch = pytest.importorskip("torch", reason="torch is not installed")

FOLDER = Path(__file__).parents[1] / "programs"
NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?")


def run(source: str, name: str, capsys) -> tuple[list[float], str]:
    module = types.ModuleType(f"program_{name}")
    sys.modules[module.__name__] = module  # where dataclasses look names up
    try:
        exec(compile(source, name, "exec", dont_inherit=True), vars(module))
        return module.main(), capsys.readouterr().out
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_the_numbers_and_the_text_it_gives_on_torch(name, capsys):
    source = (FOLDER / f"{name}.py").read_text()
    theirs = re.sub(r"^import tgrad as torch$", "import torch", source, flags=re.M)
    theirs = re.sub(r"^(import|from) tgrad\b", r"\1 torch", theirs, flags=re.M)
    assert "tgrad" not in theirs
    ours, our_text = run(source, name, capsys)
    want, their_text = run(theirs, name, capsys)
    assert ours == pytest.approx(want, rel=2e-3, abs=2e-4)
    words = [NUMBER.sub("#", t).replace("tgrad", "torch").split() for t in (our_text, their_text)]
    assert words[0] == words[1]
