"""The examples run, with fewer steps, and show what they say they show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tgrad
from tgrad.examples import char_lstm, digits, imbalanced

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["char_lstm", "digits", "imbalanced"])
def test_help_says_what_an_example_does(name: str):
    command = [sys.executable, "-m", f"tgrad.examples.{name}", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and f"python -m tgrad.examples.{name}" in run.stdout
    assert "--seed" in run.stdout and len(run.stdout) > 500


def weights_in(path: Path) -> list[np.ndarray]:
    return [v.numpy() for v in tgrad.load(path)["model"].values()]


def test_digits_stopped_and_resumed_are_digits_in_one_go(tmp_path: Path, capsys):
    pytest.importorskip("PIL", reason="Pillow is not installed")
    common = ["--epochs", "2", "--limit", "96", "--batch-size", "16", "--seed", "3"]
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    first = digits.main([*common, "--checkpoint", str(whole)])
    digits.main([*common, "--checkpoint", str(parts), "--stop-after", "1"])
    assert tgrad.load(parts)["epoch"] == 1
    second = digits.main([*common, "--checkpoint", str(parts), "--resume", "--workers", "1"])
    assert first == second
    for a, b in zip(weights_in(whole), weights_in(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "going on after epoch 1 of 2" in capsys.readouterr().out
    again = digits.main([*common, "--checkpoint", str(whole), "--resume"])  # nothing is left to do
    assert again == first
    with pytest.raises(SystemExit, match="the same --epochs"):
        digits.main([*common[2:], "--epochs", "3", "--checkpoint", str(whole), "--resume"])


def test_digits_are_learned(capsys):
    pytest.importorskip("PIL", reason="Pillow is not installed")
    assert digits.main(["--epochs", "2", "--limit", "500"]) > 0.4


def test_resuming_needs_a_checkpoint(capsys):
    with pytest.raises(SystemExit):
        digits.main(["--resume"])
    assert "--resume needs --checkpoint" in capsys.readouterr().err


def test_rare_classes_are_found_with_weighted_sampling(capsys):
    found = imbalanced.main(["--epochs", "8"])
    rare = {way: np.mean(recalls[5:]) for way, recalls in found.items()}
    assert rare["plain"] < 0.25 and rare["sampler"] > rare["plain"] + 0.3
    assert rare["weights"] > rare["plain"] + 0.1
    assert all(np.mean(recalls[:5]) > 0.7 for recalls in found.values())


SMALL = ["--hidden", "24", "--length", "16", "--batch-size", "8", "--sample", "20"]


def test_letters_stopped_and_resumed_are_letters_in_one_go(tmp_path: Path, capsys):
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    common = [*SMALL, "--steps", "6", "--dropout", "0.3"]
    char_lstm.main([*common, "--checkpoint", str(whole)])
    char_lstm.main([*common, "--checkpoint", str(parts), "--stop-after", "2", "--sample", "0"])
    assert tgrad.load(parts)["step"] == 2
    char_lstm.main([*common, "--checkpoint", str(parts), "--resume"])
    for a, b in zip(weights_in(whole), weights_in(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    written = capsys.readouterr().out
    assert "going on after step 2 of 6" in written and written.count("nats a letter") == 3
    with pytest.raises(SystemExit, match="the same --hidden"):
        char_lstm.main([*common, "--hidden", "32", "--checkpoint", str(whole), "--resume"])


def test_a_text_of_ones_own_is_learned_and_written(tmp_path: Path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("abcdé" * 100, encoding="utf-8")
    more = ["--text", str(path), "--steps", "60", "--lr", "0.03", "--layers", "1", "--prompt", "ab",
            "--temperature", "0"]  # fmt: skip
    assert char_lstm.main([*SMALL, *more]) < 0.3
    assert ("abcdé" * 5)[:22] in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"not \['x'\]"):
        char_lstm.main([*SMALL, *more[:2], "--steps", "0", "--prompt", "x"])


@pytest.mark.parametrize("content, message", [(b"ab", "too few"), (b"\xff" * 99, "cannot read")])
def test_a_text_that_is_none_is_refused(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        char_lstm.main(["--text", str(path)])
