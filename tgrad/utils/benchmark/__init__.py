"""Timing of statements, with the names of ``torch.utils.benchmark``.

A :class:`Timer` measures a statement, after all work of a GPU has ended; a :class:`Measurement`
tells what it found; :class:`Compare` sets many of them into one table. Statements are Python's:
PyTorch's C++ ones and its instruction counts have no counterpart.
"""

from tgrad.utils.benchmark.compare import Colorize, Compare
from tgrad.utils.benchmark.measurement import (
    Measurement,
    TaskSpec,
    ordered_unique,
    select_unit,
    set_threads,
    trim_sigfig,
    unit_to_english,
)
from tgrad.utils.benchmark.timer import Language, Timer, timer

__all__ = ["Colorize", "Compare", "Language", "Measurement", "TaskSpec", "Timer", "ordered_unique",
           "select_unit", "set_threads", "timer", "trim_sigfig", "unit_to_english"]  # fmt: skip
