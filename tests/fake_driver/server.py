"""The process that tests on the fake driver are forked from.

``python -m tests.fake_driver.server`` reads a request a line, runs it in a child, answers with one.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import pickle
import signal
import sys
import tempfile
import traceback
import warnings
from typing import Any

LIMIT = 120  # seconds a test may take


def child(request: dict[str, Any], output: int) -> None:
    """Run one test and end the process: 0 if it passed."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.alarm(LIMIT)
    os.environ.update(request["settings"])
    code = 1
    try:
        warnings.simplefilter("error")
        test = getattr(importlib.import_module(request["module"]), request["name"])
        test.__wrapped__(**pickle.loads(base64.b64decode(request["arguments"])))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    import tgrad.runtime.driver  # noqa: F401 - imported, not called: libcuda.so.1 is not loaded yet

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        importlib.import_module(request["module"])
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if pid == 0:
                child(request, output.fileno())
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            text = output.read().decode(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 1):
            text += f"\nthe process of the test ended with {code}"
        answers.write(json.dumps({"ok": code == 0, "output": text}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
