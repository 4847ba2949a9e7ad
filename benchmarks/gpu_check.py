"""What a GPU can tell, in steps of their own processes and time limits: ``gpu_check.sh`` runs it.

    environment   device, driver, versions
    ops           the op table on the device: values against float64, half precision, strided and
                  empty inputs, first and second gradients, and the tests of kernels' own branches
    huge          ops over more than 2^31 elements
    sanitizer     compute-sanitizer memcheck and racecheck on one sample of each op
    demo          the demo's training
    throughput    the main kernels beside torch, shares of the ceilings of this run

Everything goes into one JSON file, ``benchmarks/results/<device>.json`` or under ``--out``; a table
comes last on the screen. A step that fails or runs out of time is reported and the next begins.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from comparison.text import table

HERE = Path(__file__).parent
ROOT = HERE.parent
TOTAL = 520  # seconds for all steps
# Seconds that a step may take, by device and emulated.
LIMITS = {
    "environment": (30, 60), "ops": (230, 300), "huge": (60, 60), "sanitizer": (70, 10),
    "demo": (40, 120), "throughput": (150, 300),
}  # fmt: skip
PACKAGES = (
    "numpy",
    "scipy",
    "ml_dtypes",
    "triton",
    "cuda-bindings",
    "cuda-core",
    "torch",
    "pytest",
)
# On the emulator the whole table would take minutes and is run by the tests anyway.
FEW = "copy,softmax,reduction,conv"
KERNEL_TESTS = ("tests/test_ops.py", "tests/test_conv.py", "tests/test_matmul.py",
                "tests/test_kernel_ways.py", "tests/test_optim.py", "tests/test_random.py",
                "tests/test_dropout.py", "tests/test_softmax.py", "tests/test_norm.py",
                "tests/test_index.py", "tests/test_views.py", "tests/test_inplace.py")  # fmt: skip


class Check:
    """One run: where results go, and how much time is left."""

    def __init__(self, emulate: bool, folder: Path):
        self.emulate, self.folder = emulate, folder
        self.end = time.monotonic() + (10 * TOTAL if emulate else TOTAL)
        self.environment = {**os.environ, "TRITON_INTERPRET": "1" if emulate else "0"}
        self.found: dict[str, Any] = {}

    def run(self, command: list[str], limit: float, name: str, **more: str) -> tuple[int, str]:
        """(exit status, output) of a command, kept in the folder too. 124: out of time."""
        limit = max(1.0, min(limit, self.end - time.monotonic()))
        log = self.folder / f"{name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT,
                env={**self.environment, **more}, start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its workers too
                process.wait()
                status = 124
        return status, log.read_text(errors="replace")

    def python(self, *args: str, limit: float, name: str, **more: str) -> tuple[int, str]:
        return self.run([sys.executable, *args], limit, name, **more)


# ---- steps ---------------------------------------------------------------------------------------


def environment(check: Check, limit: float) -> dict[str, Any]:
    """Raises RuntimeError where there is no device to check."""
    code = (
        "import json, tgrad; p = tgrad.cuda.get_device_properties(0); "
        "free, total = tgrad.cuda.mem_get_info(); "
        "print(json.dumps({'device': tgrad.cuda.get_device_name(), "
        "'capability': list(tgrad.cuda.get_device_capability()), "
        "'multiprocessors': p.multi_processor_count, 'free_bytes': free, 'total_bytes': total}))"
    )
    status, said = check.python("-c", code, limit=limit, name="environment")
    if status:
        raise RuntimeError(f"no device: {said.strip().splitlines()[-1] if said else status}")
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    found["versions"] = {p: version(p) for p in PACKAGES}
    found["python"], found["machine"] = platform.python_version(), platform.platform()
    found["cores"] = os.cpu_count()
    if shutil.which("nvidia-smi"):
        query = "driver_version,clocks.sm,clocks.mem,power.limit,temperature.gpu"
        asked = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        found["nvidia_smi"] = check.run(asked, 20, "nvidia-smi")[1].strip()
    return found


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ops(check: Check, limit: float) -> dict[str, Any]:
    """The op table and the kernels' tests on the device, the longest tests first to fail."""
    report = check.folder / "ops.jsonl"
    more = {"TGRAD_CHECK_REPORT": str(report), "PYTHONPATH": f"{HERE}:{ROOT}"}
    if check.emulate:
        more["TGRAD_TEST_FAMILIES"] = FEW
    tests = [t for t in KERNEL_TESTS if (ROOT / t).exists()]
    tests = tests[:1] if check.emulate else tests
    workers = str(min(14, os.cpu_count() or 1))
    args = ["-m", "pytest", "-q", "-p", "gpu_check_plugin", "-p", "no:cacheprovider", "-k", "cuda",
            "--tb=short", "-o", "addopts=", "--maxfail=400", *tests]  # fmt: skip
    if version("pytest-xdist"):
        args += ["-n", workers]
    status, said = check.python(*args, limit=limit, name="ops", **more)
    lines = report.read_text().splitlines() if report.exists() else []
    results = [json.loads(line) for line in lines]
    counts = Counter(r["outcome"] for r in results)
    failed = [r for r in results if r["outcome"] == "failed"]
    causes = Counter(re.sub(r"0x[0-9a-f]+|\d+", "N", r["why"])[:160] for r in failed)
    return {
        "finished": status in (0, 1), "status": status, "passed": counts["passed"],
        "failed": counts["failed"], "skipped": counts["skipped"],
        "causes": causes.most_common(25), "failures": failed[:200],
        "last": said.strip().splitlines()[-1:] if not results else [],
    }  # fmt: skip


