"""Training steps a second and peak memory of small networks, beside torch on the CPU.

    python benchmarks/train.py [--seconds S] [--threads N] [--only cnn lstm mlp ...]

The same code runs in a process of its own for each library and network: first five steps from equal
weights, whose losses must agree, then Adam steps are timed in rounds. Rows go to
``benchmarks/results/train.json``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("cnn", "mlp", "transformer", "augmented", "lstm", "encoder")
RESULTS = Path(__file__).parent / "results" / "train.json"
AGREE = 2e-3  # relative, losses of five steps in float32

Build = tuple[Any, Callable[[], Any]]  # model, and a function that returns the loss of one batch


def tensor(lib: Any, a: np.ndarray) -> Any:
    return lib.from_numpy(a)


def cnn(lib: Any, rng: np.random.Generator) -> Build:
    """The demo's network on batches of 64 images of 1 x 8 x 8."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Conv2d(48, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(384, 10),
    )  # fmt: skip
    x = tensor(lib, rng.random((64, 1, 8, 8), np.float32))
    labels = tensor(lib, rng.integers(0, 10, 64))
    loss = nn.CrossEntropyLoss()
    return model, lambda: loss(model(x), labels)


def mlp(lib: Any, rng: np.random.Generator) -> Build:
    """784-512-512-10 on batches of 128."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    x = tensor(lib, rng.random((128, 784), np.float32))
    labels = tensor(lib, rng.integers(0, 10, 128))
    loss = nn.CrossEntropyLoss()
    return model, lambda: loss(model(x), labels)


def transformer(lib: Any, rng: np.random.Generator) -> Build:
    """One pre-norm block, 4 heads of 32, on 8 sequences of 64; attention written in ops."""
    nn, F = lib.nn, lib.nn.functional
    N, L, D, H = 8, 64, 128, 4

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
            self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
            self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

        def forward(self, x):
            qkv = self.qkv(self.norm1(x)).reshape(N, L, 3, H, D // H).permute(2, 0, 3, 1, 4)
            q, k, v = qkv.unbind(0)  # (N, H, L, D / H) each
            weights = F.softmax(lib.matmul(q, k.transpose(-2, -1)) * (D // H) ** -0.5, dim=-1)
            mixed = lib.matmul(weights, v).transpose(1, 2).reshape(N, L, D)
            x = x + self.out(mixed)
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    model = Block()
    x = tensor(lib, rng.standard_normal((N, L, D), np.float32))
    target = tensor(lib, rng.standard_normal((N, L, D), np.float32))
    loss = nn.MSELoss()
    return model, lambda: loss(model(x), target)


class Augmented:
    """2,048 colour images of 32 x 32: padded, cropped, mirrored and scaled by the library's ops.

    What is done to an image follows from its index, so that both libraries see the same batches.
    """

    def __init__(self, lib: Any):
        rng = np.random.default_rng(0)
        self.lib, self.x = lib, rng.integers(0, 256, (2048, 3, 32, 32), np.uint8)
        self.y = rng.integers(0, 10, 2048)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        top, left = i * 7 % 9, i * 5 % 9
        image = self.lib.nn.functional.pad(self.lib.from_numpy(self.x[i]), (4, 4, 4, 4))
        image = image[:, top : top + 32, left : left + 32]
        image = image.flip(-1) if i % 2 else image
        return (image.to(self.lib.float32) - 127.5) / 64, int(self.y[i])


def augmented(lib: Any, rng: np.random.Generator) -> Build:
    """Three convolutions on batches of 64 :class:`Augmented` images from two loader processes."""
    nn = lib.nn
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip
    data = importlib.import_module(f"{lib.__name__}.utils.data")
    loader = data.DataLoader(Augmented(lib), 64, num_workers=2, persistent_workers=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    loss = nn.CrossEntropyLoss()

    def of_next() -> Any:
        x, labels = next(batches)
        return loss(model(x), labels)

    return model, of_next


def lstm(lib: Any, rng: np.random.Generator) -> Build:
    """Letters of 32 sequences of 64: embedding of 128, one LSTM of 256, scores of 64 letters."""
    nn = lib.nn

    class Letters(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(64, 128), nn.LSTM(128, 256)
            self.head = nn.Linear(256, 64)

        def forward(self, letters):
            return self.head(self.lstm(self.embedding(letters))[0]).flatten(0, 1)

    model = Letters()
    letters = rng.integers(0, 64, (65, 32))
    x, labels = tensor(lib, letters[:-1].copy()), tensor(lib, letters[1:].reshape(-1))
    loss = nn.CrossEntropyLoss()
    return model, lambda: loss(model(x), labels)


def encoder(lib: Any, rng: np.random.Generator) -> Build:
    """Six encoder layers of 128 features, 4 heads and 512 inside, on 8 causal sequences of 64."""
    nn = lib.nn
    N, L, D = 8, 64, 128
    layer = nn.TransformerEncoderLayer(D, 4, 4 * D, 0.0, "gelu", batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 6, nn.LayerNorm(D), enable_nested_tensor=False)
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    x = tensor(lib, rng.standard_normal((N, L, D), np.float32))
    target = tensor(lib, rng.standard_normal((N, L, D), np.float32))
    loss = nn.MSELoss()
    return model, lambda: loss(model(x, mask, is_causal=True), target)


def same_weights(lib: Any, model: Any) -> None:
    """Weights from NumPy's generator, alike for both libraries."""
    rng = np.random.default_rng(1)
    with lib.no_grad():
        for p in model.parameters():
            spread = 1 / np.sqrt(max(int(np.prod(p.shape[1:])), 1))
            a = rng.uniform(-spread, spread, tuple(p.shape)).astype(np.float32)
            p.copy_(lib.from_numpy(a))


