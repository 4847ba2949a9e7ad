"""One library in a process of its own: every job checked, then timed."""

from __future__ import annotations

import importlib.util
import math
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from comparison.case import Job
from comparison.libraries import LIBRARIES, Absent, host_inputs
from tgrad.tuner.timing import measure, percentiles

CACHE = 64 << 20  # bytes: inputs are rotated until they are twice as large as a cache
SETS = 8
ROUNDS = 9


def run(name: str, device: str, jobs: Sequence[Job], seconds: float, threads: int, limit: float):
    """Rows of one library by the jobs' keys. After ``limit`` seconds jobs are left out, named."""
    library = LIBRARIES[name](name, device, threads)
    rows: dict[str, dict[str, Any]] = {}
    end = time.perf_counter() + limit
    for job in jobs:
        if time.perf_counter() > end:
            rows[job.key] = {"absent": f"left out: {limit:.0f} s were over"}
            continue
        try:
            rows[job.key] = measured(library, job, seconds)
        except Absent as e:
            rows[job.key] = {"absent": str(e)}
        except Exception as e:  # one kernel that fails must not hide the others
            rows[job.key] = {"error": f"{type(e).__name__}: {e}"[:500],
                             "traceback": traceback.format_exc()[-3000:]}  # fmt: skip
    on_gpu = hasattr(library, "lib") and device == "cuda"
    hardware = library.lib.cuda.get_device_name() if on_gpu else ""
    return {"library": name, "version": library.version, "setting": library.setting,
            "hardware": hardware, "rows": rows}  # fmt: skip


def measured(library: Any, job: Job, seconds: float) -> dict[str, Any]:
    library.set_precision(job.dtype)
    size = sum(4 * math.prod(s) for s in job.shapes)
    sets = 1 if job.case.build is not None else min(SETS, max(1, math.ceil(2 * CACHE / size)))
    calls = []
    for turn in range(min(sets, 3) if size < 4096 else sets):
        calls.append(library.call(job, library.inputs(job, turn)))
    found: dict[str, Any] = {"probe": probe(library, calls[0](), job.case.check)}
    if hasattr(library, "lib") and library.device == "cuda":
        timed = measure(library.lib, lambda call: call(), [(c,) for c in calls], "cuda")
        return found | {"us": timed.device, "us_20": timed.low, "us_80": timed.high,
                        "host_us": timed.host, "way": timed.way}  # fmt: skip
    median, low, high = by_clock(calls, library.wait, seconds)
    return found | {"us": median, "us_20": low, "us_80": high, "host_us": median, "way": "clock"}


def by_clock(
    calls: Sequence[Callable[[], Any]], wait: Callable[[], None], seconds: float
) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile of us a call, of rounds that together take ``seconds``."""

    def once(count: int) -> float:
        wait()
        start = time.perf_counter()
        for k in range(count):
            calls[k % len(calls)]()
        wait()
        return (time.perf_counter() - start) / count

    once(len(calls))
    each = min(once(len(calls)), once(len(calls)))
    count = max(1, int(seconds / ROUNDS / max(each, 1e-7)))
    rounds = [once(count) * 1e6 for _ in range(ROUNDS if each < seconds else 3)]
    return percentiles(rounds)


def probe(library: Any, results: Any, check: str) -> list[list[float]]:
    """Some numbers of each result, spread over it; or its mean and deviation."""
    parts = library.numbers(results, check != "moments")
    if check == "moments":
        return [[float(a.mean()), float(a.std())] for a in parts]
    return [a.tolist() for a in parts]


# ---- what everyone is held against ---------------------------------------------------------------


def references(
    jobs: Sequence[Job], device: str, limit: float = math.inf
) -> dict[str, dict[str, Any]]:
    """Results in float64 of inputs rounded to each job's dtype, and what the job costs.

    On the CPU, NumPy computes them where the case has a twin in its language; gradients, and the
    rest, are tgrad's in float64, which its tests hold against finite differences. Sizes for a GPU
    are beyond a CPU: there torch computes them in float64 where it is installed, else tgrad. After
    ``limit`` seconds jobs are left without one, named.
    """
    ours = wide = LIBRARIES["tgrad"]("tgrad", device, 1)
    if device == "cuda" and importlib.util.find_spec("torch"):
        other = LIBRARIES["torch"]("torch", device, 1)
        wide = other if other.lib.cuda.is_available() else ours
    found: dict[str, dict[str, Any]] = {}
    end = time.perf_counter() + limit
    for job in jobs:
        if time.perf_counter() > end:
            found[job.key] = {"error": f"{limit:.0f} s were over"}
            continue
        try:
            found[job.key] = reference(ours, wide, job)
        except Exception as e:
            found[job.key] = {"error": f"{type(e).__name__}: {e}"[:300]}
    return found


def reference(ours: Any, wide: Any, job: Job) -> dict[str, Any]:
    """``ours`` counts operations, ``wide`` computes in float64 what NumPy does not."""
    case = job.case
    wide.set_precision(job.dtype)
    ours.set_precision(job.dtype)
    if case.array is not None and not job.backward and wide.device == "cpu":
        kind = np.float32 if case.check == "moments" else np.float64
        hosts = [rounded(ours, a, job.dtype) for a in host_inputs(job, 0)]
        with np.errstate(all="ignore"):
            results = np.asarray(case.array(np, *[as_kind(a, kind) for a in hosts]))
        size, found = (
            results.size,
            probe(LIBRARIES["numpy"]("numpy", "cpu", 1), results, case.check),
        )
    else:
        results = wide.call(job, wide.widened(wide.inputs(job, 0)))()
        size, found = wide.size(results), probe(wide, results, case.check)
    elements = sum(math.prod(s) for s in job.shapes) + size
    if job.backward:  # and the gradient that comes in, as large as the output
        elements += ours.size(ours.call(job._replace(backward=False), ours.inputs(job, 0))())
    elif case.moved is not None:
        elements = case.moved(*job.shapes)
    itemsize = {"bfloat16": 2, "float16": 2}.get(job.dtype, 4)
    return {"probe": found, "bytes": elements * itemsize, "flops": flops(ours, job)}


def as_kind(a: np.ndarray, kind: Any) -> np.ndarray:
    return a.astype(kind) if a.dtype.kind == "f" else a


def rounded(ours: Any, a: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that a library computes with in ``dtype``."""
    if a.dtype.kind != "f" or dtype not in ("bfloat16", "float16"):
        return a
    lib = ours.lib
    return lib.from_numpy(a).to(getattr(lib, dtype)).to(lib.float32).numpy()


def flops(ours: Any, job: Job) -> int:
    """Floating-point operations of matrix products, counted from what each op is called with."""
    from tgrad.profiler import profile

    call = ours.call(job, ours.inputs(job, 0))
    with profile() as p:
        call()
    return sum(e.flops for e in p.events())
