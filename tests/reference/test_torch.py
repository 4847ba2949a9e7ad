"""The op table against torch: values, dtypes, shapes, gradients, in several dtypes and layouts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tgrad
from tests import table
from tests.table import Row, Sample, all_rows, assert_close, leaves, outputs, tensors

torch = pytest.importorskip("torch", reason="torch is not installed")
torch.set_num_threads(2)
torch.set_warn_always(False)

CASES = [
    pytest.param(row, sample, id=f"{row.name}-{k}")
    for row in all_rows()
    if row.torch is not None
    for k, sample in enumerate(row.samples)
    if not sample.why_no_torch
]
cases = pytest.mark.parametrize("row, sample", CASES)


def to_torch(made: Sample, contiguous: bool = False) -> Sample:
    """The same call with torch tensors of the same values, dtypes, strides and requires_grad."""

    def convert(a: Any) -> Any:
        if isinstance(a, tgrad.Tensor):
            host = a.detach().cpu()
            wide = host.float() if a.dtype is tgrad.bfloat16 else host
            x = torch.from_numpy(np.array(wide.numpy(), order="C")).to(getattr(torch, a.dtype.name))
            if a.ndim and a.numel() and not (contiguous or a.is_contiguous()):
                x = torch.empty_strided(a.shape, a.stride(), dtype=x.dtype).copy_(x)
            return x.requires_grad_(a.requires_grad)
        if isinstance(a, tgrad.dtype):
            return getattr(torch, a.name)
        if isinstance(a, tgrad.device):
            return torch.device("cpu")
        if isinstance(a, (list, tuple)):
            return type(a)(convert(x) for x in a)
        return a

    return Sample(
        tuple(convert(a) for a in made.args), {k: convert(v) for k, v in made.kwargs.items()}
    )


def torch_leaves(sample: Sample) -> list[Any]:
    found: list[Any] = []

    def visit(a: Any) -> None:
        if isinstance(a, torch.Tensor) and a.requires_grad:
            found.append(a)
        elif isinstance(a, (list, tuple)):
            for x in a:
                visit(x)

    for a in (*sample.args, *sample.kwargs.values()):
        visit(a)
    return found


def flat(y: Any) -> list[Any]:
    if isinstance(y, (list, tuple)):
        return [z for part in y for z in flat(part)]
    return [y]


def numpy_of(x: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        return x
    x = x.detach()
    return x.double().numpy() if x.is_floating_point() else x.numpy()


def run_both(row: Row, made: Sample) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """(our outputs, our leaves, torch's outputs, torch's leaves)."""
    theirs = to_torch(made)
    function = row.torch_function(torch)
    assert function is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            want = function(*theirs.args, **theirs.kwargs)
        except RuntimeError as e:
            if "view size is not compatible" not in str(e):
                raise
            theirs = to_torch(made, contiguous=True)  # torch itself cannot take these strides
            want = function(*theirs.args, **theirs.kwargs)
    got = row.function()(*made.args, **made.kwargs)
    return outputs(got), leaves(made), flat(want), torch_leaves(theirs)


def check(row: Row, got: list[Any], want: list[Any], dtype: str) -> None:
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        if isinstance(w, torch.Tensor):
            assert g.dtype.name == str(w.dtype).removeprefix("torch.")
            assert tuple(g.shape) == tuple(w.shape)
        # Integers become float32 whatever the test's dtype.
        single = isinstance(w, torch.Tensor) and w.dtype == torch.float32 and dtype == "float64"
        bound = "float32" if single else dtype
        assert_close(g, numpy_of(w), bound, row.tolerance, f"{row.name} {dtype}")


@cases
@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_dtypes_and_shapes(row: Row, sample: Sample, dtype: str, layout: str):
    got, _, want, _ = run_both(row, tensors(row, sample, "cpu", dtype, layout))
    check(row, got, want, dtype)


@cases
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_dtypes(row: Row, sample: Sample, dtype: str):
    if dtype not in row.dtypes:
        return
    made = tensors(row, sample, "cpu", dtype)
    theirs = to_torch(made)
    function = row.torch_function(torch)
    assert function is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = flat(function(*theirs.args, **theirs.kwargs))
    except RuntimeError as e:
        if "not implemented for" in str(e):
            return  # torch has no CPU kernel of that dtype
        raise
    got = outputs(row.function()(*made.args, **made.kwargs))
    check(row, got, want, dtype)


@cases
def test_gradients(row: Row, sample: Sample):
    if not row.grad or row.why_no_torch_grad:
        return
    got, xs, want, txs = run_both(row, tensors(row, sample, "cpu", "float64", grad=True))
    assert len(xs) == len(txs)
    ours = theirs = None
    rng = np.random.default_rng(3)
    for g, w in zip(got, want, strict=True):
        if not isinstance(w, torch.Tensor):
            continue
        assert g.requires_grad == w.requires_grad, row.name
        if w.requires_grad:
            weights = np.asarray(rng.standard_normal(tuple(w.shape)))
            part = (g * tgrad.from_numpy(weights)).sum()
            other = (w * torch.from_numpy(weights)).sum()
            ours = part if ours is None else ours + part
            theirs = other if theirs is None else theirs + other
    if ours is None or theirs is None:
        return
    gs = tgrad.autograd.grad(ours, xs, allow_unused=True)
    ws = torch.autograd.grad(theirs, txs, allow_unused=True)
    for g, w, x in zip(gs, ws, xs, strict=True):
        a = np.zeros(x.shape) if g is None else table.to_numpy(g)
        b = np.zeros(x.shape) if w is None else w.numpy(force=True)
        assert_close(a, b, "float64", 10 * row.tolerance, f"{row.name} gradient")
