"""Loader throughput for 0, 1 and 2 workers and threads, beside torch's, and the parent's cost.

    python benchmarks/data.py [--seconds S] [--only images batches]

``images``: 8,192 images, cropped, flipped and scaled one by one in NumPy, in batches of 64.
``batches``: 64 rows gathered at once (786 kB), so that handing over is all there is. The sums of
the first batches must agree. The parent's cost is the processor time of ``next`` where the batch is
ready, sampler and next task included: the median of 400. The libraries take turns round by round,
each in a process of its own; rows go to ``benchmarks/results/data.json``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SETS = ("images", "batches")
WORKERS = ("0", "1", "2", "thread 2")
BATCH = 64
RESULTS = Path(__file__).parent / "results" / "data.json"


class Images:
    """Images that are augmented as they are read."""

    collate = None

    def __init__(self, lib: Any):
        rng = np.random.default_rng(0)
        self.x = rng.integers(0, 256, (8192, 3, 36, 36), np.uint8)
        self.y = rng.integers(0, 10, 8192)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        top, left, flip = i % 5, (i // 5) % 5, i % 2
        crop = self.x[i, :, top : top + 32, left : left + 32]
        crop = crop[:, :, ::-1] if flip else crop
        return (crop.astype(np.float32) - 127.5) / 64, int(self.y[i])


class Batches:
    """Rows of one large array, gathered a batch at a time."""

    def __init__(self, lib: Any):
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((8192, 3, 32, 32), np.float32)
        self.y = rng.integers(0, 10, 8192)
        self.lib = lib

    def __len__(self) -> int:
        return len(self.y)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self.lib.from_numpy(self.x[indices]), self.lib.from_numpy(self.y[indices])]

    @staticmethod
    def collate(batch: list[Any]) -> list[Any]:
        return batch


def loader(library: str, name: str, workers: str, **options: Any) -> Any:
    lib = importlib.import_module(library)
    data = importlib.import_module(f"{library}.utils.data")
    dataset = {"images": Images, "batches": Batches}[name](lib)
    kind, _, count = workers.rpartition(" ")
    if kind:
        options["workers"] = kind
    return data.DataLoader(
        dataset, BATCH, shuffle=True, num_workers=int(count), collate_fn=dataset.collate, **options
    )


def endless(made: Any) -> Iterator[Any]:
    while True:
        yield from made


def measure(library: str, name: str, workers: str, seconds: float) -> dict[str, Any]:
    """One library, data set and number of workers, in this process."""
    if library == "torch":
        importlib.import_module("torch").set_num_threads(1)
    warnings.simplefilter("ignore")  # more workers than cores
    several = workers != "0"
    ordered = loader(library, name, workers)
    everything = sum(float(x.double().sum()) for x, _ in ordered)
    feed = endless(loader(library, name, workers, persistent_workers=several))
    for _ in range(2 * 8192 // BATCH):  # one pass to warm up, and into the second
        next(feed)
    rounds, size = [], 0
    for _ in range(5):
        start, batches = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 5:
            x, y = next(feed)
            batches, size = batches + 1, x.nbytes + y.nbytes
        rounds.append(batches * BATCH / (time.perf_counter() - start))
    rate = statistics.median(rounds)
    return {
        "sum": everything,
        "samples_per_second": rate,
        "mb_per_second": rate / BATCH * size / 1e6,
        "spread": (max(rounds) - min(rounds)) / rate,
        "version": importlib.import_module(library).__version__,
    }


def parent_cost(library: str) -> dict[str, float]:
    """Microseconds of processor time that the parent spends on a batch that is ready."""
    warnings.simplefilter("ignore")
    if library == "torch":
        importlib.import_module("torch").set_num_threads(1)
    made = loader(library, "batches", "1", prefetch_factor=8, persistent_workers=True)
    costs: list[float] = []
    while len(costs) < 400:
        feed = iter(made)
        for _ in range(80):  # of 128, so that there is always a next task
            while not is_ready(library, feed):
                time.sleep(0.001)
            start = time.thread_time()
            batch = next(feed)
            costs.append((time.thread_time() - start) * 1e6)
            del batch
    low, median, high = statistics.quantiles(costs, n=4)
    return {"us": median, "low_quartile": low, "high_quartile": high}


def is_ready(library: str, feed: Any) -> bool:
    """Whether ``next`` would not wait, which neither library says in public."""
    return feed._is_ready() if library == "tgrad" else not feed._worker_result_queue.empty()


def in_process(library: str, *words: str) -> dict[str, Any] | None:
    """The figures from a fresh process; None where the library is missing."""
    command = [sys.executable, __file__, "--measure", library, *words]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    if run.returncode == 0:
        return json.loads(run.stdout)
    if f"No module named '{library}'" in run.stderr:
        return None
    raise RuntimeError(f"{library} {words}: {run.stderr}")


def row(name: str, workers: str, ours: Any, peer: Any) -> dict[str, Any]:
    return {
        "benchmark": "data", "data": name, "workers": workers, "batch": BATCH, "device": "cpu",
        "date": datetime.date.today().isoformat(),
        "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "python": platform.python_version(), "numpy": np.__version__,
        "tgrad": ours, "torch": peer,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="time a case and library")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        library, *words = args.measure
        made = (
            measure(library, words[0], words[1], float(words[2])) if words
            else parent_cost(library)
        )  # fmt: skip
        print(json.dumps(made))
        return
    rows = []
    print(f"{'':18}{'samples/s':>11}{'MB/s':>8}{'spread':>8}{'torch':>11}{'ratio':>7}")
    for name in args.only:
        for workers in WORKERS:
            ours = in_process("tgrad", name, workers, str(args.seconds))
            threads = workers.startswith("thread")  # torch has none
            peer = None if threads else in_process("torch", name, workers, str(args.seconds))
            assert ours is not None
            line = (f"{name:10}{workers:8}{ours['samples_per_second']:11,.0f}"
                    f"{ours['mb_per_second']:8,.0f}{ours['spread']:8.0%}")  # fmt: skip
            if peer is not None:
                np.testing.assert_allclose(ours["sum"], peer["sum"], rtol=1e-6)
                theirs = peer["samples_per_second"]
                line += f"{theirs:11,.0f}{ours['samples_per_second'] / theirs:7.2f}"
            print(line)
            rows.append(row(name, workers, ours, peer))
    ours, peer = in_process("tgrad"), in_process("torch")
    assert ours is not None
    beside = "" if peer is None else f" (torch {peer['us']:.1f})"
    print(f"the parent spends {ours['us']:.1f} us of processor time on a batch{beside}")
    rows.append(row("parent", "1", ours, peer))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)


if __name__ == "__main__":
    main()
