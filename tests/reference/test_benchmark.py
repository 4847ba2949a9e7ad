"""``tgrad.utils.benchmark`` against torch's: figures, texts and tables of the same times."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

from tgrad.utils import benchmark

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch.utils import benchmark as theirs  # noqa: E402

RNG = np.random.default_rng(0)


def pair(times: list[float], number: int = 10, **fields: Any) -> tuple[Any, Any]:
    fields = {"stmt": "x + y", "setup": "pass", **fields}
    return tuple(m.Measurement(number, list(times), m.TaskSpec(**fields))
                 for m in (benchmark, theirs))  # fmt: skip


def words(m: Any) -> str:
    """Its text without the address, in single spaces, as lines are broken elsewhere."""
    return " ".join(re.sub(r"<.*? at 0x\w+>", "", repr(m)).split())


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.3, 2.0])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 25])
@pytest.mark.parametrize("size", [2e-8, 3e-5, 0.02, 7.0])
def test_figures_and_texts_are_pytorchs(n: int, size: float, spread: float):
    times = (size * 10 * (1 + spread * RNG.random(n))).tolist()
    fields = {"label": "add", "sub_label": "float", "setup": "a = 1\nb = 2", "num_threads": 2}
    every: tuple[Any, ...] = ({}, fields, {"stmt": "x\ny", "description": "n = 1"})
    for given in every:
        a, b = pair(times, **given)
        assert (a.median, a.mean, a.iqr) == pytest.approx((b.median, b.mean, b.iqr))
        assert a.significant_figures == b.significant_figures
        assert a.has_warnings == b.has_warnings and a.title == b.title
        assert a.as_row_name == b.as_row_name and a.num_threads == b.num_threads
        assert words(a) == words(b)


def many(env: bool) -> tuple[list, list]:
    made = []
    for threads in (1, 4):
        for name, factor in (("fast", 1.0), ("slow", 2.5), ("slowest", 12.0)):
            for column, size in (("n = 1", 3e-6), ("n = 100", 4e-4)):
                if (name, column) == ("slow", "n = 100"):
                    continue
                for where in ("old", "new") if env else (None,):
                    spread = 0.4 if name == "fast" else 0.05
                    times = 10 * size * factor * (1 + spread * RNG.random(12))
                    made.append(pair(
                        times.tolist(), label="add", sub_label=name, description=column, env=where,
                        num_threads=threads,
                    ))  # fmt: skip
    made.append(pair([2.0, 2.1], label="other", stmt="z", description=""))
    made.append(pair([2.0, 2.1], label="other", stmt="z", description=""))
    ours, others = zip(*made, strict=True)
    return list(ours), list(others)


def without_footnote(text: str) -> str:
    return re.sub(r"\(! XX%\).*", "", text)


@pytest.mark.parametrize("env", [False, True])
@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("warn", [False, True])
@pytest.mark.parametrize("colour", [None, False, True])
def test_tables_are_pytorchs(env: bool, trim: bool, warn: bool, colour: bool | None):
    texts = []
    for module, results in zip((benchmark, theirs), many(env), strict=True):
        table = module.Compare(results)
        if trim:
            table.trim_significant_figures()
        if warn:
            table.highlight_warnings()
        if colour is not None:
            table.colorize(rowwise=colour)
        texts.append(without_footnote(str(table)))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["Timer", "Timer.timeit", "Timer.blocked_autorange", "Compare",
                                  "Timer.adaptive_autorange", "Measurement", "TaskSpec",
                                  "Measurement.meets_confidence"])  # fmt: skip
def test_arguments_are_pytorchs(name: str):
    a: Any = benchmark
    b: Any = theirs
    for part in name.split("."):
        a, b = getattr(a, part), getattr(b, part)
    ours, others = (inspect.signature(f).parameters.values() for f in (a, b))
    same = [(p.name, p.kind) for p in ours]
    assert same == [(p.name, p.kind) for p in others]
    for p, q in zip(ours, others, strict=True):
        if p.name not in ("timer", "language"):
            assert p.default == q.default


@pytest.mark.parametrize("t", [1.0, 59.0, 0.5, 1e-3, 9.99e-4, 1e-6, 3e-7, 2e-9, 5e-10])
def test_units_and_digits_are_pytorchs(t: float):
    assert benchmark.select_unit(t) == theirs.select_unit(t)
    for n in (1, 3):
        assert benchmark.trim_sigfig(t, n) == pytest.approx(theirs.trim_sigfig(t, n), rel=1e-5)