def script(name: str) -> Callable[[Check, float], dict[str, Any]]:
    """A step that is one of our scripts, which writes JSON to the file it is given."""

    def step(check: Check, limit: float) -> dict[str, Any]:
        out = check.folder / f"{name}.json"
        args = [str(HERE / f"{name}.py"), "--out", str(out)]
        args += ["--small"] if check.emulate else []
        status, said = check.python(*args, limit=limit, name=name)
        found = json.loads(out.read_text()) if out.exists() else {}
        if status:
            found["error"] = f"status {status}: {' | '.join(said.strip().splitlines()[-3:])}"
        return found

    return step


def throughput(check: Check, limit: float) -> dict[str, Any]:
    """``compare.py`` in two dtypes, gradients too; alone, it compares in all of them."""
    out = check.folder / "throughput.json"
    peer = "torch" if version("torch") else ""
    args = [str(HERE / "compare.py"), "--device", "cuda", "--against", peer, "--backward",
            "--json", str(out), "--limit", str(limit / 3)]  # fmt: skip
    args += ["--small", "--seconds", "0"] if check.emulate else ["--dtype", "bfloat16,tf32"]
    status, said = check.python(*args, limit=limit, name="throughput")
    found = json.loads(out.read_text()) if out.exists() else {}
    if not found:
        found["error"] = f"status {status}: {' | '.join(said.strip().splitlines()[-3:])}"
    return found


def sanitizer(check: Check, limit: float) -> dict[str, Any]:
    """memcheck, then racecheck, over one small call of each op."""
    tool = shutil.which("compute-sanitizer") or next(
        (str(p) for p in Path("/usr/local").glob("cuda*/bin/compute-sanitizer")), None
    )
    if check.emulate or tool is None:
        return {"skipped": "emulated" if check.emulate else "compute-sanitizer is not installed"}
    found: dict[str, Any] = {}
    for kind, share in (("memcheck", 0.5), ("racecheck", 0.5)):
        command = [tool, "--tool", kind, "--print-limit", "20", "--error-exitcode", "9",
                   sys.executable, str(HERE / "one_of_each.py"),
                   "--seconds", str(int(limit * share - 8))]  # fmt: skip
        status, said = check.run(command, limit * share, kind)
        ran = re.findall(r"^(\d+) ops ran", said, re.M)
        found[kind] = {
            "status": status, "ops": int(ran[-1]) if ran else 0,
            "errors": [x for x in said.splitlines() if "=========" in x][:60],
        }  # fmt: skip
    return found


