"""Whether the processor takes floats too small for their full digits for zero.

That is a bit of each thread's floating-point environment, and NumPy's loops go by it. On Linux with
an x86-64 processor it is reached through C's ``fegetenv`` and ``fesetenv``, whose record (glibc's)
ends with the register that has it.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from tgrad.runtime import threads

REGISTER = slice(28, 32)  # where the record has MXCSR
FLUSH = 0x8040  # results that are denormal become zero; operands too


@functools.cache
def _environment() -> Any:
    """C's library with the two functions; None where the register is not known to be there."""
    import platform  # 2 ms, of which `import tgrad` needs none

    known = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
    if sys.platform != "linux" or not known:
        return None
    return ctypes.CDLL("libm.so.6")


def set_flush_denormal(mode: bool) -> bool:
    """Flush denormal floats to zero on the CPU from now on, or do not; False if that cannot be set.

    In this thread, those that it starts and those that share large arrays; products of matrices
    are left to NumPy's BLAS. Supported on Linux with an x86-64 processor.
    """
    library = _environment()
    if library is None:
        return False
    record = (ctypes.c_uint8 * 64)()
    library.fegetenv(record)
    before = int.from_bytes(bytes(record[REGISTER]), "little")
    after = before | FLUSH if mode else before & ~FLUSH
    record[REGISTER] = after.to_bytes(4, "little")  # pyright: ignore[reportArgumentType]
    done = library.fesetenv(record) == 0
    threads.release()  # new ones begin with the environment of the thread that starts them
    return done
