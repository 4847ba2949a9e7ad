"""List the ops: kind, kernels by device, gradient, fallback."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from typing import Any

from tgrad.commands import Failure
from tgrad.registry import OPS, Op

NAME = "ops"


def arguments(parser: argparse.ArgumentParser) -> None:
    """A filter, and the form of the answer."""
    parser.add_argument("pattern", nargs="?", default="", help="show names that contain this")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="only ops that run on the host for lack of a CUDA kernel",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also hidden ops: backward kernels and parts of overloads",
    )


def has_kernel(entry: Op, device: str) -> bool:
    """Whether the op runs on ``device``; kernels are found in the source where Triton is absent."""
    if entry.kind in ("view", "composite"):
        return True
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return _in_source(entry)
    return entry.kernel(device) is not None


def _in_source(entry: Op) -> bool:
    if entry.kind in ("pointwise", "update") or "cuda" in entry.kernels:
        return True
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(here, "kernels", "cuda", f"{entry.family}.py")
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as file:
        return f'@kernel("{entry.name}", "cuda")' in file.read()


def gradient(entry: Op) -> str:
    """ "rule" for a rule of its own, "through" where it comes from the ops it calls, or "none"."""
    if entry.rules:
        return "rule"
    return "through" if entry.kind == "composite" else "none"


def describe(entry: Op) -> dict[str, Any]:
    cpu, cuda = has_kernel(entry, "cpu"), has_kernel(entry, "cuda")
    return {
        "name": entry.name,
        "kind": entry.kind,
        "family": entry.family,
        "public": list(entry.spaces),
        "cpu": cpu,
        "cuda": cuda,
        "gradient": gradient(entry),
        "fallback": cpu and not cuda,
    }


def run(options: argparse.Namespace) -> None:
    rows = [
        describe(e)
        for e in sorted(OPS.values(), key=lambda e: e.name)
        if options.pattern in e.name and (options.all or options.fallback or e.spaces)
    ]
    if options.fallback:
        rows = [r for r in rows if r["fallback"]]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    if not rows and options.fallback:
        print("every op has a CUDA kernel")
        return
    if not rows:
        raise Failure(f"no op's name contains {options.pattern!r}")
    width = max(len(r["name"]) for r in rows)
    mark = {True: "yes", False: "-"}
    print(f"{'name':{width}}  {'kind':9}  {'family':12}  cpu  cuda  {'gradient':8}  fallback")
    for r in rows:
        print(
            f"{r['name']:{width}}  {r['kind']:9}  {r['family']:12}  {mark[r['cpu']]:3}  "
            f"{mark[r['cuda']]:4}  {r['gradient']:8}  {'host' if r['fallback'] else '-'}"
        )
    host = sum(r["fallback"] for r in rows)
    print(f"{len(rows)} ops, {host} of them on the host where the device is a GPU")
