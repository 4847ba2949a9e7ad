"""The tgrad command: output, exit codes, and a short training on each device."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import tgrad
from tgrad import cli
from tgrad.commands import demo, info
from tgrad.commands import ops as ops_command
from tgrad.registry import OPS
from tgrad.runtime import cuda


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


def lines(capsys: pytest.CaptureFixture) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_info_names_versions_devices_and_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(info, "version", lambda name: None if name == "scipy" else "1.2")
    assert run("info") == 0
    text = capsys.readouterr().out
    assert f"tgrad          {tgrad.__version__}" in text
    assert "python" in text and "cpu " in text and "cuda" in text
    assert (
        "scipy          missing  special functions and LAPACK on the CPU: pip install scipy" in text
    )
    assert "TRITON_INTERPRET=1" in text


def test_info_tells_how_to_run_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert run("info") == 0
    assert "TRITON_INTERPRET=1 tgrad" in capsys.readouterr().out


def test_ops_lists_the_registry(capsys):
    assert run("ops") == 0
    head, *rows, last = lines(capsys)
    assert head.split() == ["name", "kind", "family", "cpu", "cuda", "gradient", "fallback"]
    assert len(rows) == sum(bool(e.spaces) for e in OPS.values())
    assert [r.split()[0] for r in rows] == sorted(r.split()[0] for r in rows)
    assert last.startswith(f"{len(rows)} ops, ")


def test_ops_filters_and_speaks_json(capsys):
    assert run("ops", "relu", "--json") == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert "relu" in rows and all("relu" in name for name in rows)
    assert rows["relu"]["cpu"] and rows["relu"]["cuda"] and rows["relu"]["gradient"] == "rule"
    assert not rows["relu"]["fallback"]
    assert run("ops", "no such op") == 1
    assert "no op's name contains" in capsys.readouterr().err
    assert run("ops", "backward", "--all") == 0


def test_ops_knows_what_falls_back(capsys, monkeypatch):
    monkeypatch.setattr(ops_command, "has_kernel", lambda entry, device: device == "cpu")
    assert run("ops", "--fallback") == 0
    assert lines(capsys)[1].split()[-1] == "host"
    monkeypatch.setattr(ops_command, "has_kernel", lambda entry, device: True)
    assert run("ops", "--fallback") == 0
    assert lines(capsys) == ["every op has a CUDA kernel"]


def test_kernels_are_found_in_the_source_where_triton_is_absent(monkeypatch):
    def absent(name, *rest):
        return None

    ours = [e for e in OPS.values() if e.card.__module__.startswith("tgrad.")]
    found = {e.name: ops_command.has_kernel(e, "cuda") for e in ours}
    for entry in ours:
        monkeypatch.setattr(entry, "kernels", {})
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert {e.name: ops_command.has_kernel(e, "cuda") for e in ours} == found


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_demo_trains_on_each_device(device: str, capsys):
    assert run("demo", "--device", device, "--steps", "2", "--seed", "1") == 0
    (line,) = lines(capsys)
    assert "held-out digits read right after 2 steps" in line
    assert f"on {device}" in line and line.endswith("seed 1")
    assert ("emulated" in line) == (device == "cuda" and cuda.is_emulated())


def test_demo_reads_98_percent_of_the_held_out_digits(capsys):
    assert run("demo", "--device", "cpu") == 0
    (line,) = lines(capsys)
    assert float(line.split("%")[0]) >= 98.0


def test_demo_repeats_itself_for_a_seed(capsys):
    results = []
    for _ in range(2):
        assert run("demo", "--device", "cpu", "--steps", "20", "--seed", "5") == 0
        results.append(lines(capsys)[0].split(" after ")[0])
    assert results[0] == results[1]


def test_demo_draws_a_plot(tmp_path: Path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "digits.png"
    assert run("demo", "--device", "cpu", "--steps", "12", "--plot", str(path)) == 0
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    bad = tmp_path / "absent" / "digits.png"
    assert run("demo", "--device", "cpu", "--steps", "1", "--plot", str(bad)) == 1
    assert "cannot write the plot" in capsys.readouterr().err


def test_demo_without_a_gpu_fails_in_one_line(capsys, monkeypatch):
    def no_gpu():
        raise RuntimeError("Found no NVIDIA GPU")

    monkeypatch.setattr(cuda, "active", no_gpu)
    assert run("demo", "--device", "cuda") == 1
    assert capsys.readouterr().err == "tgrad demo: Found no NVIDIA GPU\n"


def test_demo_without_matplotlib_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("demo", "--steps", "1", "--plot", "x.png") == 1
    assert "pip install matplotlib" in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(capsys, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "train", interrupted)
    assert run("demo", "--device", "cpu") == 130
    assert capsys.readouterr().err == "tgrad demo: interrupted\n"


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["demo", "--steps", "0"], ["demo", "--device", "tpu"],
                  ["info", "extra"]],
)  # fmt: skip
def test_bad_arguments_exit_with_2(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: tgrad" in capsys.readouterr().err


def test_the_module_runs_as_a_program():
    made = subprocess.run(
        [sys.executable, "-m", "tgrad.cli", "--version"], capture_output=True, text=True
    )
    assert made.stdout == f"tgrad {tgrad.__version__}\n" and made.returncode == 0
