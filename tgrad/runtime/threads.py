"""Threads for large arrays on the CPU: a pool made at first use, gone again in forked children.

NumPy gives up the interpreter lock inside its loops, so two threads halve the time of long ones.
Waking a thread costs about 65 us: callers decide from which size on that pays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class _State:
    threads = 0  # 0: not yet asked
    interop = 0  # 0: not set
    pool: ThreadPoolExecutor | None = None
    lock = threading.Lock()


def get_num_threads() -> int:
    """How many threads large arrays use: unless set, one per core that this process may use."""
    if not _State.threads:
        _State.threads = available()
    return _State.threads


def available() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Use ``n`` threads from now on. Raises RuntimeError unless n > 0."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise RuntimeError(f"set_num_threads: expected a positive integer, got {n!r}")
    with _State.lock:
        _State.threads = n
        _forget()


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was last given; at first as many as there are cores."""
    return _State.interop or available()


def set_num_interop_threads(n: int) -> None:
    """Kept and read back: ops are never run side by side here, so that no threads wait for them.

    Raises: RuntimeError unless n > 0.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise RuntimeError(f"set_num_interop_threads: expected a positive integer, got {n!r}")
    _State.interop = n


def release() -> None:
    """End the pool's threads; the next large array starts them again."""
    with _State.lock:
        _forget()


def _forget() -> None:
    pool, _State.pool = _State.pool, None
    if pool is not None:
        pool.shutdown(wait=False)


def _after_fork() -> None:
    # The pool's threads did not come along; its lock may be held by one of them.
    _State.pool, _State.lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _pool() -> ThreadPoolExecutor:
    with _State.lock:
        if _State.pool is None:
            _State.pool = ThreadPoolExecutor(max(get_num_threads() - 1, 1), "tgrad")
        return _State.pool


def split(part: Callable[[int, int], None], size: int, align: int = 1) -> None:
    """Call ``part(start, stop)`` for shares of ``range(size)``, one a thread, this one included.

    Shares start at multiples of ``align``. An exception of any share is raised here, after all
    have ended.
    """
    shares = get_num_threads()
    step = -(-size // (shares * align)) * align
    starts = list(range(step, size, step)) if step else []
    if not starts:
        part(0, size)
        return
    pool = _pool()
    waiting = [pool.submit(part, i, min(i + step, size)) for i in starts]
    try:
        part(0, step)
    finally:
        errors = [future.exception() for future in waiting]
    for error in errors:
        if error is not None:
            raise error
