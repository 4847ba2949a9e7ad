"""The profiler: what it records, adds up, prints and exports; tracing launch by launch."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tgrad
from tgrad import nn
from tgrad.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    summary,
    supported_activities,
    tensorboard_trace_handler,
    trace,
)
from tgrad.profiler import recorder as recording


def row(p: profile, name: str) -> summary.Average:
    return next(a for a in p.key_averages() if a.key == name)


def work(device: str = "cpu") -> tgrad.Tensor:
    x = tgrad.ones(8, 16, device=device, requires_grad=True)
    w = tgrad.ones(16, 4, device=device)
    y = (x @ w).relu().sum()
    y.backward()
    return y


def test_forward_and_backward_ops_are_recorded_with_calls_and_times():
    with profile() as p:
        work()
        work()
    names = {e.name for e in p.events()}
    assert {"matmul", "relu", "relu_backward", "sum"} <= names
    matmul = row(p, "matmul")
    assert matmul.count == 4  # two forward, two for the gradient of x
    assert 0 < matmul.self_cpu_time_total <= matmul.cpu_time_total
    assert matmul.cpu_time == matmul.cpu_time_total / 4


def test_costs_are_counted_from_shapes():
    with profile() as p:
        tgrad.matmul(tgrad.ones(8, 16), tgrad.ones(16, 4))
    matmul = row(p, "matmul")
    assert matmul.flops == 2 * 8 * 16 * 4
    assert matmul.bytes == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_time_inside_is_not_an_events_own():
    with profile() as p, record_function("outer"):
        work()
    outer = row(p, "outer")
    inside = sum(a.self_cpu_time_total for a in p.key_averages() if a.key != "outer")
    assert outer.cpu_time_total == pytest.approx(outer.self_cpu_time_total + inside)
    assert next(e for e in p.events() if e.name == "outer").parent is None


def test_in_place_methods_and_views_are_recorded():
    with profile() as p:
        tgrad.ones(4, 4).mul_(2).t()
    assert {"mul_", "t"} <= {e.name for e in p.events()}
    assert row(p, "mul_").bytes == 2 * 64
    assert row(p, "t").bytes == 0


def test_an_op_that_raises_has_ended():
    with profile() as p:
        with pytest.raises(RuntimeError):
            tgrad.matmul(tgrad.ones(2, 3), tgrad.ones(2, 3))
        tgrad.ones(2).exp()
    assert [e.parent for e in p.events() if e.name == "exp"] == [None]


def test_functions_are_as_before_when_it_has_ended():
    before = tgrad.matmul.__code__, vars(tgrad.Tensor)["add_"].__code__
    with profile():
        assert tgrad.matmul.__code__ is not before[0]
    assert (tgrad.matmul.__code__, vars(tgrad.Tensor)["add_"].__code__) == before
    with pytest.raises(ZeroDivisionError), profile():
        raise ZeroDivisionError
    assert tgrad.matmul.__code__ is before[0]


def test_autocast_works_inside_and_around():
    x = tgrad.ones(4, 4)
    with profile() as p, tgrad.autocast("cpu"):
        assert (x @ x).dtype is tgrad.bfloat16
    assert row(p, "matmul").count == 1
    with tgrad.autocast("cpu"):
        with profile():
            assert (x @ x).dtype is tgrad.bfloat16
        assert (x @ x).dtype is tgrad.bfloat16
    assert (x @ x).dtype is tgrad.float32


def test_two_profilers_at_once_are_refused():
    with profile():
        with pytest.raises(RuntimeError, match="running already"):
            profile().start()
        tgrad.ones(1)
    with profile():
        pass


def test_events_of_threads_do_not_nest_in_each_other():
    with profile() as p, record_function("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    other = [e for e in p.events() if e.name == "relu"]
    assert other and all(e.parent is None or e.parent.name != "main" for e in other)
    assert len({e.thread for e in p.events()}) == 2


def test_memory_shapes_and_lines_are_recorded_where_asked():
    with profile(record_shapes=True, profile_memory=True, with_stack=True) as p:
        x = tgrad.ones(512, 512)
        y = x.exp()
    exp = next(e for e in p.events() if e.name == "exp")
    assert exp.shapes == [[512, 512]]
    assert exp.self_memory >= 4 * 512 * 512
    assert Path(__file__).name in exp.stack
    del y
    grouped = p.key_averages(group_by_input_shape=True, group_by_stack_n=1)
    assert "[512, 512]" in grouped.table(roofline=False)


def test_averages_by_shape_are_apart():
    with profile(record_shapes=True) as p:
        tgrad.ones(2).exp()
        tgrad.ones(3).exp()
    assert len([a for a in p.key_averages(True) if a.key == "exp"]) == 2
    assert len([a for a in p.key_averages() if a.key == "exp"]) == 1


def test_the_table_is_sorted_limited_and_has_shares():
    with profile() as p:
        for _ in range(3):
            tgrad.ones(256, 256).exp()
        tgrad.ones(4).sin()
    text = p.key_averages().table(sort_by="count", row_limit=2)
    lines = text.splitlines()
    assert len(lines) == 5 and lines[0].startswith("name") and "roofline" in lines[0]
    assert lines[-1].startswith("host: ")
    share = row(p, "exp").roofline_share()
    assert share is not None and share > 0
    with pytest.raises(ValueError, match="sort_by"):
        p.key_averages().table(sort_by="nonsense")


def test_nothing_recorded_is_an_empty_table():
    with profile() as p:
        pass
    assert p.events() == []
    assert p.key_averages().table(roofline=False).splitlines()[-1] == "host: 0.0 us"
    with pytest.raises(AssertionError, match="nothing yet"):
        profile().events()


def test_a_schedule_records_its_steps_alone():
    saved = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    with profile(schedule=plan, on_trace_ready=lambda p: saved.append(len(p.events()))) as p:
        for _ in range(12):
            tgrad.ones(2).exp()
            p.step()
    assert len(saved) == 2 and saved[0] == saved[1]
    assert row(p, "exp").count == 2


def test_a_schedule_skips_and_refuses():
    plan = schedule(wait=1, warmup=0, active=1, skip_first=2)
    names = [plan(k).name for k in range(6)]
    assert names == ["NONE", "NONE", "NONE", "RECORD_AND_SAVE", "NONE", "RECORD_AND_SAVE"]
    for wrong in ({"wait": -1}, {"active": 0}):
        with pytest.raises(AssertionError, match="schedule"):
            schedule(**{"wait": 1, "warmup": 1, "active": 1, **wrong})


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_the_trace_is_chromes_format(tmp_path: Path, name: str):
    with profile(record_shapes=True) as p, record_function("block"):
        work()
    p.export_chrome_trace(str(tmp_path / name))
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rt") as file:
        found = json.load(file)
    rows = [r for r in found["traceEvents"] if r["ph"] == "X"]
    block = next(r for r in rows if r["name"] == "block")
    matmul = next(r for r in rows if r["name"] == "matmul")
    assert block["ts"] <= matmul["ts"]
    assert matmul["ts"] + matmul["dur"] <= block["ts"] + block["dur"] + 1
    assert matmul["args"]["shapes"] == [[8, 16], [16, 4]]
    assert block["cat"] == "user_annotation"


def test_the_handler_writes_a_file_for_each_trace(tmp_path: Path):
    folder = tmp_path / "traces"
    with profile(on_trace_ready=tensorboard_trace_handler(str(folder), "w")):
        work()
    (file,) = folder.iterdir()
    assert file.name.startswith("w.") and json.loads(file.read_text())["traceEvents"]


def test_record_function_decorates_and_is_free_outside():
    @record_function("named")
    def double(x):
        return x * 2

    assert double(3) == 6
    with profile() as p:
        double(tgrad.ones(1))
    assert row(p, "named").count == 1


def test_gpu_ops_have_times_on_the_stream():
    assert ProfilerActivity.CPU in supported_activities()
    if ProfilerActivity.CUDA not in supported_activities():
        pytest.skip("there is no GPU and Triton's interpreter is not on")
    with profile() as p:
        work("cuda")
    matmul = row(p, "matmul")
    assert matmul.self_device_time_total > 0
    assert row(p, "sum").device_time_total >= row(p, "_sum").self_device_time_total > 0
    assert "self GPU" in p.key_averages().table()
    with profile(activities=[ProfilerActivity.CPU]) as p:
        work("cuda")
    assert row(p, "matmul").device_time_total == 0


def test_a_model_and_its_optimizer_can_be_profiled():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = tgrad.optim.Adam(model.parameters())
    with profile() as p:
        model(tgrad.ones(3, 4)).sum().backward()
        optimizer.step()
    names = {e.name for e in p.events()}
    assert {"linear", "_adam_step"} <= names
    assert row(p, "_adam_step").bytes > 0


def test_trace_prints_a_line_for_each_kernel():
    file = io.StringIO()
    with trace(file):
        tgrad.matmul(tgrad.ones(64, 64), tgrad.ones(64, 64))
    tgrad.ones(2).exp()
    lines = file.getvalue().splitlines()
    matmul = next(line for line in lines if line.startswith("matmul"))
    assert "float32" in matmul and "64x64 64x64" in matmul
    assert "GB/s" in matmul and "TFLOP/s" in matmul
    assert not any(line.startswith("exp") for line in lines)


def test_the_variable_traces_a_whole_program():
    code = "import tgrad; (tgrad.ones(2, 3) + 1).exp()"
    environment = {**os.environ, "TGRAD_TRACE": "1"}
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert made.returncode == 0, made.stderr
    names = [line.split()[0] for line in made.stderr.splitlines()]
    assert names[-2:] == ["add", "exp"]


def test_actions_have_pytorchs_names():
    assert [a.name for a in ProfilerAction] == ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"]
    with pytest.raises(AssertionError, match="activities"):
        profile(activities=[])
    assert recording.Recorder.active is None
