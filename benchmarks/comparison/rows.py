"""From the libraries' answers to rows: errors, ratios, shares of ceilings; and their comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from comparison.case import Job
from tgrad.tuner.peaks import Peak, peak_of

# The largest difference from float64 over the largest number of a result.
ALLOWED = {"bfloat16": 3e-2, "float16": 4e-3, "float32": 3e-5, "tf32": 3e-3}
MOMENTS = 0.05  # of mean and deviation of random numbers


def rows_of(
    jobs: Sequence[Job], answers: Mapping[str, Any], references: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a job; ``answers`` by library, each None where it is not installed."""
    rows = []
    for job in jobs:
        wanted = references[job.key]
        row: dict[str, Any] = {
            "family": job.case.family, "case": job.case.name, "size": job.size, "dtype": job.dtype,
            "way": "backward" if job.backward else "forward",
            "shapes": [list(s) for s in job.shapes],
            "bytes": wanted.get("bytes", 0), "flops": wanted.get("flops", 0), "libraries": {},
        }  # fmt: skip
        for name, answer in answers.items():
            if answer is not None:
                row["libraries"][name] = judged(answer["rows"][job.key], wanted, job)
        rows.append(row)
    add_ratios(rows)
    names = [a["hardware"] for a in answers.values() if a and a["hardware"]]
    add_shares(rows, peak_of(names[0]) if names else None)
    return rows


def judged(found: dict[str, Any], wanted: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """One library's answer with its error, in units of what is allowed."""
    kept = {k: v for k, v in found.items() if k != "probe"}
    if "probe" in found:
        if "probe" not in wanted:
            return kept | {"error": f"no reference: {wanted.get('error')}"}
        kept["error_units"] = error_units(found["probe"], wanted["probe"], job)
    return kept


def error_units(got: Any, want: Any, job: Job) -> float:
    if job.case.check == "moments":
        return max(abs(a - b) for g, w in zip(got, want, strict=True)
                   for a, b in zip(g, w, strict=True)) / MOMENTS  # fmt: skip
    if [len(g) for g in got] != [len(w) for w in want]:
        return math.inf
    worst = 0.0
    for g, w in zip(got, want, strict=True):
        a, b = np.array(g), np.array(w)
        scale = max(float(np.abs(b).max(initial=0)), 1e-6)
        apart = float(np.abs(a - b).max(initial=0)) / scale
        apart /= ALLOWED[job.dtype] * job.case.loose
        worst = max(worst, math.inf if math.isnan(apart) else apart)
    return worst


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Each peer's time over tgrad's: above 1, tgrad is faster."""
    for row in rows:
        ours = row["libraries"].get("tgrad", {}).get("us")
        for name, r in row["libraries"].items():
            if ours and name != "tgrad" and "us" in r:
                r["ratio"] = r["us"] / ours


def add_shares(rows: Sequence[dict[str, Any]], peak: Peak | None) -> None:
    """The roofline's least time over each time taken: "share" by the best copy and the best product
    of this run, "datasheet" by what the GPU's maker says."""
    ceilings = measured_ceilings(rows)
    for row in rows:
        flops = ceilings["flops"].get(row["dtype"]) or max(ceilings["flops"].values(), default=0)
        least = [row["bytes"] / ceilings["bytes"]] if ceilings["bytes"] else []
        least += [row["flops"] / flops] if flops and row["flops"] else []
        for r in row["libraries"].values():
            if least and "us" in r:
                r["share"] = max(least) / r["us"]
            if peak is not None and "us" in r:
                us = row["bytes"] / peak.bandwidth / 1e3
                us = max(us, row["flops"] / peak.flops(row["dtype"]) / 1e6)
                r["datasheet"] = us / r["us"]


def measured_ceilings(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Bytes a us of the fastest large copy, flops a us of the fastest product by dtype."""
    moved, flops = 0.0, {}
    largest = max((row["bytes"] for row in rows if row["case"] == "copy"), default=0)
    for row in rows:
        for r in row["libraries"].values():
            if "us" not in r:
                continue
            if row["case"] == "copy" and row["bytes"] == largest:
                moved = max(moved, row["bytes"] / r["us"])
            if row["case"] == "matmul":
                best = flops.get(row["dtype"], 0.0)
                flops[row["dtype"]] = max(best, row["flops"] / r["us"])
    return {"bytes": moved, "flops": flops}


def geometric_mean(rows: Sequence[Mapping[str, Any]], peer: str) -> float | None:
    """Of the peer's ratios."""
    found = [r["ratio"] for row in rows for n, r in row["libraries"].items()
             if n == peer and "ratio" in r]  # fmt: skip
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def key_of(row: Mapping[str, Any]) -> str:
    return f"{row['case']} {row['way']} | {row['size']} | {row['dtype']}"


def against_baseline(
    rows: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]], band: float
) -> tuple[list[str], list[str]]:
    """Lines on what is slower, and what is faster, than in an earlier result by more than ``band``
    beyond the spread of either."""
    old = {key_of(row): row["libraries"].get("tgrad", {}) for row in before}
    slower, faster = [], []
    for row in rows:
        now, then = row["libraries"].get("tgrad", {}), old.get(key_of(row), {})
        if "us" not in now or "us" not in then:
            continue
        text = f"{key_of(row)}: {then['us']:.1f} -> {now['us']:.1f} us"
        if now["us_20"] > then["us_80"] * (1 + band):
            slower.append(text)
        elif now["us_80"] < then["us_20"] * (1 - band):
            faster.append(text)
    return slower, faster
