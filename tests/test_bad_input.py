"""Bad input: the right error class, a message that says what was wrong, and nothing changed.

A case is ``(name, arguments, error, message)``: the dotted public name, a function that makes the
arguments from the library (``args`` or ``(args, kwargs)``), the class, a part of the message.
``tests/reference/test_torch_errors.py`` gives the same cases to torch.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tgrad
from tests.table import resolve

Case = tuple[str, Callable[[Any], Any], type[Exception], str]


def all_cases() -> list[tuple[str, Case]]:
    """(family, case) for every row of every module in tests/bad."""
    found = []
    package = importlib.import_module("tests.bad")
    chosen = os.environ.get("TGRAD_TEST_FAMILIES", "")
    for module in pkgutil.iter_modules(package.__path__):
        if not chosen or module.name in chosen.split(","):
            cases = importlib.import_module(f"tests.bad.{module.name}").BAD
            found += [(module.name, case) for case in cases]
    return found


CASES = all_cases()


def arguments(make: Callable[[Any], Any], library: Any) -> tuple[tuple, dict]:
    """What ``make`` returns, as (args, kwargs)."""
    made = make(library)
    pair = isinstance(made, tuple) and len(made) == 2
    if pair and isinstance(made[0], tuple) and isinstance(made[1], dict):
        return made
    return (made if isinstance(made, tuple) else (made,)), {}


def snapshot(args: tuple, kwargs: dict) -> list[np.ndarray]:
    return [
        a.detach().host().copy() for a in (*args, *kwargs.values()) if isinstance(a, tgrad.Tensor)
    ]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{f}-{case[0]}-{k}") for k, (f, case) in enumerate(CASES)]
)
def test_raises_before_anything_is_changed(case: Case):
    name, make, error, message = case
    args, kwargs = arguments(make, tgrad)
    before = snapshot(args, kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error) as caught:
            resolve(tgrad, name)(*args, **kwargs)
    assert message in str(caught.value)
    for a, b in zip(before, snapshot(args, kwargs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_there_are_enough_cases():
    if not os.environ.get("TGRAD_TEST_FAMILIES"):
        assert len(CASES) >= 120
