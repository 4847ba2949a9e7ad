"""The tuner's parts: halving, calls as data, the check against NumPy, what GPUs can do."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("triton", reason="kernels are written in Triton")

import tgrad
from tgrad.dtypes import Scalar
from tgrad.kernels.cuda import tiles
from tgrad.kernels.cuda.configs import SPACES, Case
from tgrad.kernels.gate.facts import Facts
from tgrad.kernels.samples.costs import Cost, cost
from tgrad.runtime import cuda
from tgrad.runtime.array import CudaArray
from tgrad.runtime.recorder import Launch
from tgrad.tuner import arms, check, discover, peaks, session
from tgrad.tuner.calls import Array, Call, dense, parsed
from tgrad.tuner.race import halving

# ---- successive halving --------------------------------------------------------------------------


class Runner:
    def __init__(self, true: float, rung: int = 0):
        self.true, self.rung, self.us, self.seconds = true, rung, math.inf, []

    def measure(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.us = self.true


def test_every_round_has_the_same_time_and_half_the_runners():
    runners = [Runner(float(k)) for k in range(8)]
    ranking = halving(runners, Runner.measure, 24.0)
    assert [r.true for r in ranking] == list(range(8))
    assert [len(r.seconds) for r in runners] == [3, 3, 2, 2, 1, 1, 1, 1]
    assert runners[0].seconds == [1.0, 2.0, 4.0]
    assert sum(sum(r.seconds) for r in runners) == 24.0


def test_a_runner_that_fails_goes_first():
    runners = [Runner(math.inf), Runner(3.0), Runner(2.0)]
    assert [r.true for r in halving(runners, Runner.measure, 1.0)] == [2.0, 3.0, math.inf]
    (only,) = halving([Runner(1.0)], Runner.measure, 1.0)
    assert len(only.seconds) == 1
    assert halving([], Runner.measure, 1.0) == []


def test_rounds_that_were_run_before_are_not_run_again():
    runners = [Runner(1.0, 2), Runner(2.0, 1), Runner(3.0), Runner(4.0, 1)]
    for r in runners:
        r.us = r.true if r.rung else math.inf
    ranking = halving(runners, Runner.measure, 8.0)
    assert [r.true for r in ranking] == [1.0, 2.0, 3.0, 4.0]
    assert [len(r.seconds) for r in runners] == [0, 1, 1, 0]


# ---- calls ---------------------------------------------------------------------------------------

X = Array((4, 6), "float32", (1, -4), 4)


def test_a_call_survives_as_text():
    call = Call(
        "linear", 1,
        (X, [Array((3,), "bfloat16", (1,))], (1, (2, None)), 2.5, True, "mean", tgrad.float16,
         Scalar(3, tgrad.float32), float("inf")),
        "high", True,
    )  # fmt: skip
    again = parsed(call.text())
    assert again == call and again.text() == call.text() and "\n" not in call.text()


NO_CALLS = [
    "", "{}", "[]", '{"op": "no such op", "outputs": 1, "args": []}',
    '{"op": "linear", "outputs": 1, "args": [{"dtype": "x"}]}',
]  # fmt: skip


@pytest.mark.parametrize("line", NO_CALLS)
def test_a_line_that_is_no_call_is_refused(line):
    with pytest.raises(ValueError):
        parsed(line)


def test_arrays_are_made_with_their_steps_offset_and_values():
    base, view = X.host(np.random.default_rng(0))
    assert view.shape == (4, 6) and X.span == (20, 24) and len(base) == 24
    made = X.device(base)
    assert (made.shape, made.steps, made.ptr % 16) == ((4, 6), (1, -4), (4 + 20 * 4) % 16)
    np.testing.assert_array_equal(cuda.active().to_host(made), view)


def test_shapes_for_people_name_the_line_and_the_fault(tmp_path):
    file = tmp_path / "shapes"
    file.write_text(
        '# rows\n{"call": "softmax", "args": [{"shape": [4, 30]}, 1], "dtype": ["float16"]}\n'
    )
    (task,) = discover.of_file(file, 0)
    assert task.case == Case("softmax", "16-bit", 0, (4, 32, 1), "rows")
    file.write_text(task.call.text())  # the other form, of the same call
    assert discover.of_file(file, 0) == [task]
    for line in ('{"call": "softmx"}', '{"call": "sum", "arg": []}', "[1]", "no JSON"):
        file.write_text(f"\n{line}\n")
        with pytest.raises(ValueError, match="line 2: "):
            discover.of_file(file, 0)


def test_batches_of_a_bucket_are_one_task():
    def run():
        for n in (33, 40, 64, 65):
            tgrad.softmax(tgrad.ones(n, 10, device="cuda"), 1)

    sizes = [t.case.sizes for t in discover.of_function(run) if t.case.kernel == "softmax"]
    assert sizes == [(64, 16, 1), (128, 16, 1)]


# ---- right results -------------------------------------------------------------------------------


def test_the_check_tells_rounding_from_a_wrong_tile():
    call = Call("_sum", 1, (Array((50,), "bfloat16", (1,)), Array((50, 70), "bfloat16", (70, 1)),
                            (1,), False, None))  # fmt: skip
    rng = np.random.default_rng(0)
    inputs = [a.host(rng)[1] for a in call.arrays]
    (want,) = check.reference(call, inputs)
    assert want.dtype == np.float64
    np.testing.assert_allclose(want, inputs[1].astype(np.float64).sum(1))
    rounded = want.astype(tgrad.bfloat16.numpy)
    assert check.disagreement(call, [rounded], [want]) == ""
    short = inputs[1][:, :64].astype(np.float64).sum(1).astype(rounded.dtype)
    assert "elements of output 0 differ" in check.disagreement(call, [short], [want])
    one = rounded.copy()
    one[7] = np.nan
    assert check.disagreement(call, [one], [want]).startswith("1 of 50")


def test_integers_must_be_equal():
    call = Call("_sum", 1, (Array((2,), "int64", (1,)),))
    same = np.array([1, 2])
    assert check.disagreement(call, [same], [same]) == ""
    assert check.disagreement(call, [np.array([1, 3])], [same]).startswith("1 of 2")


# ---- spaces --------------------------------------------------------------------------------------

CASES = {
    "matmul": ("half", (4096, 4096, 4096, 1), "nn"), "matvec": ("any", (4096, 1, 4096, 1), "n"),
    "conv2d": ("half", (64, 131072, 1024, 1), ""),
    "conv2d_backward_weight": ("half", (64, 1024, 131072, 1), ""),
    "attention": ("half", (1024, 1024, 64, 64), ""),
    "attention_backward_keys": ("half", (1024, 1024, 64, 64), "masked"),
    "attention_backward_queries": ("half", (1024, 1024, 64, 64), ""),
    "depthwise": ("16-bit", (128, 131072), ""),
    "depthwise_backward_weight": ("16-bit", (128, 131072), ""),
    "pointwise": ("16-bit", (1 << 24,), "flat"), "reduction": ("16-bit", (8192, 4096), "rows"),
    **dict.fromkeys(("softmax", "softmax_backward", "cross_entropy", "layer_norm",
                     "layer_norm_backward"), ("16-bit", (8192, 4096, 1), "rows")),
}  # fmt: skip


def test_every_kernel_with_choices_is_here():
    session.every_kernel()
    assert set(SPACES) >= set(CASES)


@pytest.mark.parametrize("kernel", CASES)
@pytest.mark.parametrize("arch", [80, 90])
def test_a_space_has_candidates_that_it_accepts_itself(kernel, arch):
    session.every_kernel()
    kind, sizes, layout = CASES[kernel]
    space, case = SPACES[kernel], Case(kernel, kind, arch, sizes, layout)
    found = space.candidates(case)
    assert len(found) == len(set(found)) > 10
    assert all(space.accepts(c, case) for c in found)
    field = next(iter(space.values))
    assert not space.accepts(found[0]._replace(**{field: 3}), case)


# ---- what GPUs can do ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, row",
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"), ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200 SXM"), ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 SXM 40GB"), ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"), ("NVIDIA B200", "B200"),
    ],
)  # fmt: skip
def test_the_drivers_names_find_their_row(name, row):
    found = peaks.peak_of(name)
    assert found is not None and found.name == row
    assert peaks.peak_of("NVIDIA GeForce RTX 4090") is None


def test_the_cost_model_of_tiles_stands_on_the_same_peaks():
    for machine in (tiles.A100, tiles.H100, tiles.B200):
        peak = peaks.peak_for(machine.arch)
        assert machine.multiprocessors == peak.multiprocessors
        for kind in ("half", "float32", "float64"):
            share = machine.flops[kind] * machine.multiprocessors / (peak.flops(kind) * 1e6)
            assert share == pytest.approx(0.7, rel=0.01), (machine.arch, kind)


def test_occupancy_is_bound_by_what_runs_out_first():
    assert peaks.occupancy(32, 0, 4, 90) == 1.0  # 2048 threads of 32 registers
    assert peaks.occupancy(64, 0, 4, 90) == 0.5  # registers
    assert peaks.resident(32, 100 * 1024, 4, 90) == 2  # shared memory: 228 KB, 1 KB a program
    assert peaks.resident(32, 0, 1, 90) == 32  # programs
    assert peaks.resident(255, 0, 16, 90) == 0  # none at all


def test_attention_is_counted_by_its_products():
    q, k, v, lse = (np.zeros(s, np.float16) for s in
                    ((2, 5, 4, 8), (2, 7, 2, 8), (2, 7, 2, 16), (2, 4, 5)))  # fmt: skip
    y = np.zeros((2, 5, 4, 16), np.float16)
    pairs = 2 * 4 * 5 * 7  # of a query and a key
    assert cost("_attention", [y, lse], [q, k, v, None]).flops == 2 * pairs * (8 + 16)
    backward = cost("attention_backward", [q, k, v], [y, q, k, v, None, lse])
    assert backward.flops == 2 * pairs * (3 * 8 + 2 * 16)


def prediction(grid: tuple[int, ...], block: int) -> float:
    """Of adding two arrays of 16M floats, read and written."""
    call = Call("add", 1, (Array((1 << 24,), "float32", dense((1 << 24,))),))
    task = discover.Task(Case("pointwise", "32-bit", 90, (1 << 24,), "flat"), call)
    a = CudaArray(None, 0, (1 << 24,), (4,), np.dtype(np.float32))
    arm = arms.Arm(None, [Launch("add", None, grid, (a, a), {"BLOCK": block}, 4, 3)])
    arm.facts = [Facts(registers=32)]
    line = arms.Lineup(task, 90, [arm], Cost("add", 2 << 26, 0))
    return arms.predicted(line, arm, peaks.peak_for(90))


def test_predictions_know_idle_multiprocessors_and_narrow_tiles():
    least = (2 << 26) / 3352e3
    assert prediction((1 << 14,), 1024) == pytest.approx(least, rel=0.05)
    assert prediction((66,), 1024) == pytest.approx(2 * least, rel=0.05)  # half of them work
    assert prediction((1 << 19,), 32) > 3 * least  # too little on its way
