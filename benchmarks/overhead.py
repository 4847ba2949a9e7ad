"""Microseconds of dispatch: what one op costs above the arithmetic, beside NumPy and torch.

    python benchmarks/overhead.py [--json FILE]

Every figure is the best of several medians, since a shared machine only ever adds time. The peers
run in their own processes. `import tgrad` is measured in fresh processes, NumPy's import excluded.

The column "cuda (fake driver)" is what a GPU's launch costs the host, measured without a GPU: ops
on `cuda` tensors over the driver that the tests build (`tests/fake_driver`), which takes launches
and computes nothing. "to launch" ends where cuLaunchKernel is called, "call" includes it.
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
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

CASES = ("x + y", "x.sum()", "x @ y", "x + y, grad", "x.sum(), grad", "x @ y, grad", "MLP step")
AIM = {"x + y": 3.0, "x.sum()": 3.0, "x @ y": 3.0, "x + y, grad": 6.0, "x.sum(), grad": 6.0,
       "x @ y, grad": 6.0}  # fmt: skip


# Ops on a GPU, of which the second half is recorded for backward; aims to the launch.
CUDA_AIM = {"x + y": 3.0, "x * 2.0": 3.0, "relu(x)": 3.0, "x.add_(y)": 3.0, "x.sum()": 5.0,
            "softmax(x)": 5.0, "x @ y": 5.0, "linear(x)": 5.0, "layer_norm(x)": 5.0}  # fmt: skip


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


def cuda_cases() -> dict[str, list[float]]:
    """Microseconds of ops on `cuda` [to the launch, in all], by the fake driver."""
    from tgrad.runtime import driver, plan

    launch, called = driver.cu.cuLaunchKernel, [0.0]

    def stamped(*args: int) -> tuple[int]:
        called[0] = time.perf_counter()
        return (0,)

    driver.cu.cuLaunchKernel = stamped
    found = {name: [to_launch(call, called)] for name, call in cuda_ops().items()}
    driver.cu.cuLaunchKernel = launch
    plan.forget()  # recorded calls keep the function that they were recorded with
    for name, call in cuda_ops().items():
        found[name].append(to_launch(call))
    return found


def cuda_ops() -> dict[str, Callable[[], object]]:
    """The ops of CUDA_AIM on small tensors, then again with gradients recorded."""
    import tgrad
    from tgrad.nn import functional as F

    found: dict[str, Callable[[], object]] = {}
    y, z = tgrad.ones(64, 64, device="cuda"), tgrad.ones(64, 64, device="cuda")
    b = tgrad.ones(64, device="cuda")
    for suffix, grad in (("", False), (", grad", True)):
        x = tgrad.ones(64, 64, device="cuda").requires_grad_(grad)
        found[f"x + y{suffix}"] = lambda x=x: x + y
        found[f"x * 2.0{suffix}"] = lambda x=x: x * 2.0
        found[f"relu(x){suffix}"] = lambda x=x: F.relu(x)
        found[f"x.sum(){suffix}"] = lambda x=x: x.sum()
        found[f"softmax(x){suffix}"] = lambda x=x: F.softmax(x, -1)
        found[f"x @ y{suffix}"] = lambda x=x: x @ y
        found[f"linear(x){suffix}"] = lambda x=x: F.linear(x, y, b)
        found[f"layer_norm(x){suffix}"] = lambda x=x: F.layer_norm(x, (64,), b, b)
        if not grad:
            found["x.add_(y)"] = lambda: z.add_(y)
    return found


def to_launch(
    call: Callable[[], object], called: list[float] | None = None, rounds: int = 200
) -> float:
    """Best over ``rounds`` of the mean microseconds from ``call()`` to its end, or to when
    ``called`` was set. Rounds are short: the other programs of a busy machine miss some of them."""
    for _ in range(5):
        call()
    best = float("inf")
    for _ in range(rounds):
        total = 0.0
        for _ in range(50):
            start = time.perf_counter()
            call()
            total += (called[0] if called else time.perf_counter()) - start
        best = min(best, total / 50)
    return best * 1e6


def in_process(which: str, environment: dict[str, str] | None = None) -> dict[str, Any] | None:
    """The figures of one library, measured in a process of its own; None if it is not installed."""
    run = subprocess.run(
        [sys.executable, __file__, "--only", which],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if run.returncode == 0:
        return json.loads(run.stdout)
    if f"No module named '{which}'" in run.stderr:
        return None
    raise RuntimeError(f"{which}: {run.stderr}")


def on_fake_driver() -> dict[str, Any] | str:
    """The figures of :func:`cuda_cases`, or why there are none."""
    sys.path.insert(0, str(ROOT))
    from tests import fake_driver

    reason = fake_driver.missing()
    if reason is not None:
        return reason
    with tempfile.TemporaryDirectory() as folder:
        environment = fake_driver.environment(fake_driver.build(Path(folder)))
        figures = in_process(
            "cuda", environment | {"FAKE_CUDA_RECORD": "0", "FAKE_CUDA_EAGER": "1"}
        )
    assert figures is not None
    return figures


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
    cases = {"numpy": numpy_cases, "cuda": cuda_cases,
             "tgrad": lambda: framework_cases("tgrad"),
             "torch": lambda: framework_cases("torch")}  # fmt: skip
    parser.add_argument("--only", choices=cases, help=argparse.SUPPRESS)
    parser.add_argument("--json", help="append one row to this file")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(cases[args.only]()))
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
    cuda = on_fake_driver()
    if isinstance(cuda, str):
        print(f"cuda (fake driver): not measured, {cuda}")
    else:
        print(f"\n{'cuda (fake driver)':<22}{'to launch':>10}{'aim':>6}{'call':>9}")
        for case, (launched, whole) in cuda.items():
            aim = CUDA_AIM[case.removesuffix(", grad")]
            print(f"{case:<22}{launched:10.2f}{aim:6.1f}{whole:9.2f}")
    seconds = import_seconds()
    print(f"import tgrad, NumPy's import excluded: {seconds * 1000:.0f} ms (aim: under 150)")
    if args.json:
        row = {
            "benchmark": "overhead",
            "date": datetime.date.today().isoformat(),
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "microseconds": results,
            "cuda_fake_driver": None if isinstance(cuda, str) else cuda,
            "import_seconds": seconds,
        }
        with open(args.json, "a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