def steps(lib: Any, model: Any, loss_of: Callable[[], Any]) -> Callable[[], Any]:
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(library: str, network: str, seconds: float, threads: int) -> dict[str, Any]:
    """One library on one network, in this process."""
    lib = importlib.import_module(library)
    if library == "torch":
        lib.set_num_threads(threads)
    model, loss_of = globals()[network](lib, np.random.default_rng(0))
    same_weights(lib, model)
    dropped = [(m, m.p) for m in model.modules() if isinstance(m, lib.nn.Dropout)]
    for m, _ in dropped:
        m.p = 0.0
    step = steps(lib, model, loss_of)
    losses = [float(step().item()) for _ in range(5)]
    for m, p in dropped:
        m.p = p
    if library == "tgrad":
        lib.cpu.reset_peak_memory_stats()
    once = min(timed(step, 3) for _ in range(3))
    count = max(1, int(seconds / 9 / once))
    rounds = [1 / timed(step, count) for _ in range(9)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "losses": losses,
        "steps_per_second": statistics.median(rounds),
        "spread": (max(rounds) - min(rounds)) / statistics.median(rounds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "peak_bytes": lib.cpu.max_memory_allocated() if library == "tgrad" else None,
        "peak_rss": peak,
        "rss": resident(),
        "version": lib.__version__,
    }


def timed(step: Callable[[], Any], count: int) -> float:
    """Seconds a step, over ``count`` steps."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def in_process(library: str, network: str, args: argparse.Namespace) -> dict[str, Any] | None:
    """The figures of :func:`measure` from a fresh process; None where the library is missing."""
    command = [sys.executable, __file__, "--measure", library, network,
               "--seconds", str(args.seconds), "--threads", str(args.threads)]  # fmt: skip
    threads = {k: str(args.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
    if run.returncode == 0:
        return json.loads(run.stdout)
    if f"No module named '{library}'" in run.stderr:
        return None
    raise RuntimeError(f"{library} on {network}: {run.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="time a network and library")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure[0], args.measure[1], args.seconds, args.threads)))
        return
    rows = []
    print(f"{'':12}{'parameters':>11}{'tgrad':>10}{'torch':>10}{'ratio':>8}{'spread':>8}"
          f"{'peak MB':>9}{'RSS MB':>8}{'torch RSS':>11}")  # fmt: skip
    for network in args.only:
        ours, peer = (in_process(library, network, args) for library in ("tgrad", "torch"))
        assert ours is not None
        if peer is not None:
            np.testing.assert_allclose(ours["losses"], peer["losses"], rtol=AGREE)
        rate, spread = ours["steps_per_second"], ours["spread"]
        beside = [f"{'-':>10}{'-':>8}", f"{'-':>11}"]
        if peer is not None:
            ratio = rate / peer["steps_per_second"]
            beside = [f"{peer['steps_per_second']:10.1f}{ratio:8.2f}",
                      f"{peer['peak_rss'] / 1e6:11.0f}"]  # fmt: skip
        memory = f"{ours['peak_bytes'] / 1e6:9.1f}{ours['peak_rss'] / 1e6:8.0f}{beside[1]}"
        print(f"{network:12}{ours['parameters']:11,}{rate:10.1f}{beside[0]}{spread:8.0%}{memory}")
        rows.append({
            "benchmark": "train", "network": network, "device": "cpu",
            "date": datetime.date.today().isoformat(), "threads": args.threads,
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(), "numpy": np.__version__,
            "tgrad": ours, "torch": peer,
        })  # fmt: skip
    print("steps a second: medians of 9 rounds; ratio: tgrad / torch; peak: held at once by arrays "
          "of 64 kB and more")  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
