"""Events as a trace in Chrome's JSON format, which Perfetto reads.

Format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tgrad.profiler.recorder import Event

GPU = "GPU"  # the process under which device times stand


def export(events: Iterable[Event], path: str) -> None:
    """Write events to ``path``; gzipped where it ends in ``.gz``."""
    text = json.dumps({"traceEvents": rows(events), "displayTimeUnit": "ms"})
    if str(path).endswith(".gz"):
        with gzip.open(path, "wt") as file:
            file.write(text)
    else:
        Path(path).write_text(text)


def rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """A complete event ("X") for each on its thread, and one on the GPU's line where it ran there.

    Times in us.
    """
    process = os.getpid()
    found: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": process, "args": {"name": "host"}},
        {"ph": "M", "name": "process_name", "pid": GPU, "args": {"name": GPU}},
    ]
    for e in sorted(events, key=lambda e: e.start):
        about = {"bytes": e.bytes, "flops": e.flops, "dtype": e.dtype, "shapes": e.shapes,
                 "memory": e.memory, "called from": e.stack}  # fmt: skip
        row = {
            "ph": "X", "name": e.name, "cat": "user_annotation" if e.kind == "user" else "cpu_op",
            "pid": process, "tid": e.thread, "ts": e.start / 1e3, "dur": e.total_us,
            "args": {k: v for k, v in about.items() if v},
        }  # fmt: skip
        found.append(row)
        if e.device_us is not None:
            found.append(
                row | {"cat": "kernel", "pid": GPU, "tid": 0, "ts": e.device_start_us,
                       "dur": e.device_us}
            )  # fmt: skip
    return found
