"""A pytest plugin: each test's outcome goes to a file at once, so that nothing is lost at a cut."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def pytest_runtest_logreport(report: Any) -> None:
    """Called in the process that reports: under xdist for the tests of every worker."""
    path = os.environ.get("TGRAD_CHECK_REPORT")
    if path is None or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    if report.when != "call" and report.outcome == "passed":
        return
    why = ""
    if report.outcome == "failed":
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash is not None else str(report.longrepr)[-400:]
    row = {"test": report.nodeid, "outcome": report.outcome, "why": why[:600],
           "seconds": round(report.duration, 3)}  # fmt: skip
    with Path(path).open("a") as file:
        file.write(json.dumps(row) + "\n")
