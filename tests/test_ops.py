"""Every op of the registry on both devices: values, dtypes, layouts, first and second gradients."""

from __future__ import annotations

import os

import numpy as np
import pytest

import tgrad
from tests import table
from tests.table import Row, Sample, all_rows, assert_close, leaves, outputs, tensors
from tgrad.dispatch import OPS

ROWS = all_rows()
DEVICES = ("cpu", "cuda")
FALLBACK = pytest.mark.filterwarnings("ignore::tgrad.FallbackWarning")
CASES = [
    pytest.param(row, sample, id=f"{row.name}-{k}", marks=FALLBACK if row.fallback else ())
    for row in ROWS
    for k, sample in enumerate(row.samples)
]
on_devices = pytest.mark.parametrize("device", DEVICES)
cases = pytest.mark.parametrize("row, sample", CASES)


def call(row: Row, made: Sample):
    return row.function()(*made.args, **made.kwargs)


@cases
@on_devices
def test_agrees_with_float64_numpy(row: Row, sample: Sample, device: str):
    if row.ref is None:
        pytest.skip(row.why_no_ref)
    y = call(row, tensors(row, sample, device))
    made = table.arrays(row, sample)
    with np.errstate(all="ignore"):
        want = row.ref(*made.args, **made.kwargs)
    assert_close(y, want, "float64", row.tolerance, f"{row.name} on {device}")


@cases
@on_devices
def test_keeps_its_accuracy_in_smaller_dtypes(row: Row, sample: Sample, device: str):
    for dtype in row.dtypes:
        made = tensors(row, sample, device, dtype)
        # The exact answer for the rounded inputs.
        exact = Sample(
            *_map(made, lambda x: x.cpu().double() if x.is_floating_point() else x.cpu())
        )
        y, want = call(row, made), call(row, exact)
        assert_close(y, want, dtype, row.tolerance, f"{row.name} {dtype} on {device}")
        kept = [a.dtype for a in outputs(call(row, tensors(row, sample, "cpu", dtype)))]
        assert [a.dtype for a in outputs(y)] == kept


@cases
@on_devices
def test_takes_strided_inputs(row: Row, sample: Sample, device: str):
    want = call(row, tensors(row, sample, "cpu"))
    y = call(row, tensors(row, sample, device, layout="strided"))
    assert_close(y, want, "float64", row.tolerance, f"{row.name} strided on {device}")


def scalar(row: Row, y, device: str):
    """A fixed random projection of all floating outputs."""
    rng = np.random.default_rng(5)
    total = None
    for out in outputs(y):
        w = rng.standard_normal(out.shape)
        if isinstance(out, tgrad.Tensor) and out.is_floating_point() and out.requires_grad:
            part = (out * tgrad.from_numpy(np.asarray(w)).to(device)).sum()
            total = part if total is None else total + part
    return total


def gradients(row: Row, sample: Sample, device: str, order: int):
    """Gradients of a projection of the outputs; of order 2: of a projection of those."""
    made = tensors(row, sample, device, grad=True)
    xs = leaves(made)
    y = scalar(row, call(row, made), device)
    if y is None:
        return xs, None
    gs = tgrad.autograd.grad(y, xs, create_graph=order == 2, allow_unused=True)
    if order == 2:
        y = scalar(row, [g for g in gs if g is not None], device)
        if y is None:
            return xs, None
        gs = tgrad.autograd.grad(y, xs, allow_unused=True)
    return xs, gs


def numeric(row: Row, sample: Sample, order: int, k: int, direction: np.ndarray):
    """Central difference along ``direction`` of leaf ``k`` of what ``gradients`` differentiates."""

    def f(step: float) -> float:
        made = tensors(row, sample, "cpu", grad=True)
        xs = leaves(made)
        with tgrad.no_grad():
            xs[k].add_(tgrad.from_numpy(np.asarray(direction * step)))
        y = scalar(row, call(row, made), "cpu")
        if order == 2:
            gs = tgrad.autograd.grad(y, xs, create_graph=True, allow_unused=True)
            y = scalar(row, [g for g in gs if g is not None], "cpu")
        return 0.0 if y is None else y.item()

    e = 1e-5
    return (f(e) - f(-e)) / (2 * e)


def check_gradients(row: Row, sample: Sample, device: str, order: int):
    xs, gs = gradients(row, sample, device, order)
    if gs is None:
        assert order == 2 or not xs, f"{row.name}: no output requires grad"
        return
    if device == "cuda":  # the CPU's were checked against finite differences
        _, want = gradients(row, sample, "cpu", order)
        assert want is not None
        for g, w in zip(gs, want, strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                assert_close(g, w, "float64", 10 * row.tolerance, f"{row.name} gradient on cuda")
        return
    for k, (x, g) in enumerate(zip(xs, gs, strict=True)):
        if x.numel() == 0:
            continue
        direction = np.random.default_rng(7 + k).standard_normal(x.shape)
        got = 0.0 if g is None else float((table.to_numpy(g) * direction).sum())
        want = numeric(row, sample, order, k, direction)
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6), (
            f"{row.name}: leaf {k}, order {order}"
        )


@cases
@on_devices
def test_gradient_matches_finite_differences(row: Row, sample: Sample, device: str):
    if not row.grad:
        return
    check_gradients(row, sample, device, order=1)


@cases
@on_devices
def test_second_gradient_matches_finite_differences(row: Row, sample: Sample, device: str):
    if not (row.grad and row.gradgrad):
        return
    check_gradients(row, sample, device, order=2)


def test_every_public_op_has_a_row():
    if os.environ.get("TGRAD_TEST_FAMILIES"):
        pytest.skip("only a part of the table was asked for")
    covered = {row.name.rpartition(".")[2] for row in ROWS} | {
        c for row in ROWS for c in row.covers
    }
    # An in-place form of its own is run by tests/test_inplace.py from the row of its op.
    names = {e.name: e.name.rstrip("_") for e in OPS.values() if e.spaces}
    absent = sorted(n for n, base in names.items() if n not in covered and base not in covered)
    assert not absent


def test_every_op_is_documented():
    assert not [e.name for e in OPS.values() if not e.doc]


def test_every_kernel_op_has_a_kernel_for_each_device():
    kinds = ("kernel", "pointwise")
    absent = [e.name for e in OPS.values() if e.kind in kinds and e.kernel("cpu") is None]
    assert not absent


def _map(sample: Sample, f):
    def visit(a):
        if isinstance(a, tgrad.Tensor):
            return f(a)
        if isinstance(a, (list, tuple)):
            return type(a)(visit(x) for x in a)
        return a

    return tuple(visit(a) for a in sample.args), {k: visit(v) for k, v in sample.kwargs.items()}
