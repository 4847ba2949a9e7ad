"""Pointwise expressions and what reads them: the ``xp`` namespaces and the tracer.

An expression is straight-line code of operators, ``xp.f(...)`` and constants.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import math
import types
from collections.abc import Callable
from typing import Any

from tgrad.registry import OPS


class _Maths:
    """``xp`` outside any reader: the names resolve only once an expression is bound."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"xp.{name} has a meaning only inside a pointwise expression")


xp: Any = _Maths()


class TensorMaths:
    """``xp`` for Tensors: every name is the public op of that name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return OPS[name].function


def bind(expression: Callable, maths: Any, **extra: Any) -> Callable:
    """``expression`` with the global name ``xp`` meaning ``maths``."""
    scope = {**expression.__globals__, "xp": maths, **extra}
    bound = types.FunctionType(
        expression.__code__, scope, expression.__name__, expression.__defaults__
    )
    bound.__module__ = expression.__module__
    return bound


class Symbol:
    """A value of an expression while it is traced into a :class:`Program`."""

    __slots__ = ("index", "program")

    def __init__(self, program: Program, index: int):
        self.program, self.index = program, index


class Step:
    """``name(*args)``; an argument is the Symbol of an earlier value or a Python constant."""

    __slots__ = ("args", "name")

    def __init__(self, name: str, args: tuple):
        self.name, self.args = name, args


class Program:
    """A traced expression: values 0..n-1 are its arguments, value n+i is the result of step i.

    ``results`` are the values that it returns, one or a tuple.
    """

    def __init__(self, expression: Callable, n: int):
        self.n = n
        self.steps: list[Step] = []
        made = bind(expression, TraceMaths(self))(*[Symbol(self, i) for i in range(n)])
        self.results: list[int] = []
        for result in made if isinstance(made, tuple) else (made,):
            if not isinstance(result, Symbol):
                name = expression.__name__
                raise TypeError(f"{name}: a pointwise expression returned {result!r}")
            self.results.append(result.index)

    @functools.cached_property
    def conditions(self) -> frozenset[int]:
        """The arguments that serve only as the condition of ``where``: these may stay bool."""
        tests, values = set(), {*self.results}
        for step in self.steps:
            for i, a in enumerate(step.args):
                if isinstance(a, Symbol):
                    (tests if step.name == "where" and i == 0 else values).add(a.index)
        return frozenset(i for i in tests - values if i < self.n)

    def behind(self, k: int) -> tuple[list[int], list[int]]:
        """The arguments and the steps that result k comes from."""
        needed, steps = {self.results[k]}, []
        for i in reversed(range(len(self.steps))):
            if self.n + i in needed:
                steps.append(i)
                needed |= {a.index for a in self.steps[i].args if isinstance(a, Symbol)}
        return [i for i in range(self.n) if i in needed], steps[::-1]

    def step(self, name: str, *args: Any) -> Symbol:
        self.steps.append(Step(name, args))
        return Symbol(self, self.n + len(self.steps) - 1)


def part(expression: Callable, program: Program, k: int, name: str) -> Callable:
    """Result k of ``expression``, traced as ``program``, as an expression of what it needs."""
    parameters = list(inspect.signature(expression).parameters.values())
    arguments, steps = program.behind(k)
    values = {i: p.name for i, p in enumerate(parameters)}
    head = []
    for p in [parameters[i] for i in arguments]:
        head.append(p.name if p.annotation is p.empty else f"{p.name}: {p.annotation}")
    lines = [f"def {name}({', '.join(head)}):"]
    for i in steps:
        step, v = program.steps[i], program.n + i
        args = [values[a.index] if isinstance(a, Symbol) else literal(a) for a in step.args]
        values[v] = f"v{v}"
        lines.append(f"    v{v} = xp.{step.name}({', '.join(args)})")
    lines.append(f"    return {values[program.results[k]]}")
    text, filename = "\n".join(lines) + "\n", f"<{name}>"
    # The line cache lets Triton read the source back.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"xp": xp, "__name__": expression.__module__}
    exec(compile(text, filename, "exec"), scope)
    made: Any = scope[name]
    made.__doc__ = expression.__doc__
    return made


def literal(value: Any) -> str:
    """A Python number as source text."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return repr(value) if finite else f"float('{value}')"


class TraceMaths:
    """``xp`` while tracing: every name appends a step."""

    def __init__(self, program: Program):
        self.program = program

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        return functools.partial(self.program.step, name)


def _trace_operator(method: str, name: str, reflected: bool = False) -> None:
    def forward(self: Symbol, *other: Any) -> Symbol:
        return self.program.step(name, self, *other)

    def backward(self: Symbol, other: Any) -> Symbol:
        return self.program.step(name, other, self)

    setattr(Symbol, method, backward if reflected else forward)


for _op, _name in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow",
                   "and": "bitwise_and", "or": "bitwise_or",
                   "xor": "bitwise_xor"}.items():  # fmt: skip
    _trace_operator(f"__{_op}__", _name)
    _trace_operator(f"__r{_op}__", _name, reflected=True)
for _op in ("lt", "le", "gt", "ge", "eq", "ne", "neg"):
    _trace_operator(f"__{_op}__", _op)
_trace_operator("__invert__", "bitwise_not")
