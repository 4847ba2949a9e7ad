"""Launching kernels on one GPU: arguments to a compiled variant, its parameters packed, fired.

What a variant is compiled for, by the kind of argument:

* an array is a pointer to its dtype, known to be 16-byte aligned where it is;
* an ``int`` is 32 bits wide where it fits, else 64; ``np.int64`` is always 64 (for values that
  are sometimes small, as counters are). It is known to be a multiple of 16 where it is, except for
  parameters that the kernel lists in ``triton.jit``'s ``do_not_specialize`` or
  ``do_not_specialize_on_alignment``;
* an ``int`` that is 1 is compiled in if its parameter's name begins with "stride": there it makes
  accesses contiguous. Sizes of 1 are not, since sizes change with the batch;
* a ``float`` is 32 bits wide, ``np.float64`` 64; a ``bool`` is one bit; None is compiled in.

Widths of ints say nothing about offsets: whether those need 64 bits is for the kernel's own
``WIDE`` to say. :func:`specialise` is the rule; everything here and the gate go by it.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tgrad.runtime import compiler, plan
from tgrad.runtime.array import CudaArray
from tgrad.runtime.binaries import Binary
from tgrad.runtime.compiler import DIVISOR, CompileError
from tgrad.runtime.plan import single
from tgrad.runtime.recording import Number32

SHARED = 48 * 1024  # bytes of shared memory that a kernel may use without asking for more

# NumPy's name of an element type to Triton's.
TYPES = {
    "bool": "i1", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "float64": "fp64",
    "float8_e4m3fn": "fp8e4nv", "float8_e5m2": "fp8e5",
    **{f"int{n}": f"i{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"u{n}" for n in (8, 16, 32, 64)},
}  # fmt: skip
# One slot of 8 bytes a parameter, of which the driver reads as many as the parameter has.
SLOTS = {"i1": "q", "i32": "q", "i64": "q", "fp32": "f4x", "fp64": "d"}


# ---- arguments -----------------------------------------------------------------------------------


class Code(NamedTuple):
    """What the compiler is told of one argument; where ``kind`` is "", ``value`` is compiled in."""

    kind: str
    divisible: bool = False
    value: int | None = None


POINTERS: dict[tuple[np.dtype, bool], Code] = {}
NUMBERS = {(k, d): Code(k, d) for k in ("i32", "i64", "fp32", "fp64", "i1") for d in (False, True)}
ONE, NONE = Code("", False, 1), Code("", False, None)
PLAIN, SIZE, STRIDE = range(3)  # how much is made of an int: its width; 16; 16 and 1


def code(a: Any, use: int) -> Code:
    """The code of one argument. Raises TypeError or OverflowError for what no kernel can take."""
    cls = a.__class__
    if cls is CudaArray:
        key = a.dtype, a.ptr % DIVISOR == 0
        return POINTERS.get(key) or POINTERS.setdefault(
            key, Code("*" + TYPES[a.dtype.name], key[1])
        )
    if cls is int:
        if use == STRIDE and a == 1:
            return ONE
        kind = "i32" if -(1 << 31) <= a < 1 << 31 else "i64"
        if kind == "i64" and not -(1 << 63) <= a < 1 << 63:
            raise OverflowError(f"a kernel takes ints of up to 64 bits, got {a}")
        return NUMBERS[kind, use != PLAIN and a % DIVISOR == 0]
    if cls is float or cls is Number32:
        return NUMBERS["fp32", False]
    if cls is bool or cls is np.bool_:
        return NUMBERS["i1", False]
    if a is None:
        return NONE
    if isinstance(a, np.generic) and (kind := TYPES.get(a.dtype.name)) in SLOTS:
        return NUMBERS[kind, False]
    raise TypeError(f"a kernel takes arrays, ints, floats and bools, not {type(a).__name__}")


def uses(kernel: Any, count: int) -> tuple[int, ...]:
    """How much is made of each of the first ``count`` parameters where it is an int."""
    return tuple(
        PLAIN if p.do_not_specialize or p.do_not_specialize_on_alignment
        else STRIDE if p.name.startswith("stride") else SIZE
        for p in kernel.params[:count]
    )  # fmt: skip


class Variant(NamedTuple):
    """What :func:`tgrad.runtime.compiler.compile` takes beside kernel, architecture and options."""

    signature: dict[str, str]
    constants: dict[str, Any]
    divisible: tuple[str, ...]


def specialise(kernel: Any, args: Sequence[Any], constants: Mapping[str, Any]) -> Variant:
    """The variant of ``kernel`` that a launch with these arguments runs."""
    codes = [code(a, use) for a, use in zip(args, uses(kernel, len(args)), strict=True)]
    return variant_of(kernel, codes, constants)


def variant_of(kernel: Any, codes: Sequence[Code], constants: Mapping[str, Any]) -> Variant:
    named = list(zip(kernel.arg_names, codes, strict=False))
    return Variant(
        {name: c.kind for name, c in named if c.kind},
        {**constants, **{name: c.value for name, c in named if not c.kind}},
        tuple(name for name, c in named if c.divisible),
    )


# ---- functions and their parameters --------------------------------------------------------------


class Block:
    """The parameters of a launch: a slot of 8 bytes each, and the table of their addresses."""

    __slots__ = ("address", "slots", "table")

    def __init__(self, slots: array):
        self.slots = slots  # never resized: the table points into it
        start = slots.buffer_info()[0]
        self.table = array("Q", [start + 8 * i for i in range(len(slots))])
        self.address: int = self.table.buffer_info()[0]

    def copy(self) -> Block:
        return Block(self.slots[:])


class Function:
    """A variant loaded into a context. ``kept`` are the arguments that it takes at run time."""

    __slots__ = ("binary", "free", "handle", "kept", "kernel", "layout", "scratch", "shared",
                 "threads")  # fmt: skip

    def __init__(self, kernel: Any, handle: int, binary: Binary, codes: Sequence[Code]):
        self.kernel, self.handle, self.binary = kernel, handle, binary
        self.threads, self.shared = (32 * binary.num_warps, 1, 1), binary.shared
        self.scratch = binary.global_scratch * binary.num_ctas  # bytes a program
        self.kept = [i for i, c in enumerate(codes) if c.kind]
        kinds = [SLOTS.get(codes[i].kind, "Q") for i in self.kept]
        self.layout = struct.Struct("<" + "".join(kinds) + "QQ")  # global and profile scratch
        self.free: list[Block] = []  # pop and append are atomic: no launch shares a block

    def pack(self, args: Sequence[Any], scratch: int = 0) -> Block:
        """A block with the values of ``args``; the caller puts it back into ``free``."""
        try:
            block = self.free.pop()
        except IndexError:
            block = self.block()
        self.write(block, args, scratch)
        return block

    def block(self) -> Block:
        return Block(array("Q", bytes(self.layout.size)))

    def write(self, block: Block, args: Sequence[Any], scratch: int = 0) -> None:
        kept = [args[i] for i in self.kept]
        kept = [a.ptr if a.__class__ is CudaArray else a for a in kept]
        try:
            self.layout.pack_into(block.slots, 0, *kept, scratch, 0)
        except OverflowError:
            kept = [single(a) if isinstance(a, float) else a for a in kept]
            self.layout.pack_into(block.slots, 0, *kept, scratch, 0)


class Driver(Protocol):
    """What is asked of ``tgrad.runtime.driver``."""

    CudaError: Any

    def module_load(self, image: bytes) -> int: ...
    def module_function(self, module: int, name: str) -> int: ...
    def module_unload(self, module: int) -> None: ...
    def function_set_shared(self, function: int, size: int) -> None: ...
    def stream_synchronize(self, stream: int) -> None: ...
    def capture_status(self, stream: int) -> int: ...
    def launch(
        self, function: int, grid: tuple, block: tuple, shared: int, stream: int, params: int
    ) -> None: ...


def is_blocking() -> bool:
    """Whether ``TGRAD_LAUNCH_BLOCKING=1`` has every launch waited for, so that its errors are
    reported where they are made."""
    return os.environ.get("TGRAD_LAUNCH_BLOCKING", "0") not in ("", "0")


class Launcher:
    """Launches on one device, in its context, which the caller has made current.

    ``allocate(nbytes)`` gives an owner of memory with its address as ``ptr``, in the order of the
    current stream. ``max_shared`` is what a program may have of shared memory, in bytes.
    """

    def __init__(
        self, driver: Driver, arch: int, allocate: Callable[[int], Any], max_shared: int = 1 << 30
    ):
        self.driver, self.arch, self.allocate = driver, arch, allocate
        self.max_shared, self.blocking = max_shared, is_blocking()
        if self.blocking:
            plan.enable(False)
        self.functions: dict[tuple, Function] = {}
        self.alive: list[Any] = []  # kernels and constants whose identity is in a key
        self.uses: dict[tuple[int, int], tuple[int, ...]] = {}

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, ...],
        args: Sequence[Any],
        constants: Mapping[str, Any],
        stream: int,
        **options: int,
    ) -> tuple[Function, tuple[int, ...]] | None:
        """Launch ``kernel`` over ``grid`` (one to three axes) on ``stream``, compiled if need be.

        Returns the function and the grid, from which a launch can be repeated, or None where the
        grid is empty and nothing was launched.
        """
        if 0 in grid:
            return None
        function = self.function(kernel, args, constants, options)
        x, y, z = sizes = (*grid, 1, 1)[:3]
        owner = self.allocate(x * y * z * function.scratch) if function.scratch else None
        block = function.pack(args, owner.ptr if owner is not None else 0)
        try:
            self.fire(function, sizes, block, stream)
        except self.driver.CudaError as e:
            raise self.explained(e, function, sizes, args) from e
        function.free.append(block)
        return function, sizes

    def fire(self, function: Function, grid: tuple[int, ...], block: Block, stream: int) -> None:
        self.driver.launch(
            function.handle, grid, function.threads, function.shared, stream, block.address
        )
        if self.blocking and not self.driver.capture_status(stream):
            self.driver.stream_synchronize(stream)

    def function(
        self, kernel: Any, args: Sequence[Any], constants: Mapping[str, Any], options: dict
    ) -> Function:
        """The variant for these arguments, compiled and loaded where it is new here."""
        key = id(kernel), len(args)
        use = self.uses.get(key)
        if use is None:
            use = self.uses[key] = uses(kernel, len(args))
        codes = tuple([code(a, u) for a, u in zip(args, use, strict=True)])
        # Constants by type too (1 == True), and kernels by identity: their hash is of their source.
        fixed = [
            (name, id(v) if hasattr(v, "cache_key") else v, v.__class__)
            for name, v in constants.items()
        ]
        key = id(kernel), codes, *fixed, *options.items()
        found = self.functions.get(key)
        if found is None:
            found = self.load(kernel, codes, args, constants, options)
            # What the key names by identity must live as long as the key.
            self.functions[key] = found
            self.alive.append((kernel, constants))
        return found

    def load(
        self, kernel: Any, codes: Sequence[Code], args: Sequence[Any],
        constants: Mapping[str, Any], options: dict,
    ) -> Function:  # fmt: skip
        variant = variant_of(kernel, codes, constants)
        try:
            binary = compiler.compile(kernel, *variant, self.arch, **options)
        except CompileError as e:
            raise CompileError(f"{op_running()}: {e}\n  shapes: {shapes(args)}") from e
        if binary.shared > self.max_shared:
            raise RuntimeError(
                f"{op_running()}: {binary.name} needs {binary.shared} bytes of shared memory, and "
                f"this GPU gives a program at most {self.max_shared}; {options}"
            )
        # Never unloaded once it works: a captured graph may hold the function.
        module = self.driver.module_load(binary.cubin)
        try:
            handle = self.driver.module_function(module, binary.name)
            if binary.shared > SHARED:
                self.driver.function_set_shared(handle, binary.shared)
        except self.driver.CudaError:
            self.driver.module_unload(module)
            raise
        return Function(kernel, handle, binary, codes)

    def explained(self, error: Any, function: Function, grid: tuple, args: Sequence[Any]) -> Any:
        """A driver's error of a launch, with the op, the kernel and what it was launched with."""
        return type(error)(
            error.function,
            error.code,
            f"{op_running()}: {function.binary.name} over a grid of {grid}, shapes {shapes(args)}: "
            f"{error}",
        )


def shapes(args: Sequence[Any]) -> str:
    """Dtypes and shapes of the arrays among ``args``."""
    return ", ".join(f"{a.dtype.name} {a.shape}" for a in args if isinstance(a, CudaArray))


def op_running() -> str:
    """The name of the op whose kernel is being launched, for error messages.

    Found on the stack, where the dispatcher's functions have it as ``entry``: launches that
    succeed then pay nothing for it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        # Only of such a frame: reading a frame's locals keeps them, and one that handles an
        # exception would then hold itself, and its arrays, through the traceback.
        if "entry" in frame.f_code.co_varnames:
            name = getattr(frame.f_locals.get("entry"), "name", None)
            if isinstance(name, str):
                return name
        frame = frame.f_back
    return "no op"
