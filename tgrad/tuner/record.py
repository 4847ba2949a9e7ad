"""Run a program and write down the calls whose kernels have choices: a process of its own.

python -m tgrad.tuner.record FILE ARCH SCRIPT [ARGUMENT ...]
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    place, arch, script, *rest = arguments
    from tgrad.runtime import cuda
    from tgrad.runtime.recorder import recording
    from tgrad.tuner.discover import collecting

    alone = not cuda.is_available()
    sys.argv = [script, *rest]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    with recording(int(arch)) if alone else contextlib.nullcontext(), collecting() as found:
        try:
            runpy.run_path(script, run_name="__main__")
        finally:  # of a program that was interrupted too
            lines = dict.fromkeys(t.call.text() for t in found.tasks.values())
            Path(place).write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
