"""Throughput of the main kernels on a GPU, beside torch: the same calls in a process each.

    python benchmarks/throughput.py [--small] [--only NAME ...] [--out FILE]

Every case has the bytes that it must move and the flops that it must do, from its shapes. They are
set against two ceilings measured in the same run: a large copy and a large matrix product. Results
of both libraries on the same inputs must agree before a time counts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tgrad.tuner.timing import measure

L2 = 64 << 20  # bytes: inputs are rotated until they are twice as large as any cache
SECONDS = 100  # of one process, after which cases are left out and named
AGREE = {"bfloat16": 3e-2, "float16": 4e-3, "float32": 2e-5, "tf32": 2e-3}
SIZES = {"bfloat16": 2, "float16": 2, "float32": 4, "tf32": 4}

Shape = tuple[int, ...]


class Case(NamedTuple):
    """``run(lib, *tensors)``; shapes of the tensors on a GPU and on the emulator.

    ``passes``: bytes moved, in elements of the tensors ("0" is the first one's count) as
    coefficients; ``flops`` takes the shapes. ``backward`` times the gradients alone.
    """

    name: str
    run: Callable[..., Any]
    big: Sequence[Shape]
    small: Sequence[Shape]
    passes: Sequence[float]
    flops: Callable[..., float] | None = None
    backward: bool = False
    dtypes: Sequence[str] = ("bfloat16", "float32")
    kinds: str = ""  # "i" at a tensor's place: int64 below the extent in `high`
    high: int = 10


def product(a: Shape, b: Shape) -> float:
    return 2.0 * float(np.prod(a)) * b[-1]


def linear_flops(x: Shape, w: Shape, *b: Shape) -> float:
    return 2.0 * float(np.prod(x)) * w[0]


def conv_flops(x: Shape, w: Shape) -> float:
    return 2.0 * x[0] * x[2] * x[3] * float(np.prod(w))


def conv(lib: Any, x: Any, w: Any) -> Any:
    return lib.nn.functional.conv2d(x, w, padding=w.shape[-1] // 2)


def last(run: Callable[..., Any]) -> Callable[..., Any]:
    """The same on inputs that are channels last in memory."""

    def call(lib: Any, *xs: Any) -> Any:
        return run(lib, *xs)

    call.channels_last = True  # pyright: ignore[reportFunctionMemberAccess]
    return call


M, ROW = (8192, 8192), (8192, 4096)
SMALL, S = (37, 19), (33, 40)
CASES = [
    Case("copy", lambda t, x: x.clone(), [M], [SMALL], [2]),
    Case("add", lambda t, x, y: x + y, [M, M], [SMALL, SMALL], [2, 1]),
    Case("add row", lambda t, x, y: x + y, [M, (8192,)], [SMALL, (19,)], [2, 1]),
    Case("gelu", lambda t, x: t.nn.functional.gelu(x), [M], [SMALL], [2]),
    Case("gelu backward", lambda t, x: t.nn.functional.gelu(x), [M], [SMALL], [3], None, True),
    Case("transpose", lambda t, x: x.t().contiguous(), [M], [SMALL], [2]),
    Case("sum", lambda t, x: x.sum(), [M], [SMALL], [1]),
    Case("sum rows", lambda t, x: x.sum(1), [M], [SMALL], [1]),
    Case("sum columns", lambda t, x: x.sum(0), [M], [SMALL], [1]),
    Case("softmax 4k", lambda t, x: t.softmax(x, -1), [ROW], [S], [2]),
    Case("softmax 152k", lambda t, x: t.softmax(x, -1), [(512, 151936)], [(3, 333)], [2]),
    Case("softmax backward", lambda t, x: t.softmax(x, -1), [ROW], [S], [3], None, True),
    Case("layer_norm", lambda t, x, w, b: t.nn.functional.layer_norm(x, x.shape[1:], w, b),
         [ROW, (4096,), (4096,)], [S, (40,), (40,)], [2, 1, 1]),
    Case("layer_norm backward",
         lambda t, x, w, b: t.nn.functional.layer_norm(x, x.shape[1:], w, b),
         [ROW, (4096,), (4096,)], [S, (40,), (40,)], [3, 2, 1], None, True),
    Case("rms_norm", lambda t, x, w: t.nn.functional.rms_norm(x, x.shape[1:], w),
         [ROW, (4096,)], [S, (40,)], [2, 1]),
    Case("batch_norm", lambda t, x, w, b: t.nn.functional.batch_norm(
        x, None, None, w, b, training=True),
         [(64, 256, 56, 56), (256,), (256,)], [(2, 5, 6, 6), (5,), (5,)], [2, 1, 1]),
    Case("cross_entropy", lambda t, x, y: t.nn.functional.cross_entropy(x, y),
         [(8192, 32000), (8192,)], [(17, 30), (17,)], [1, 0], kinds=".i", high=30),
    Case("cross_entropy backward", lambda t, x, y: t.nn.functional.cross_entropy(x, y),
         [(8192, 32000), (8192,)], [(17, 30), (17,)], [2, 0], None, True, kinds=".i", high=30),
    Case("embedding", lambda t, i, w: t.nn.functional.embedding(i, w),
         [(32, 2048), (50257, 1024)], [(3, 7), (50, 8)], [1024, 0], kinds="i.", high=50),
    Case("cumsum", lambda t, x: x.cumsum(1), [ROW], [S], [2], dtypes=("float32",)),
    Case("sort", lambda t, x: x.sort(1)[0], [(4096, 4096)], [(5, 37)], [2], dtypes=("float32",)),
    Case("max_pool2d", lambda t, x: t.nn.functional.max_pool2d(x, 2),
         [(64, 64, 112, 112)], [(2, 3, 8, 8)], [1.25]),
    Case("matmul 8192", lambda t, a, b: a @ b, [M, M], [(33, 40), (40, 21)], [2, 1], product,
         dtypes=("bfloat16", "float16", "tf32")),
    Case("matmul 4096 float32", lambda t, a, b: a @ b, [(4096, 4096)] * 2, [(33, 40), (40, 21)],
         [2, 1], product, dtypes=("float32",)),
    Case("matmul 16 x 8192 x 8192", lambda t, a, b: a @ b, [(16, 8192), M], [(16, 40), (40, 21)],
         [2, 1], product, dtypes=("bfloat16",)),
    Case("bmm", lambda t, a, b: t.bmm(a, b), [(512, 512, 64), (512, 64, 512)],
         [(2, 20, 16), (2, 16, 20)], [1, 1], product, dtypes=("bfloat16", "tf32")),
    Case("linear 8192 x 4096 -> 11008", lambda t, x, w: t.nn.functional.linear(x, w),
         [(8192, 4096), (11008, 4096)], [(20, 40), (24, 40)], [1, 1], linear_flops,
         dtypes=("bfloat16",)),
    Case("linear bias", lambda t, x, w, b: t.nn.functional.linear(x, w, b),
         [(8192, 1024), (4096, 1024), (4096,)], [(20, 40), (24, 40), (24,)], [1, 1, 1],
         linear_flops, dtypes=("bfloat16", "tf32")),
    Case("conv2d 3x3 NCHW", conv, [(32, 64, 56, 56), (64, 64, 3, 3)],
         [(2, 8, 7, 7), (8, 8, 3, 3)], [2, 1], conv_flops, dtypes=("bfloat16", "tf32")),
    Case("conv2d 3x3 NHWC", last(conv), [(32, 64, 56, 56), (64, 64, 3, 3)],
         [(2, 8, 7, 7), (8, 8, 3, 3)], [2, 1], conv_flops, dtypes=("bfloat16",)),
    Case("conv2d 3x3 NCHW backward", conv, [(32, 128, 28, 28), (128, 128, 3, 3)],
         [(2, 8, 7, 7), (8, 8, 3, 3)], [3, 2], lambda x, w: 2 * conv_flops(x, w), True,
         ("bfloat16", "tf32")),
    Case("conv2d 1x1 NCHW", conv, [(32, 256, 56, 56), (64, 256, 1, 1)],
         [(2, 8, 7, 7), (8, 8, 1, 1)], [1.25, 1], conv_flops, dtypes=("bfloat16",)),
    Case("tiny x + y", lambda t, x, y: x + y, [(8,), (8,)], [(8,), (8,)], [2, 1],
         dtypes=("float32",)),
    Case("tiny x @ y", lambda t, x, y: x @ y, [(8, 8)] * 2, [(8, 8)] * 2, [2, 1],
         dtypes=("float32",)),
]  # fmt: skip


# ---- one library ---------------------------------------------------------------------------------


def tensors(lib: Any, case: Case, dtype: str, device: str, shapes: Sequence[Shape], turn: int):
    """Inputs that are the same for both libraries: a period of random numbers, laid end to end."""
    made = []
    for k, shape in enumerate(shapes):
        rng = np.random.default_rng(1000 * turn + k)
        n = int(np.prod(shape))
        if case.kinds[k : k + 1] == "i":
            host = rng.integers(0, case.high, min(n, 1_000_003))
        else:
            host = rng.standard_normal(min(n, 1_000_003), np.float32)
        x = lib.from_numpy(host).to(device)
        x = x.repeat(-(-n // len(host)))[:n].reshape(shape)
        if case.kinds[k : k + 1] != "i":
            x = x.to(getattr(lib, "float32" if dtype == "tf32" else dtype))
            if getattr(case.run, "channels_last", False):
                x = x.to(memory_format=lib.channels_last)
        made.append(x)
    return tuple(made)


def prepared(lib: Any, case: Case, inputs: tuple) -> tuple[Callable[..., Any], tuple]:
    """What is timed: the call, or its gradients by what was recorded once."""
    if not case.backward:

        def forward(*xs: Any) -> Any:
            with lib.no_grad():
                return case.run(lib, *xs)

        return forward, inputs
    leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    y = case.run(lib, *inputs)
    g = y.detach() * 0.5 + 1

    def gradients(y: Any, g: Any, *xs: Any) -> Any:
        return lib.autograd.grad(y, xs, g, retain_graph=True)

    return gradients, (y, g, *leaves)


def probe(y: Any) -> list[float]:
    """A few numbers of the results, spread over them."""
    found: list[float] = []
    for part in y if isinstance(y, (tuple, list)) else (y,):
        flat = part.detach().reshape(-1)
        flat = flat[:: max(1, flat.numel() // 61)][:61]
        found += flat.float().cpu().tolist()
    return found


def run_library(name: str, device: str, small: bool, only: Sequence[str]) -> dict[str, Any]:
    lib = importlib.import_module(name)
    importlib.import_module(f"{name}.nn")
    rows, end = [], time.perf_counter() + SECONDS
    for case in CASES:
        if only and not any(o in case.name for o in only):
            continue
        for dtype in case.dtypes:
            row: dict[str, Any] = {"case": case.name, "dtype": dtype}
            rows.append(row)
            if time.perf_counter() > end:
                row["error"] = f"left out: {SECONDS} s were over"
                continue
            try:
                row.update(run_case(lib, case, dtype, device, small))
            except Exception as e:  # one kernel that fails must not hide the others
                row["error"] = f"{type(e).__name__}: {e}"[:500]
                row["traceback"] = traceback.format_exc()[-2000:]
    return {"library": name, "version": lib.__version__, "rows": rows}


def run_case(lib: Any, case: Case, dtype: str, device: str, small: bool) -> dict[str, Any]:
    # torch on a CPU takes "medium" for leave to use bfloat16
    fast = dtype == "tf32" and not (small and lib.__name__ == "torch")
    lib.set_float32_matmul_precision("medium" if fast else "highest")
    if lib.__name__ == "torch":
        lib.backends.cudnn.allow_tf32 = dtype == "tf32"
        lib.backends.cudnn.benchmark = True  # its own best choice of algorithm
    shapes = case.small if small else case.big
    size = SIZES[dtype]
    moved = size * sum(c * float(np.prod(s)) for c, s in zip(case.passes, shapes, strict=True))
    count = 1 if small else int(min(8, max(1, 2 * L2 // max(moved, 1))))
    made = [prepared(lib, case, tensors(lib, case, dtype, device, shapes, k)) for k in range(count)]
    run = made[0][0]
    found = probe(run(*made[0][1]))
    timing = measure(lib, run, [inputs for _, inputs in made], device)
    flops = case.flops(*shapes) if case.flops else 0.0
    return {
        "shapes": [list(s) for s in shapes], "bytes": moved, "flops": flops, "us": timing.device,
        "us_20": timing.low, "us_80": timing.high, "host_us": timing.host, "way": timing.way,
        "probe": found,
    }  # fmt: skip


# ---- both ----------------------------------------------------------------------------------------


def in_process(name: str, device: str, small: bool, only: Sequence[str]) -> dict[str, Any] | None:
    """The rows of :func:`run_library` from a fresh process; None where the library is missing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--library", name, "--device", device,
                   "--out", str(out), *(["--small"] if small else [])]  # fmt: skip
        command += ["--only", *only] if only else []
        run = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        if out.exists():
            return json.loads(out.read_text())
        if f"No module named '{name}'" in run.stderr:
            return None
        raise RuntimeError(f"{name}: {run.stderr[-3000:]}")


