"""``python -m tgrad.kernels``: compile every shipped kernel, without a GPU, and judge the code."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "0"  # kernels as a GPU runs them, whatever the shell says
    from tgrad.kernels.gate.report import main

    sys.exit(main())
