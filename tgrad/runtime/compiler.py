"""Triton source to machine code through ``triton.compile``, without torch, C compiler or GPU.

Compiled kernels are kept on disk (``binaries.py``) under a key of our own: Triton's version, the
source of the kernel and of all it calls, argument types, constants, options and architecture.
``warmup.py`` compiles many at once in worker processes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from tgrad.runtime import binaries
from tgrad.runtime.binaries import Binary

__all__ = ["Binary", "CompileError", "Job", "compile", "key_of"]

DIVISOR = 16  # what a "divisible" argument is a multiple of; Triton knows no other
WARP = 32  # threads


class CompileError(RuntimeError):
    """A kernel that does not compile; the cause is chained."""


class Job(NamedTuple):
    """One variant of a kernel.

    ``signature`` gives the Triton type of each run-time argument ("*fp32", "i64", ...),
    ``constants`` the value of each ``tl.constexpr`` and of each argument that was specialised away;
    a constexpr that has a default may be left out. Arguments named in ``divisible`` are multiples
    of 16: pointers in bytes, ints as they are. ``arch`` is 90 for sm_90.
    """

    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    divisible: Collection[str]
    arch: int
    options: Mapping[str, Any]  # num_warps, num_stages, and what else Triton's backend takes


def compile(
    kernel: Any,
    signature: Mapping[str, str],
    constants: Mapping[str, Any],
    divisible: Collection[str],
    arch: int,
    *,
    num_warps: int = 4,
    num_stages: int = 3,
    **options: Any,
) -> Binary:
    """The machine code of one variant, from disk where it was made before.

    The arguments are those of :class:`Job`. Multiplications and additions are contracted to fused
    ones unless ``enable_fp_fusion=False``, as CUDA's own compiler does: Triton's default depends
    on its version. Raises: CompileError.
    """
    options = {"num_warps": num_warps, "num_stages": num_stages, **options}
    job = complete(Job(kernel, signature, constants, divisible, arch, options))
    key = key_of(job)
    found = binaries.load(key)
    if found is None:
        found = build(job)
        binaries.store(key, found)
    return found


def complete(job: Job) -> Job:
    """The job in the kernel's order, with defaults of constants and with our options filled in.

    Raises: CompileError for an interpreted kernel, TypeError for missing or unknown arguments.
    """
    kernel = job.kernel
    if not hasattr(kernel, "cache_key"):
        raise CompileError(
            f"{kernel.__name__} was imported under TRITON_INTERPRET=1, where kernels are "
            "interpreted and cannot be compiled; warm_up() compiles it in processes without it"
        )
    constants = dict(job.constants)
    for p in kernel.signature.parameters.values():
        if p.name not in job.signature and p.name not in constants:
            if p.default is p.empty:
                raise TypeError(f"{kernel.__name__}: no type or value for argument {p.name!r}")
            constants[p.name] = p.default
    unknown = {*job.signature, *constants, *job.divisible} - {*kernel.arg_names}
    if unknown:
        raise TypeError(f"{kernel.__name__} has no argument {sorted(unknown)[0]!r}")
    return job._replace(
        signature={n: job.signature[n] for n in kernel.arg_names if n in job.signature},
        constants=constants,
        options={"enable_fp_fusion": True, **job.options},
    )


# ---- the key -------------------------------------------------------------------------------------


def key_of(job: Job) -> str:
    """The name under which a complete job is kept: a hash of all that its code depends on."""
    parts = [
        toolchain(),
        job.kernel.cache_key,  # source, constants it refers to, and the same of what it calls
        *(f"{name}: {kind}" for name, kind in job.signature.items()),
        *(f"{name} = {constant(job.constants[name])}" for name in sorted(job.constants)),
        *sorted(job.divisible),
        f"sm_{job.arch}",
        *(f"{name} = {value!r}" for name, value in sorted(job.options.items())),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.cache
def toolchain() -> str:
    """What compiles: Triton's version and build, and the variables that change what it does."""
    import triton
    from triton._C import libtriton

    library = os.stat(str(libtriton.__file__))  # builds from source share a version number
    changes = sorted(libtriton.get_cache_invalidating_env_vars().items())
    return f"{triton.__version__} {library.st_size} {changes}"