def disagreement(ours: Sequence[float], theirs: Sequence[float], dtype: str) -> float:
    """The largest difference over the largest number, in units of what is allowed."""
    a, b = np.array(ours), np.array(theirs)
    if a.shape != b.shape:
        return float("inf")
    scale = max(float(np.abs(b).max(initial=0)), 1e-6)
    return float(np.abs(a - b).max(initial=0)) / scale / AGREE[dtype]


def compare(ours: dict[str, Any], peer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One row a case: both times, their ratio, the shares of the ceilings."""
    theirs = {(r["case"], r["dtype"]): r for r in (peer or {"rows": []})["rows"]}
    everything = [*ours["rows"], *theirs.values()]
    copies = [r["bytes"] / r["us"] for r in everything if r["case"] == "copy" and "us" in r]
    products = [r["flops"] / r["us"] for r in everything
                if r["case"].startswith("matmul 8192") and "us" in r]  # fmt: skip
    rows = []
    for r in ours["rows"]:
        other = theirs.get((r["case"], r["dtype"]), {})
        row = {k: v for k, v in r.items() if k not in ("probe", "traceback")}
        if "error" in r:
            row["traceback"] = r.get("traceback", "")
        if "us" in r and "us" in other:
            row["peer_us"], row["peer_host_us"] = other["us"], other["host_us"]
            row["ratio"] = other["us"] / r["us"]
            row["error_units"] = disagreement(r["probe"], other["probe"], r["dtype"])
        if "us" in r and copies:
            row["bandwidth_share"] = r["bytes"] / r["us"] / max(copies)
        if "us" in r and products and r["flops"]:
            row["flops_share"] = r["flops"] / r["us"] / max(products)
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'case':30}{'dtype':>9}{'us':>10}{'torch us':>10}{'ratio':>7}{'host us':>9}"
             f"{'torch':>8}{'TB/s':>7}{'TFLOP/s':>9}{'share':>7}  "]  # fmt: skip
    for r in rows:
        head = f"{r['case']:30}{r['dtype']:>9}"
        if "us" not in r:
            lines.append(f"{head}  {r['error'].splitlines()[0][:90]}")
            continue
        peer = f"{r['peer_us']:10.1f}{r['ratio']:7.2f}" if "peer_us" in r else f"{'-':>10}{'-':>7}"
        peer_host = f"{r['peer_host_us']:8.1f}" if "peer_us" in r else f"{'-':>8}"
        share = r.get("flops_share", r.get("bandwidth_share", 0.0))
        note = "" if r.get("error_units", 0) <= 1 else f"WRONG x{r['error_units']:.1f}"
        note += "" if r["way"] == "graph" else f" ({r['way']})"
        lines.append(f"{head}{r['us']:10.1f}{peer}{r['host_us']:9.1f}{peer_host}"
                     f"{r['bytes'] / r['us'] / 1e6:7.2f}{r['flops'] / r['us'] / 1e6:9.1f}"
                     f"{share:7.0%}  {note}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="sizes for the emulator")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only", nargs="*", default=[], help="parts of case names")
    parser.add_argument("--out", help="write the rows as JSON to this file")
    parser.add_argument("--library", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.library:
        found: Any = run_library(args.library, args.device, args.small, args.only)
    else:
        ours = in_process("tgrad", args.device, args.small, args.only)
        # A peer that has no emulator computes on the CPU, so that its lines are run at all.
        peer_device = "cpu" if args.small else args.device
        peer = in_process("torch", peer_device, args.small, args.only)
        assert ours is not None
        rows = compare(ours, peer)
        print(table(rows))
        found = {"tgrad": ours["version"], "torch": peer and peer["version"], "rows": rows}
    if args.out:
        Path(args.out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
