"""Where there is no GPU, ``cuda`` is Triton's interpreter; it must be chosen before any import."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
