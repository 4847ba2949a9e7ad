"""Where there is no GPU, ``cuda`` is Triton's interpreter; it must be chosen before any import."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")

from tests.fake_driver import fake_driver  # noqa: F401 - a fixture
