"""Processes that run one function each, with their number; a failure of any ends all."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import Any

__all__ = ["ProcessContext", "ProcessException", "ProcessExitedException",
           "ProcessRaisedException", "spawn", "start_processes"]  # fmt: skip

PR_SET_PDEATHSIG = 1
PATIENCE = 30.0  # seconds from SIGTERM to SIGKILL, where no grace period is given


class ProcessException(Exception):
    """A process of :func:`spawn` failed: its number among them, and its pid."""

    def __init__(self, msg: str, error_index: int, error_pid: int):
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid = msg, error_index, error_pid

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The function raised; the message has the traceback."""


class ProcessExitedException(ProcessException):
    """The process ended by a signal or with an exit code other than 0."""

    def __init__(
        self,
        msg: str,
        error_index: int,
        error_pid: int,
        exit_code: int,
        signal_name: str | None = None,
    ):
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self) -> tuple:
        return type(self), (*super().__reduce__()[1], self.exit_code, self.signal_name)


def end_with_parent() -> None:
    """Let SIGINT come when the parent ends, where the system can (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _run(fn: Callable[..., Any], index: int, args: tuple, failure: str) -> None:
    """What runs in a process: a traceback is left in the file ``failure``."""
    end_with_parent()
    try:
        fn(index, *args)
    except KeyboardInterrupt:
        pass  # the parent ends this process
    except Exception:
        Path(failure).write_bytes(pickle.dumps(traceback.format_exc()))
        sys.exit(1)


class ProcessContext:
    """Processes that were started together. ``processes`` are multiprocessing's."""

    def __init__(self, processes: list[Any], failures: list[str]):
        self.processes, self.failures = processes, failures
        self.sentinels = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The processes' numbers of the system."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until a process ends, for ``timeout`` seconds at most; True when all have ended.

        If one failed the others are ended: ``grace_period`` seconds later by SIGTERM, and by
        SIGKILL those that are still there after as long again.
        Raises: ProcessRaisedException with the traceback of a function that raised,
        ProcessExitedException for a process that ended otherwise.
        """
        ready = connection.wait(list(self.sentinels), timeout) if self.sentinels else []
        for sentinel in ready:
            index = self.sentinels.pop(sentinel)  # pyright: ignore[reportArgumentType, reportCallIssue]
            self.processes[index].join()
            if self.processes[index].exitcode != 0:
                self._end(grace_period)
                self._raise(index)
        return not self.sentinels

    def _wait(self, seconds: float) -> list[Any]:
        """Wait for all, and return those that have not ended."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
        return [process for process in self.processes if process.is_alive()]

    def _end(self, grace_period: float | None) -> None:
        left = self._wait(grace_period or 0.0)
        for process in left:
            process.terminate()
        for process in self._wait(PATIENCE if grace_period is None else grace_period):
            process.kill()
            process.join()

    def _raise(self, index: int) -> None:
        process, failure = self.processes[index], Path(self.failures[index])
        if failure.exists():
            told = pickle.loads(failure.read_bytes())
            raise ProcessRaisedException(
                f"\n\n-- Process {index} terminated with the following error:\n{told}", index,
                process.pid,
            )  # fmt: skip
        code, name = process.exitcode, None
        how = f"exit code {code}"
        if code < 0:
            known = {s.value: s.name for s in signal.Signals}
            name = known.get(-code, f"<Unknown signal {-code}>")
            how = f"signal {name}"
        raise ProcessExitedException(
            f"process {index} terminated with {how}", index, process.pid, code, name
        )


def start_processes(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Run ``fn(i, *args)`` in ``nprocs`` processes, and wait for them unless ``join`` is False:
    then a :class:`ProcessContext` is returned. Raises what its ``join`` raises.
    """
    context: Any = multiprocessing.get_context(start_method)
    folder = tempfile.mkdtemp(prefix="tgrad-")
    failures = [str(Path(folder) / f"{i}.pickle") for i in range(nprocs)]
    processes = []
    try:
        for i in range(nprocs):
            process = context.Process(target=_run, args=(fn, i, args, failures[i]), daemon=daemon)
            process.start()
            processes.append(process)
    except BaseException:
        for process in processes:
            process.terminate()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    made = ProcessContext(processes, failures)
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    if not join:
        return made
    while not made.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """:func:`start_processes` of new interpreters. ``fn`` must be a module's own, so that they can
    import it. Another ``start_method`` is warned of and not used."""
    if start_method != "spawn":
        warnings.warn(
            f"spawn: expected start_method 'spawn', got {start_method!r}, which is not used; "
            "tgrad.multiprocessing.start_processes takes it.",
            FutureWarning,
            stacklevel=2,
        )
    return start_processes(fn, args, nprocs, join, daemon)