def demo(check: Check, limit: float) -> dict[str, Any]:
    steps = ["--steps", "5"] if check.emulate else ["--epochs", "10"]
    start = time.monotonic()
    status, said = check.python(
        "-m", "tgrad.cli", "demo", "--device", "cuda", *steps, limit=limit, name="demo"
    )
    lines = [x for x in said.replace("\r", "\n").splitlines() if x.strip()]
    return {"status": status, "seconds": round(time.monotonic() - start, 1), "said": lines[-3:]}


STEPS: dict[str, Callable[[Check, float], dict[str, Any]]] = {
    "environment": environment, "huge": script("huge"), "throughput": throughput,
    "ops": ops, "sanitizer": sanitizer, "demo": demo,
}  # fmt: skip


# ---- report --------------------------------------------------------------------------------------


def summary(found: dict[str, Any]) -> str:
    """A line a step, and the throughput table."""
    lines = []
    for name, result in found["steps"].items():
        head = f"{name:12}{result['seconds']:6.0f} s  "
        lines.append(head + said_of(name, result))
    rows = found["steps"].get("throughput", {}).get("rows")
    if rows:
        lines += ["", table(rows, list(rows[0]["libraries"]))]
    return "\n".join(lines)


def said_of(name: str, r: dict[str, Any]) -> str:
    if "error" in r:
        return f"FAILED: {r['error'][:160]}"
    if "skipped" in r and isinstance(r["skipped"], str):
        return f"skipped: {r['skipped']}"
    if name == "environment":
        return f"{r['device']}, Triton {r['versions']['triton']}, NumPy {r['versions']['numpy']}"
    if name == "ops":
        text = f"{r['passed']} passed, {r['failed']} failed, {r['skipped']} skipped"
        text += "" if r["finished"] else " (out of time)"
        return "\n".join([text, *(f"{'':22}{n:5} x {why}" for why, n in r["causes"][:8])])
    if name == "sanitizer":
        return ", ".join(f"{k}: {v['ops']} ops, status {v['status']}" for k, v in r.items()
                         if isinstance(v, dict))  # fmt: skip
    if name == "demo":
        return f"status {r['status']}: {' '.join(r['said'][-1:])}"
    rows = r.get("rows", [])
    ours = [(x["case"], x["libraries"]["tgrad"] if "libraries" in x else x) for x in rows]
    wrong = [name for name, x in ours if "error" in x or x.get("error_units", 0) > 1]
    return f"{len(rows)} rows, {len(wrong)} wrong" + (f": {', '.join(wrong[:6])}" if wrong else "")


def commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--emulate", action="store_true", help="on Triton's interpreter, small")
    parser.add_argument("--out", type=Path, help="folder for the JSON file and the logs")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    args = parser.parse_args()
    folder = args.out or Path(tempfile.mkdtemp(prefix="gpu-check-"))
    folder.mkdir(parents=True, exist_ok=True)
    check = Check(args.emulate, folder)
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(), "emulated": args.emulate, "steps": {},
    }  # fmt: skip
    name, path = "gpu", folder
    for step in STEPS:
        if step not in args.only:
            continue
        start = time.monotonic()
        print(f"{step} ...", flush=True)
        try:
            result: dict[str, Any] = STEPS[step](check, LIMITS[step][args.emulate])
        except Exception as e:  # the next steps may still tell something
            result = {"error": f"{type(e).__name__}: {e}"}
        result["seconds"] = round(time.monotonic() - start, 1)
        found["steps"][step] = result
        if step == "environment" and "device" in result:
            name = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()).strip("-")
        # Written after every step: whoever is cut off has what was found until then.
        path = (folder if args.out or args.emulate else HERE / "results") / f"{name}.json"
        path.write_text(json.dumps(found, indent=1))
        if "error" in result and step == "environment":
            break
    print(f"\n{path}\n\n{summary(found)}")
    return int(any("error" in r for r in found["steps"].values()))


if __name__ == "__main__":
    sys.exit(main())
