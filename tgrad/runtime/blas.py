"""NumPy's BLAS held to one thread while several threads of ours call it at once.

Two threads that gather and multiply by turns keep both cores busy, where a product split in two
waits for its slower half and leaves one core idle between products. The limit is the process's: a
product of somebody else's thread is slower meanwhile, never wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator

import numpy as np

from tgrad.runtime import threads

NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
OWN_THREADS = 1  # openblas_get_parallel: threads of its own, not OpenMP's, which ignore the limit


class _Limit:
    users = 0
    before = 0
    lock = threading.Lock()


@functools.cache
def controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS's functions that read and set its number of threads; None where there are none."""
    module = getattr(np.linalg, "_umath_linalg", None)
    try:  # a symbol is looked for in the extension module and in the libraries it is linked to
        library = ctypes.CDLL(module.__file__)  # pyright: ignore[reportOptionalMemberAccess]
    except (AttributeError, OSError, TypeError):
        return None
    for name in NAMES:
        try:
            read, write, parallel = (
                library[name.format(what)]
                for what in ("get_num_threads", "set_num_threads", "get_parallel")
            )
        except AttributeError:
            continue
        write.argtypes, write.restype = [ctypes.c_int], None
        return (read, write) if parallel() == OWN_THREADS else None
    return None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Products inside run on the thread that asks for them; may be entered by several threads."""
    found = controls()
    if found is None:
        yield
        return
    read, write = found
    with _Limit.lock:
        if not _Limit.users:
            _Limit.before = read()
            write(1)
        _Limit.users += 1
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.users -= 1
            if not _Limit.users:
                write(_Limit.before)


def split(part: Callable[[int, int], None], size: int) -> None:
    """``threads.split`` for parts that multiply matrices; one part where BLAS cannot be held."""
    if size > 1 and threads.get_num_threads() > 1 and controls() is not None:
        with one_thread():
            threads.split(part, size)
    else:
        part(0, size)


def _after_fork() -> None:
    # A thread that held the limit did not come along.
    _Limit.lock = threading.Lock()
    if _Limit.users:
        _Limit.users = 0
        found = controls()
        if found is not None:
            found[1](_Limit.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
