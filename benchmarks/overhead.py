"""Microseconds of dispatch: what one op costs above the arithmetic, beside NumPy and torch.

    python benchmarks/overhead.py [--json FILE]

Every figure is the best of several medians, since a shared machine only ever adds time. The peers
run in their own processes. `import tgrad` is measured in fresh processes, NumPy's import excluded.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

CASES = ("x + y", "x.sum()", "x @ y", "x + y, grad", "x.sum(), grad", "x @ y, grad", "MLP step")
AIM = {"x + y": 3.0, "x.sum()": 3.0, "x @ y": 3.0, "x + y, grad": 6.0, "x.sum(), grad": 6.0,
       "x @ y, grad": 6.0}  # fmt: skip


def microseconds(f: Callable[[], object], repeat: int = 25) -> float:
    """Best over ``repeat`` rounds of the mean time of a call, each round about 20 ms."""
    f()
    start = time.perf_counter()
    f()
    once = max(time.perf_counter() - start, 1e-7)
    number = max(int(0.02 / once), 1)
    rounds = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            f()
        rounds.append((time.perf_counter() - start) / number)
    return min(rounds) * 1e6


def numpy_cases() -> dict[str, float]:
    import numpy as np

    x, y = np.ones(1, np.float32), np.ones(1, np.float32)
    a, b = np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
    rng = np.random.default_rng(0)
    ws = [
        rng.standard_normal(s).astype(np.float32) * 0.1 for s in ((64, 128), (128, 128), (128, 10))
    ]
    data = rng.standard_normal((32, 64)).astype(np.float32)
    labels = rng.integers(0, 10, 32)

    def step() -> None:
        """The same step written out by hand: forward, backward, update."""
        h1 = np.maximum(data @ ws[0], 0)
        h2 = np.maximum(h1 @ ws[1], 0)
        z = h2 @ ws[2]
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(32), labels] -= 1
        p /= 32
        g2 = (p @ ws[2].T) * (h2 > 0)
        g1 = (g2 @ ws[1].T) * (h1 > 0)
        for w, dw in zip(ws, (data.T @ g1, h1.T @ g2, h2.T @ p), strict=True):
            w -= 0.01 * dw

    plain = {
        "x + y": microseconds(lambda: x + y),
        "x.sum()": microseconds(lambda: x.sum()),
        "x @ y": microseconds(lambda: a @ b),
    }
    return {**plain, **{f"{k}, grad": v for k, v in plain.items()}, "MLP step": microseconds(step)}


def framework_cases(name: str) -> dict[str, float]:
    """tgrad and torch run the same code."""
    import importlib

    lib = importlib.import_module(name)
    nn = importlib.import_module(f"{name}.nn")
    optim = importlib.import_module(f"{name}.optim")
    if name == "torch":
        lib.set_num_threads(2)
    found = {}
    for suffix, grad in (("", False), (", grad", True)):
        x, y = lib.ones(1).requires_grad_(grad), lib.ones(1)
        a, b = lib.ones(1, 1).requires_grad_(grad), lib.ones(1, 1)
        found[f"x + y{suffix}"] = microseconds(lambda x=x, y=y: x + y)
        found[f"x.sum(){suffix}"] = microseconds(lambda x=x: x.sum())
        found[f"x @ y{suffix}"] = microseconds(lambda a=a, b=b: a @ b)
    lib.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    opt = optim.SGD(model.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()
    data, labels = lib.randn(32, 64), lib.randint(0, 10, (32,))

    def step() -> None:
        opt.zero_grad()
        loss(model(data), labels).backward()
        opt.step()

    found["MLP step"] = microseconds(step)
    return found


def in_process(which: str) -> dict[str, float] | None:
    """The figures of one library, measured in a process of its own; None if it is not installed."""
    run = subprocess.run(
        [sys.executable, __file__, "--only", which], capture_output=True, text=True, check=False
    )
    if run.returncode == 0:
        return json.loads(run.stdout)
    if f"No module named '{which}'" in run.stderr:
        return None
    raise RuntimeError(f"{which}: {run.stderr}")


def import_seconds() -> float:
    """Median seconds of ``import tgrad`` after NumPy is in, its bytecode compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    code = ("import time, numpy; t = time.perf_counter(); import tgrad; "
            "print(time.perf_counter() - t)")  # fmt: skip
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env=environment,
        )
        for _ in range(7)
    ]  # fmt: skip
    return statistics.median(float(r.stdout) for r in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("numpy", "tgrad", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--json", help="append one row to this file")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(numpy_cases() if args.only == "numpy" else framework_cases(args.only)))
        return
    results = {name: in_process(name) for name in ("numpy", "tgrad", "torch")}
    numpy, ours, torch = results["numpy"], results["tgrad"], results["torch"]
    assert numpy is not None and ours is not None
    print(f"{'us per call':<16}{'numpy':>9}{'tgrad':>9}{'torch':>9}{'tgrad - numpy':>15}{'aim':>6}")
    for case in CASES:
        peer = f"{torch[case]:9.2f}" if torch else f"{'-':>9}"
        aim = f"{AIM[case]:6.1f}" if case in AIM else f"{'':>6}"
        print(f"{case:<16}{numpy[case]:9.2f}{ours[case]:9.2f}{peer}"
              f"{ours[case] - numpy[case]:15.2f}{aim}")  # fmt: skip
    seconds = import_seconds()
    print(f"import tgrad, NumPy's import excluded: {seconds * 1000:.0f} ms (aim: under 150)")
    if args.json:
        row = {
            "benchmark": "overhead",
            "date": datetime.date.today().isoformat(),
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "microseconds": results,
            "import_seconds": seconds,
        }
        with open(args.json, "a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
