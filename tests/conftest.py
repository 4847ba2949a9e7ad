"""Where there is no GPU, ``cuda`` is Triton's interpreter; it must be chosen before any import."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("TGRAD_TUNED", "0")  # tests see the choices that are shipped

from tests.fake_driver import fake_driver  # noqa: F401 - a fixture
