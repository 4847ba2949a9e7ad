"""Compiling a variant, and what its machine code says: registers, spills, memory, instructions."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import multiprocessing.context
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from triton import knobs

from tgrad.kernels.gate.variants import Variant
from tgrad.runtime import compiler

TENSOR_CORE = {"tcgen05.mma": "tcgen05", "wgmma.mma_async": "wgmma", "mma.sync": "mma"}
TMA = "cp.async.bulk.tensor"
WIDE = 16  # bytes that a thread can move at once
# An access of Triton's own; the tables of libdevice are read by ld.global.nc.
ACCESS = re.compile(r"\b(ld|st)\.global(?!\.nc)[\w.:]*?(?:\.v(\d))?\.[busf](\d+)\b")
COPY = re.compile(r"\bcp\.async\.c[ag]\.shared\.global\b[^;]*\],\s*(0x[\da-f]+|\d+)")
SPILL = re.compile(r"(\d+) bytes spill stores")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")


class Facts(NamedTuple):
    """One variant; bytes where not said. ``error`` is empty if it compiled."""

    registers: int = 0
    spilled: int = 0  # a thread
    shared: int = 0
    load: int = 0  # the widest load from global memory of a thread, by TMA counted as 16
    wide: int = 0  # percent of the bytes loaded, as the code stands, that go 16 at a time
    store: int = 0
    tensor_core: str = ""  # "mma", "wgmma" or "tcgen05"
    tma: bool = False
    seconds: float = 0.0
    error: str = ""


def job_of(v: Variant) -> compiler.Job:
    options = {"num_warps": v.num_warps, "num_stages": v.num_stages}
    return compiler.Job(v.kernel, v.signature, v.constants, v.divisible, v.arch, options)


def facts_of(variant: Variant) -> Facts:
    """Compile ``variant`` and read the result."""
    return facts_of_job(job_of(variant))


def facts_of_job(job: compiler.Job) -> Facts:
    """Compile ``job`` and read the result."""
    try:
        binary = compiler.compile(*job[:-1], **job.options)
    except compiler.CompileError as e:
        return Facts(error=str(e))
    ptx = binary.ptx
    registers, stack = resources(binary.cubin)
    loads, stores = accesses(ptx)
    return Facts(
        registers,
        spilled(job) if stack else 0,
        binary.shared,
        max(loads, default=0),
        round(100 * sum(n for n in loads if n >= WIDE) / max(sum(loads), 1)),
        max(stores, default=0),
        next((name for text, name in TENSOR_CORE.items() if text in ptx), ""),
        TMA in ptx,
        binary.seconds,
    )


def resources(cubin: bytes) -> tuple[int, int]:
    """(registers, bytes of stack) a thread."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = knobs.nvidia.cuobjdump.path
        command = [tool, "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = USAGE.search(said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def spilled(job: compiler.Job) -> int:
    """Bytes that registers are stored to, as the assembler says: it compiles once more.

    A stack alone is no spill. It holds the arrays with which libdevice reduces large angles, and
    the frame of a subroutine such as the slow way of a float64 division.
    """
    job = compiler.complete(job)
    with knobs.nvidia.scope(), contextlib.redirect_stdout(io.StringIO()) as said:
        knobs.nvidia.dump_ptxas_log = True
        compiler.build(job)
    return sum(int(n) for n in SPILL.findall(said.getvalue()))


def accesses(ptx: str) -> tuple[list[int], list[int]]:
    """Bytes of each load from and each store to global memory in the code."""
    bytes_of: dict[str, list[int]] = {"ld": [], "st": []}
    for kind, count, bits in ACCESS.findall(ptx):
        bytes_of[kind].append(int(count or 1) * int(bits) // 8)
    copies = [int(size, 0) for size in COPY.findall(ptx)]
    copies += [WIDE] * ptx.count(TMA)
    return bytes_of["ld"] + copies, bytes_of["st"]


# ---- many at once --------------------------------------------------------------------------------

_work: Sequence[Variant] = ()


def _one(k: int) -> tuple[int, Facts]:
    return k, facts_of(_work[k])


def all_facts(work: Sequence[Variant], jobs: int) -> Iterator[tuple[int, Facts]]:
    """(position in ``work``, facts) as they come, from ``jobs`` processes.

    The processes are forked: kernels whose source was put together at run time exist in memory
    alone. Longest first, by kernel, so that the last process does not work alone.
    """
    global _work
    _work = work
    order = sorted(range(len(work)), key=lambda k: work[k].family not in ("matmul", "conv"))
    if jobs == 1:
        yield from map(_one, order)
        return
    fork = multiprocessing.get_context("fork")
    done: set[int] = set()
    try:
        with ProcessPoolExecutor(jobs, fork) as pool:
            for future in as_completed([pool.submit(_one, k) for k in order]):
                k, facts = future.result()
                done.add(k)
                yield k, facts
    except BrokenProcessPool:  # the compiler brought a process down; alone each shows whether it
        for k in order:
            if k not in done:
                yield k, alone(k, fork)


def alone(k: int, context: multiprocessing.context.ForkContext) -> Facts:
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_one, k).result()[1]
        except BrokenProcessPool:
            return Facts(error="the compiler's process died")
