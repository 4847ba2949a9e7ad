"""Many kernels compiled at once, each in a worker process with an interpreter of its own.

Workers are fresh processes, not forks: a process that holds a GPU may start them, and a process
that interprets kernels (TRITON_INTERPRET=1) has them compiled all the same. They import nothing of
the program's main module, so that a script needs no guard. A crash of the compiler ends one job.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import linecache
import marshal
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from tgrad.runtime import threads
from tgrad.runtime.binaries import Binary
from tgrad.runtime.compiler import CompileError, Job, compile

_SIZE = struct.Struct("<Q")


def compiled(job: Job) -> Binary:
    """What a worker does with a job unless it is told otherwise."""
    return compile(*job[:5], **job.options)


def warm_up(
    jobs: Sequence[Job],
    processes: int | None = None,
    work: Callable[[Job], Any] = compiled,
    done: Callable[[int], None] = lambda i: None,
    until: float = float("inf"),
    workers: Sequence[Worker] | None = None,
) -> list[Any]:
    """Compile ``jobs``, ``processes`` at a time (one per core unless said), into the cache on disk.

    The results are in the order of the jobs: binaries, or what ``work``, a function of a module,
    makes of a job; a :class:`CompileError` in the place of what failed, and None for jobs that had
    not begun at the time ``until`` (of ``time.monotonic``). ``done(i)`` is called after each job,
    in some thread. ``workers`` are used, and left running for the next call, where they are given.
    """
    results: list[Any] = [None] * len(jobs)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(len(jobs)):
        waiting.put(i)

    def serve(worker: Worker) -> None:
        while time.monotonic() < until:
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                break
            results[i] = worker.run(jobs[i], work)
            done(i)
        if workers is None:
            worker.close()

    staff = workers or [Worker() for _ in range(processes or threads.available())]
    servants = [
        threading.Thread(target=serve, args=(worker,), name="tgrad warm-up", daemon=True)
        for worker in staff[: len(jobs)]
    ]
    for thread in servants:
        thread.start()
    for thread in servants:
        thread.join()
    return results


class Worker:
    """One process, started for its first job and again after a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None

    def run(self, job: Job, work: Callable[[Job], Any] = compiled) -> Any:
        try:
            data = dumps(job, work)
        except (pickle.PicklingError, TypeError, AttributeError) as e:
            return CompileError(f"{job.kernel.__name__} cannot be sent to another process: {e}")
        if self.process is None:
            self.process = start()
        try:
            send(self.process.stdin, data)
            return pickle.loads(receive(self.process.stdout))
        except (BrokenPipeError, EOFError):
            return CompileError(
                f"{job.kernel.__name__}: the process that compiled it for sm_{job.arch} ended "
                f"with code {self.close()}"
            )

    def close(self) -> int:
        """Let the process end; its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError), process:
            pass  # closes the pipes, which tells the process to end, and waits
        return process.returncode


def start() -> subprocess.Popen:
    path = os.pathsep.join(p or os.getcwd() for p in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", "from tgrad.runtime.warmup import work; work()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "0"},
    )


def work() -> None:
    """Serve jobs from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for who gives the jobs, and ends the input
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a compiler prints must not mix with replies
    while True:
        try:
            data = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            function, job = pickle.loads(data)
            reply: Any = function(job)
        except CompileError as e:
            reply = e
        except Exception as e:  # the process serves on; the caller gets the reason
            reply = CompileError(f"{type(e).__name__}: {e}")
        send(replies, pickle.dumps(reply))


def send(file: Any, data: bytes) -> None:
    file.write(_SIZE.pack(len(data)) + data)
    file.flush()


def receive(file: Any) -> bytes:
    """The next message. Raises EOFError where there is none."""
    head = file.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    size = _SIZE.unpack(head)[0]
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


# ---- kernels as bytes ----------------------------------------------------------------------------


def dumps(job: Job, work: Callable[[Job], Any] = compiled) -> bytes:
    """Work and job as bytes: kernels of modules by name, those made at run time by source."""
    file = io.BytesIO()
    plain = job._replace(signature=dict(job.signature), divisible=[*job.divisible])
    _Pickler(file).dump((work, plain))
    return file.getvalue()


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType):
            return importlib.import_module, (obj.__name__,)
        if hasattr(obj, "fn") and hasattr(obj, "arg_names"):
            return reduce_kernel(obj)
        return NotImplemented


def reduce_kernel(kernel: Any) -> tuple:
    """How another process gets ``kernel``, compiled or interpreted here."""
    fn = kernel.fn
    module = sys.modules.get(fn.__module__)
    if fn.__module__ != "__main__" and getattr(module, fn.__name__, None) is kernel:
        return find, (fn.__module__, fn.__name__)
    names = referenced(fn.__code__)
    scope = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
    filename = fn.__code__.co_filename
    text = None if os.path.exists(filename) else linecache.getlines(filename)
    noinline = getattr(kernel, "noinline", getattr(kernel, "kwargs", {}).get("noinline"))
    closure = [cell.cell_contents for cell in fn.__closure__ or ()]
    return rebuild, (
        marshal.dumps(fn.__code__), {**scope, "__name__": fn.__module__}, fn.__defaults__,
        fn.__kwdefaults__, fn.__annotations__, closure, text, noinline,
    )  # fmt: skip


def referenced(code: types.CodeType) -> set[str]:
    """The global names that code, and code inside it, may read."""
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names |= referenced(inner)
    return names


def find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def rebuild(
    code: bytes,
    scope: dict[str, Any],
    defaults: tuple | None,
    keyword_defaults: dict | None,
    annotations: dict[str, Any],
    closure: list[Any],
    text: list[str] | None,
    noinline: bool | None,
) -> Any:
    """The kernel that :func:`reduce_kernel` took apart."""
    import triton

    made = marshal.loads(code)
    if text is not None:
        name = made.co_filename
        linecache.cache[name] = (sum(map(len, text)), None, text, name)
    cells = tuple(types.CellType(value) for value in closure)
    fn = types.FunctionType(made, scope, made.co_name, defaults, cells)
    fn.__kwdefaults__, fn.__annotations__ = keyword_defaults, annotations
    fn.__module__ = scope["__name__"]
    jit: Any = triton.jit  # its stubs leave out what it accepts
    return jit(fn, noinline=noinline)
