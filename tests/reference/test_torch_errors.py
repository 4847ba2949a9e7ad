"""The bad-input cases given to torch: it must raise the same class."""

from __future__ import annotations

import warnings

import pytest

from tests.table import resolve
from tests.test_bad_input import CASES, Case, arguments

torch = pytest.importorskip("torch", reason="torch is not installed")


def on_cpu(make):
    """Cases about CUDA devices mean nothing to a torch built for the CPU."""
    return "cuda" not in make.__code__.co_consts


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{f}-{case[0]}-{k}") for k, (f, case) in enumerate(CASES)
     if on_cpu(case[1])],
)  # fmt: skip
def test_torch_raises_the_same_class(case: Case):
    name, make, error, _ = case
    try:
        function = resolve(torch, name)
    except AttributeError:
        pytest.skip(f"torch has no {name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args, kwargs = arguments(make, torch)
        with pytest.raises(error):
            function(*args, **kwargs)
