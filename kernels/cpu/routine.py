"""Writing an expression out as a Python function of NumPy calls.

The traced expression becomes source text, once per combination of operand dtypes: a line per ufunc
call, with work buffers given to intermediate values as a compiler gives registers. For small
arrays there is a plain form, in which every call makes a new array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad.expression import Program, Symbol, TraceMaths, bind
from tgrad.kernels.cpu import maths

if TYPE_CHECKING:
    from tgrad.pointwise import Pointwise

MASK = {1: np.dtype(np.int8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}
SLOW_WITH_SCALAR = ("maximum", "minimum")  # SIMD only for two arrays: 11 us a piece against 43
SLOW = {  # steps that take much longer than reading their operands
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "digamma", "erf",
    "erfc", "erfinv", "exp", "exp2", "hypot", "i0", "i1", "lgamma", "log", "log10", "log2",
    "logaddexp", "logaddexp2", "pow", "sin", "sinh", "tan", "tanh", "trigamma",
}  # fmt: skip
SMALL_WHERE = 512  # elements; below, np.where is faster than masks of bits


# ---- expanding -----------------------------------------------------------------------------------


class _Expand(TraceMaths):
    """``xp`` while macros are traced into the program that uses them."""

    def __init__(self, program: Program, kind: np.dtype):
        super().__init__(program)
        self.kind = kind

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        macro = maths.macro(name, self.kind)
        return super().__getattr__(name) if macro is None else bind(macro, self)


def expanded(program: Program, kind: np.dtype) -> Program:
    """The program as computed in ``kind``: macros replaced by their steps, no-ops left out."""
    new = Program.__new__(Program)
    new.n, new.steps = program.n, []
    values = [Symbol(new, i) for i in range(program.n)]
    xp = _Expand(new, kind)
    for step in program.steps:
        args = [values[a.index] if isinstance(a, Symbol) else a for a in step.args]
        nothing = kind.kind in maths.NOTHING.get(step.name, "")
        values.append(args[0] if nothing else getattr(xp, step.name)(*args))
    new.results = [values[r].index for r in program.results]
    return new


# ---- small arrays --------------------------------------------------------------------------------


def where_small(condition: Any, a: Any, b: Any) -> Any:
    """``where`` into a new array, by masks of bits from SMALL_WHERE elements on."""
    if condition.size < SMALL_WHERE or condition.dtype != np.bool_:
        return np.where(condition, a, b)
    like = a if isinstance(a, np.ndarray) else b
    if not isinstance(like, np.ndarray) or like.itemsize not in MASK:
        return np.where(condition, a, b)
    kind, integer = like.dtype, MASK[like.itemsize]
    a, b = np.asarray(a, kind).view(integer), np.asarray(b, kind).view(integer)
    mask = np.negative(condition.view(np.int8), dtype=integer, casting="unsafe")
    chosen = np.bitwise_xor(a, b)
    if chosen.shape != mask.shape:
        chosen = np.bitwise_and(chosen, mask)
    else:
        np.bitwise_and(chosen, mask, out=chosen)
    return np.bitwise_xor(chosen, b).view(kind)


def small_function(entry: Pointwise) -> Callable[..., Any]:
    """The expression as a function of small floating arrays: the bare ufunc where it is one."""
    single, double = (plain(entry, np.dtype(kind)) for kind in (np.float32, np.float64))
    if any(step.name == "where" and not _typed(step.args[1:]) for step in entry.program.steps):
        # where(..., 1, 0) of Python numbers alone has no dtype of its own.
        def typed(*operands: Any) -> Any:
            made, kind = double(*operands), operands[0].dtype
            several = isinstance(made, tuple)
            return tuple([v.astype(kind) for v in made]) if several else made.astype(kind)

        return typed
    if all(step.name not in maths.FLOAT32_MACROS for step in entry.program.steps):
        return single

    def small(*operands: Any) -> Any:
        return (single if operands[0].dtype.char == "f" else double)(*operands)

    return small


def _typed(args: tuple) -> bool:
    return any(isinstance(a, Symbol) for a in args)


def plain(entry: Pointwise, kind: np.dtype) -> Callable[..., Any]:
    """The expression, computed in ``kind``, as a function that returns new arrays."""
    try:
        known = entry.plain  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        known = entry.plain = {}  # pyright: ignore[reportAttributeAccessIssue]
    found = known.get(kind)
    if found is None:
        found = known[kind] = write_plain(entry.name, expanded(entry.program, kind))
    return found


def write_plain(name: str, program: Program) -> Callable[..., Any]:
    if len(program.steps) == len(program.results) == 1:
        step = program.steps[0]
        in_order = [a.index if isinstance(a, Symbol) else None for a in step.args]
        if in_order == list(range(program.n)) and step.name != "where":
            return maths.FUNCTIONS[step.name]
    scope: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
    lines = [f"def {name}({', '.join(f'v{i}' for i in range(program.n))}):"]
    for i, step in enumerate(program.steps):
        where = step.name == "where"
        scope[f"f_{step.name}"] = where_small if where else maths.FUNCTIONS[step.name]
        args = [f"v{a.index}" if isinstance(a, Symbol) else repr(a) for a in step.args]
        lines.append(f"    v{program.n + i} = f_{step.name}({', '.join(args)})")
    names = [f"v{v}" for v in program.results]
    if len(names) > 1:  # an array of its own for each output
        used = [*range(program.n), *program.results]
        names = [
            f"{name}.copy()" if v in used[: program.n + k] else name
            for k, (v, name) in enumerate(zip(program.results, names, strict=True))
        ]
    lines.append(f"    return {', '.join(names)}")
    exec(compile("\n".join(lines), f"<plain {name}>", "exec"), scope)
    return scope[name]


# ---- large arrays --------------------------------------------------------------------------------


class Routine:
    """``run(*ys, *operands, *buffers)`` for one set of dtypes; buffers are (dtype, fill).

    ``slow``: a step takes much longer than reading its operands.
    """

    def __init__(self, run: Callable[..., None], buffers: list, lines: int, slow: bool):
        self.run, self.buffers, self.slow = run, buffers, slow
        # One ufunc call needs no pieces: every operand is read once either way.
        self.in_pieces = lines > 1 or bool(buffers)


class Writer:
    """Writes a :class:`Routine`: which buffer holds which value, and a line per ufunc call."""

    def __init__(
        self,
        program: Program,
        operands: Sequence[Any],
        want: Sequence[np.dtype],
        ys: Sequence[np.ndarray],
    ):
        self.program = program
        # The output that a value is to be: the first where it is returned twice.
        self.goal = {v: k for k, v in reversed([*enumerate(program.results)])}
        self.kinds = [y.dtype for y in ys]
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"copyto": np.copyto}
        self.buffers: list[tuple[np.dtype, Any]] = []
        self.free: dict[np.dtype, list[int]] = {}
        self.names: list[str] = [f"a{i}" for i in range(program.n)]
        self.arrays = [isinstance(a, np.ndarray) and a.ndim > 0 for a in operands]
        self.owned: dict[int, int] = {}  # value -> buffer
        with np.errstate(all="ignore"):
            self.types = self.infer(operands, want)
        self.last = self.last_uses()
        for i, a in enumerate(operands):
            if self.arrays[i] and a.dtype != want[i]:
                buffer = self.take(want[i])
                self.owned[i] = buffer
                self.lines.append(f"copyto(b{buffer}, a{i}, casting='unsafe')")
                self.names[i] = f"b{buffer}"
        self.write()

    def infer(self, operands: Sequence[Any], want: Sequence[np.dtype]) -> list[np.dtype]:
        """Every value's dtype, found by running the steps on one element."""
        values: list[Any] = [
            np.ones(1, d) if array else a
            for a, d, array in zip(operands, want, self.arrays, strict=True)
        ]
        for step in self.program.steps:
            args = [values[a.index] if isinstance(a, Symbol) else a for a in step.args]
            values.append(np.atleast_1d(maths.FUNCTIONS[step.name](*args)))
        return [np.asarray(v).dtype for v in values]

    def last_uses(self) -> dict[int, int]:
        last = {}
        for i, step in enumerate(self.program.steps):
            for a in step.args:
                if isinstance(a, Symbol):
                    last[a.index] = i
        return last | dict.fromkeys(self.program.results, len(self.program.steps))

    def take(self, kind: np.dtype) -> int:
        pool = self.free.get(kind)
        if pool:
            return pool.pop()
        self.buffers.append((kind, None))
        return len(self.buffers) - 1

    def give(self, buffer: int) -> None:
        self.free.setdefault(self.buffers[buffer][0], []).append(buffer)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name

    def argument(self, a: Any, kind: np.dtype) -> str:
        """A value's name, or a constant in the dtype computed in where that is exact."""
        if isinstance(a, Symbol):
            return self.names[a.index]
        exact = kind.kind in "fc" or (kind.kind in "iu" and type(a) is int)
        return self.constant(np.asarray(a, kind)[()] if exact else a)

    def write(self) -> None:
        program = self.program
        for i, step in enumerate(program.steps):
            v = program.n + i
            args = [a.index for a in step.args if isinstance(a, Symbol)]
            kind = self.types[args[0]] if args else self.types[v]
            dead = {a for a in args if self.last[a] == i and a in self.owned}
            goal = self.goal_of(v)
            function = maths.FUNCTIONS[step.name]
            elementwise = isinstance(function, np.ufunc)
            if step.name == "where" and self.select(step, v, dead, goal):
                continue
            if elementwise:  # may write over an argument
                for a in dead:
                    self.give(self.owned.pop(a))
            out = goal if goal and elementwise else self.place(v)
            f = self.function(step.name, function)
            texts = [self.argument(a, kind) for a in step.args]
            if step.name in SLOW_WITH_SCALAR:
                texts = [self.filled(a, t, kind) for a, t in zip(step.args, texts, strict=True)]
            self.lines.append(f"{f}({', '.join(texts)}, out={out})")
            if not elementwise:
                for a in dead:
                    self.give(self.owned.pop(a))
                if goal:
                    self.lines.append(f"copyto({goal}, {out})")
                    out = goal
            self.names.append(out)
        for k, v in enumerate(program.results):
            if self.names[v] != f"y{k}":
                self.lines.append(f"copyto(y{k}, {self.names[v]}, casting='unsafe')")

    def goal_of(self, v: int) -> str | None:
        """The output that is of value v and of its dtype."""
        k = self.goal.get(v)
        return None if k is None or self.types[v] != self.kinds[k] else f"y{k}"

    def place(self, v: int) -> str:
        buffer = self.take(self.types[v])
        self.owned[v] = buffer
        return f"b{buffer}"

    def function(self, name: str, function: Callable) -> str:
        self.scope[f"f_{name}"] = function
        return f"f_{name}"

    def filled(self, a: Any, text: str, kind: np.dtype) -> str:
        """An argument that is one number, as a buffer full of it."""
        if isinstance(a, Symbol) and (a.index >= self.program.n or self.arrays[a.index]):
            return text
        fill = ("operand", a.index) if isinstance(a, Symbol) else ("constant", self.scope[text])
        self.buffers.append((kind, fill))
        return f"b{len(self.buffers) - 1}"

    def select(self, step: Any, v: int, dead: set[int], goal: str | None) -> bool:
        """``where`` by masks of bits: 25 us a piece, np.where with copying 180."""
        kind = self.types[v]
        condition, a, b = step.args
        if kind.itemsize not in MASK or not self.is_array(condition):
            return False
        if any(isinstance(q, Symbol) and self.types[q.index] != kind for q in (a, b)):
            return False
        integer = MASK[kind.itemsize]
        c = self.names[condition.index]
        if self.types[condition.index] != np.bool_:
            flags = self.take(np.dtype(np.bool_))
            self.lines.append(f"not_equal({c}, 0, out=b{flags})")
            self.scope["not_equal"] = np.not_equal
            c = f"b{flags}"
            self.give(flags)
        i, one = f"bits{kind.itemsize}", f"one{kind.itemsize}"
        self.scope.update({i: integer, one: np.asarray(1, integer), "bits1": MASK[1]},
                          xor=np.bitwise_xor, both=np.bitwise_and, negative=np.negative,
                          minus=np.subtract)  # fmt: skip
        mask = self.take(integer)
        zeros = [not isinstance(q, Symbol) and q == 0 and not np.signbit(q) for q in (a, b)]
        texts = [self.bits(q, kind, integer) for q in (a, b)]
        if zeros[0]:  # 0 where true: the mask is condition - 1
            self.lines.append(f"minus({c}.view(bits1), {one}, out=b{mask})")
        else:
            self.lines.append(
                f"negative({c}.view(bits1), out=b{mask}, dtype={i}, casting='unsafe')"
            )
        t = None if any(zeros) else self.take(integer)  # before anything dies: it may not be a or b
        for q in dead:
            self.give(self.owned.pop(q))
        if t is None:
            out = goal or self.place(v)
            self.lines.append(
                f"both(b{mask}, {texts[0] if zeros[1] else texts[1]}, out={out}.view({i}))"
            )
        else:
            # The difference goes to a buffer of its own: the result may lie over a or b.
            self.lines.append(f"xor({texts[0]}, {texts[1]}, out=b{t})")
            self.lines.append(f"both(b{t}, b{mask}, out=b{t})")
            out = goal or self.place(v)
            self.lines.append(f"xor(b{t}, {texts[1]}, out={out}.view({i}))")
            self.give(t)
        self.give(mask)
        self.names.append(out)
        return True

    def is_array(self, a: Any) -> bool:
        return isinstance(a, Symbol) and (a.index >= self.program.n or self.arrays[a.index])

    def bits(self, a: Any, kind: np.dtype, integer: np.dtype) -> str:
        if isinstance(a, Symbol):
            return f"{self.names[a.index]}.view(bits{kind.itemsize})"
        return self.constant(np.asarray(a, kind).view(integer)[()])

    def routine(self) -> Routine:
        args = [*(f"y{k}" for k in range(len(self.kinds)))]
        args += [f"a{i}" for i in range(self.program.n)]
        args += [f"b{i}" for i in range(len(self.buffers))]
        text = f"def run({', '.join(args)}):\n    " + "\n    ".join(self.lines)
        exec(compile(text, "<pointwise>", "exec"), self.scope)
        slow = any(step.name in SLOW for step in self.program.steps)
        return Routine(self.scope["run"], self.buffers, len(self.lines), slow)


def routine(entry: Pointwise, ys: list, values: list, compute: np.dtype) -> Routine:
    """The routine for these dtypes, written at their first call."""
    try:
        known = entry.routines  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        known = entry.routines = {}  # pyright: ignore[reportAttributeAccessIssue]
    key = (*[y.dtype for y in ys], compute, *[(a.dtype, a.ndim > 0) for a in values])
    found = known.get(key)
    if found is None:
        conditions = entry.program.conditions
        flags = np.dtype(np.bool_)
        want = [
            a.dtype if not a.ndim else flags if i in conditions and a.dtype == flags else compute
            for i, a in enumerate(values)
        ]
        found = known[key] = Writer(expanded(entry.program, compute), values, want, ys).routine()
    return found
