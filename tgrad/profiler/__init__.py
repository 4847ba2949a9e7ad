"""Where the time of a program goes: ``torch.profiler``'s names, and what each op is held against.

``with profile() as p: ...; print(p.key_averages().table())`` gives a row per op with calls, host
and device time, memory moved, and the share of the roofline that its kernels reach.
``p.export_chrome_trace("trace.json")`` is read by Perfetto and ``chrome://tracing``. The variable
``TGRAD_TRACE=1`` prints a line for each launch instead.
"""

from __future__ import annotations

from tgrad.profiler.lines import trace
from tgrad.profiler.profile import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from tgrad.profiler.recorder import record_function

__all__ = ["ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule",
           "supported_activities", "tensorboard_trace_handler", "trace"]  # fmt: skip
