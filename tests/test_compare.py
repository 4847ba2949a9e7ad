"""``benchmarks/compare.py``: cases, checks, ratios, the page in a browser, the baseline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison import case, cases, page, rows, text, worker

from tgrad.dispatch import OPS

ROOT = Path(__file__).resolve().parents[1]

# Families with kernels that no case names, and why.
WITHOUT = {
    "amp": "GradScaler's own check of gradients",
    "eigen": "LAPACK's, of which the cases of linalg, lu and decomposition are examples",
    "householder": "LAPACK's too",
    "update": "the optimisers' kernels, which the case of family optim runs",
}


def compare(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "benchmarks/compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)


def test_every_family_with_a_kernel_has_a_case():
    ours = [e for e in OPS.values() if e.card.__module__.startswith("tgrad.")]  # not of tests
    for entry in ours:
        if entry.kind in ("kernel", "update"):
            entry.kernel("cpu")
    families = {e.family for e in ours if "cpu" in e.kernels or e.kind == "pointwise"}
    missing = families - {c.family for c in cases.CASES} - set(WITHOUT)
    assert not missing


def test_every_case_runs_small_in_every_direction_and_is_right():
    work = case.jobs(cases.CASES, "small", ["float32"], True, [])
    wanted = worker.references(work, "cpu")
    assert not {k: v["error"] for k, v in wanted.items() if "error" in v}
    for name in ("tgrad", "numpy"):
        answer = worker.run(name, "cpu", work, 0.0, 2, 300)
        judged = {j.key: rows.judged(answer["rows"][j.key], wanted[j.key], j) for j in work}
        wrong = {k: r for k, r in judged.items() if "error" in r or r.get("error_units", 0) > 1}
        assert not wrong, name
        absent = {j.case.name for j in work if "absent" in answer["rows"][j.key]}
        assert name == "numpy" or not absent
        assert all(v["bytes"] > 0 for v in wanted.values())


def test_costs_are_those_of_the_shapes():
    linear = [c for c in cases.CASES if c.name == "linear"]
    (job,) = case.jobs(linear, "small", ["float32"], False, [])
    found = worker.references([job], "cpu")[job.key]
    assert found["flops"] == 2 * 20 * 40 * 24
    assert found["bytes"] == 4 * (20 * 40 + 24 * 40 + 24 + 20 * 24)


def test_the_program_prints_stores_and_draws(tmp_path: Path):
    out, html, plots = tmp_path / "rows.json", tmp_path / "page.html", tmp_path / "plots"
    made = compare(
        "softmax", "--small", "--backward", "--seconds", "0.005", "--against", "numpy",
        "--json", str(out), "--html", str(html), "--plot", str(plots),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "softmax backward" in made.stdout and "ceilings of this run: copy" in made.stdout
    found = json.loads(out.read_text())
    assert {"device", "commit", "tgrad", "numpy"} <= set(found["about"])
    for row in found["rows"]:
        ours = row["libraries"]["tgrad"]
        assert ours["error_units"] <= 1 and ours["us_20"] <= ours["us"] <= ours["us_80"]
        assert ours["share"] > 0
    assert (plots / "softmax.png").read_bytes()[:4] == b"\x89PNG"
    written = html.read_text()
    assert "http://" not in written and "https://" not in written
    assert "data:image/png;base64," in written


def some_rows() -> list[dict[str, Any]]:
    found = []
    for name, us, peer in (("slow", 30.0, 10.0), ("fast", 5.0, 20.0), ("middle", 12.0, 12.0)):
        ours = {"us": us, "us_20": us * 0.9, "us_80": us * 1.1, "host_us": us, "share": 0.5,
                "error_units": 0.1}  # fmt: skip
        found.append({
            "family": "f", "case": name, "size": "1", "dtype": "float32", "way": "forward",
            "shapes": [[1]], "bytes": 4000, "flops": 0,
            "libraries": {"tgrad": ours, "torch": {"us": peer, "us_20": peer, "us_80": peer}},
        })  # fmt: skip
    rows.add_ratios(found)
    return found


def test_the_page_sorts_and_finds_in_a_browser(tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    file = tmp_path / "page.html"
    file.write_text(page.page(some_rows(), ["tgrad", "torch"], {"device": "cpu"}, "closing"))

    def shown(fragment: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", profile]
        command.append(f"file://{file}#{fragment}")
        made = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return made.stdout[made.stdout.index("<tbody>") : made.stdout.index("</tbody>")]

    def order(dom: str) -> list[str]:
        return sorted(("slow", "fast", "middle"), key=lambda n: dom.index(f">{n}<"))

    assert order(shown("")) == ["slow", "fast", "middle"]
    assert order(shown("sort=us")) == ["fast", "middle", "slow"]
    assert order(shown("sort=us&down")) == ["slow", "middle", "fast"]
    assert order(shown("sort=case")) == ["fast", "middle", "slow"]
    found = shown("find=middle")
    assert found.count("hidden") == 2


def test_ratios_means_and_worst_rows():
    found = some_rows()
    assert [row["libraries"]["torch"]["ratio"] for row in found] == pytest.approx([1 / 3, 4, 1])
    assert rows.geometric_mean(found, "torch") == pytest.approx((4 / 3) ** (1 / 3))
    said = text.summary(found, ["tgrad", "torch"])
    assert said.splitlines()[1].split()[1] == "slow"


def test_shares_of_a_data_sheet_are_of_its_bandwidth_or_its_products():
    found = some_rows()
    found[0] |= {"bytes": 3_352_000, "case": "copy"}  # 1 us at 3352 GB/s
    found[1] |= {"flops": 66_900_000, "case": "matmul"}  # 1 us at 66.9 TFLOP/s
    rows.add_shares(found, rows.peak_of("NVIDIA H100 80GB HBM3"))
    assert found[0]["libraries"]["tgrad"]["datasheet"] == pytest.approx(1 / 30)
    assert found[1]["libraries"]["tgrad"]["datasheet"] == pytest.approx(1 / 5)
    assert found[1]["libraries"]["torch"]["share"] == pytest.approx(5 / 20)


def test_a_wrong_result_is_named():
    (job,) = case.jobs(cases.named(["gelu"]), "small", ["float32"], False, [])
    wanted = worker.references([job], "cpu")[job.key]
    right = {"us": 1.0, "probe": wanted["probe"]}
    off = {"us": 1.0, "probe": [[x + 1 for x in wanted["probe"][0]]]}
    nan = {"us": 1.0, "probe": [[np.nan, *wanted["probe"][0][1:]]]}
    assert rows.judged(right, wanted, job)["error_units"] == 0
    assert rows.judged(off, wanted, job)["error_units"] > 1
    assert rows.judged(nan, wanted, job)["error_units"] == np.inf
    assert rows.judged({"probe": [[1.0]]}, wanted, job)["error_units"] == np.inf


def test_the_readme_has_the_table_of_the_stored_run():
    stored = json.loads((ROOT / "benchmarks/results/cpu.json").read_text())["rows"]
    table = text.digest(stored, list(stored[0]["libraries"]))
    assert table in (ROOT / "README.md").read_text()
    assert "| slow | 1 | 50% | 0.33 |" in text.digest(some_rows(), ["tgrad", "torch"])


def test_a_baseline_tells_slower_from_noise(tmp_path: Path):
    before, now = some_rows(), some_rows()
    assert rows.against_baseline(now, before, 0.1) == ([], [])
    for key in ("us", "us_20", "us_80"):
        now[0]["libraries"]["tgrad"][key] *= 1.2  # inside the spreads and the band
        now[1]["libraries"]["tgrad"][key] *= 2
        now[2]["libraries"]["tgrad"][key] /= 2
    slower, faster = rows.against_baseline(now, before, 0.1)
    assert [line.split()[0] for line in slower] == ["fast"]
    assert [line.split()[0] for line in faster] == ["middle"]


def test_a_slower_run_ends_with_1(tmp_path: Path):
    arguments = ["gelu", "--small", "--seconds", "0.005", "--against", "numpy"]
    out = tmp_path / "before.json"
    assert compare(*arguments, "--json", str(out)).returncode == 0
    stored = json.loads(out.read_text())
    for row in stored["rows"]:
        for key in ("us", "us_20", "us_80"):
            row["libraries"]["tgrad"][key] /= 1000
    out.write_text(json.dumps(stored))
    made = compare(*arguments, "--baseline", str(out))
    assert made.returncode == 1 and "slower than the baseline" in made.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-like-it"], "no kernel or case"),
        (["--against", "abacus"], "expected some of"),
        (["--dtype", "float8"], "nothing has such"),
        (["--baseline", "/nowhere/x.json"], "No such file"),
    ],
)
def test_bad_words_end_with_2_and_a_reason(arguments: list[str], said: str):
    made = compare("--small", *arguments)
    assert made.returncode == 2 and said in made.stderr


def test_it_runs_on_emulated_cuda(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    made = compare(
        "silu", "--small", "--device", "cuda", "--against", "numpy", "--seconds", "0.001"
    )
    assert made.returncode == 0, made.stderr + made.stdout
    assert "silu" in made.stdout and "WRONG" not in made.stdout


def test_cases_are_listed():
    made = compare("--list", "conv")
    assert made.returncode == 0 and "ResNet-50 3x3 64" in made.stdout