def constant(value: Any) -> str:
    """A constexpr's value as text that differs where the code may: 1, 1.0 and True are three."""
    if hasattr(value, "cache_key"):
        return value.cache_key
    if isinstance(value, tuple):
        return f"({', '.join(map(constant, value))})"
    return f"{type(value).__name__} {value!r}"


# ---- building ------------------------------------------------------------------------------------

_building = threading.Lock()  # Triton's knobs are process-wide


def build(job: Job) -> Binary:
    """Compile a complete job. Raises: CompileError naming kernel, types, constants, options."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as triton_compile

    names = job.kernel.arg_names
    signature = {name: job.signature.get(name, "constexpr") for name in names}
    source = ASTSource(
        job.kernel,
        signature,
        {(i,): job.constants[n] for i, n in enumerate(names) if n in job.constants},
        {(i,): [["tt.divisibility", DIVISOR]] for i, n in enumerate(names) if n in job.divisible},
    )
    start = time.perf_counter()
    with _building, without_tritons_cache():
        try:
            made = triton_compile(source, GPUTarget("cuda", job.arch, WARP), dict(job.options))
        except Exception as e:  # of a dozen classes, by the stage that failed
            raise CompileError(f"{describe(job)}\n{type(e).__name__}: {e}") from e
    about = made.metadata
    return Binary(
        name=about.name,
        arch=job.arch,
        parameters=tuple(job.signature.items()),
        num_warps=about.num_warps,
        num_ctas=about.num_ctas,
        shared=about.shared,
        global_scratch=about.global_scratch_size,
        global_scratch_align=about.global_scratch_align,
        seconds=round(time.perf_counter() - start, 3),
        cubin=made.asm["cubin"],
        packed_ptx=zlib.compress(made.asm["ptx"].encode()),
    )


def describe(job: Job) -> str:
    """What failed to compile, for people."""
    signature = ", ".join(
        f"{n}: {kind}{f' (x{DIVISOR})' if n in job.divisible else ''}"
        for n, kind in job.signature.items()
    )
    values = ", ".join(f"{n}={readable(v)}" for n, v in job.constants.items())
    options = ", ".join(f"{n}={v!r}" for n, v in job.options.items())
    return (
        f"{job.kernel.__name__} does not compile for sm_{job.arch}\n"
        f"  arguments: {signature}\n  constants: {values}\n  options: {options}"
    )


def readable(value: Any) -> str:
    return value.__name__ if hasattr(value, "cache_key") else repr(value)


@contextlib.contextmanager
def without_tritons_cache() -> Iterator[None]:
    """Have Triton put this thread's intermediate files into a directory that goes at the end.

    Its own cache keeps six files a kernel, in ~/.triton; a broken one there would outlive ours.
    """
    from triton import knobs
    from triton.runtime.cache import FileCacheManager

    thread, before = threading.get_ident(), knobs.cache.manager_class
    with tempfile.TemporaryDirectory(prefix="tgrad-") as folder:

        class Temporary(FileCacheManager):
            def __init__(self, key: str, override: bool = False, dump: bool = False):
                if override or dump:  # asked for by the user, who names the directory
                    super().__init__(key, override, dump)
                    return
                self.key, self.cache_dir = key, os.path.join(folder, key)
                self.lock_path = os.path.join(self.cache_dir, "lock")
                os.makedirs(self.cache_dir)

        def manager(key: str, **options: bool) -> Any:
            ours = threading.get_ident() == thread
            other: Callable[..., Any] = before or FileCacheManager
            return (Temporary if ours else other)(key, **options)

        knobs.cache.manager_class = manager  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            if before is None:
                del knobs.cache.manager_class
            else:
                knobs.cache.manager_class = before
