"""``tgrad.utils.benchmark``: how often statements run, what is waited for, what is told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import tgrad
from tgrad.utils import benchmark
from tgrad.utils.benchmark import Compare, Measurement, TaskSpec, Timer


class Clock:
    """Moves on only when a statement runs: ``tick()``, by ``step`` seconds."""

    def __init__(self, step: float, reading: float = 0.0):
        self.now, self.step, self.reading, self.runs = 0.0, step, reading, 0

    def __call__(self) -> float:
        self.now += self.reading
        return self.now

    def tick(self) -> None:
        self.now += self.step
        self.runs += 1


def timed(clock: Clock, **options: Any) -> Timer:
    return Timer("tick()", timer=clock, globals={"tick": clock.tick}, **options)


def test_a_statement_runs_as_often_as_is_said_after_warming_up():
    clock = Clock(0.25)
    made = timed(clock).timeit(400)
    assert clock.runs == 404 and made.number_per_run == 400 and len(made.raw_times) == 1
    assert made.median == made.mean == 0.25 and made.iqr == 0 and not made.has_warnings


def test_blocks_grow_until_the_clock_is_small_beside_them():
    for step, reading, number in ((1e-6, 1e-6, 10000), (1e-6, 0.0, 1000), (0.5, 1e-6, 1)):
        calls = []
        made = timed(Clock(step, reading)).blocked_autorange(lambda *a, c=calls: c.append(a))
        assert made.number_per_run == number and sum(made.raw_times) >= 0.2
        assert sum(made.raw_times[:-1]) < 0.2
        assert calls == [(number, t) for t in made.raw_times]
        assert made.median == pytest.approx(step, rel=0.02)


def test_an_adaptive_measurement_ends_when_it_is_sure_or_late():
    steady = timed(Clock(0.2)).adaptive_autorange()
    assert len(steady.raw_times) == 4
    clock = Clock(0.2)

    def wild() -> None:
        clock.step = 1.4 - clock.step  # 0.2, 1.2, 0.2, ...
        clock.tick()

    made = Timer("wild()", timer=clock, globals={"wild": wild}).adaptive_autorange(max_run_time=5)
    assert 5 < sum(made.raw_times) < 7 and made.has_warnings
    assert "significant environmental influence" in repr(made)


def test_threads_are_set_inside_alone():
    seen, before = [], tgrad.get_num_threads()
    look = "seen.append(tgrad.get_num_threads())"
    Timer(look, globals={"seen": seen}, num_threads=3).timeit(1)
    Timer("torch.zeros(1); " + look, globals={"seen": seen}).timeit(1)
    assert set(seen) == {3, 1} and tgrad.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        Timer("1 / 0", num_threads=3).timeit(1)
    assert tgrad.get_num_threads() == before


def test_the_clock_is_read_when_the_gpu_has_done_its_work(monkeypatch):
    from tgrad.runtime import cuda

    tgrad.ones(1, device="cuda")
    waits = []
    monkeypatch.setattr(type(cuda.active()), "synchronize", lambda self: waits.append(1))
    first = benchmark.timer()
    assert waits == [1] and benchmark.timer() >= first
    Timer("x + x", globals={"x": tgrad.ones(2, device="cuda")}).timeit(3)
    assert len(waits) == 6  # around the warm-up and around the measurement
    monkeypatch.setattr(cuda, "_active", None)
    benchmark.timer()
    assert len(waits) == 6


def test_setup_and_block_strings_are_read():
    made = Timer(
        """
        y = x + 1
        assert y == 3
        """,
        setup="""
        x = 2
        """,
    ).timeit(2)
    assert made.stmt == "y = x + 1\nassert y == 3" and made.setup == "x = 2"
    assert "setup: x = 2" in repr(made) and "2 runs , 1 thread" in repr(made)


@pytest.mark.parametrize("options, match", [
    ({"stmt": 3}, "must be a str"), ({"language": "c++"}, "language 'python'"),
    ({"global_setup": "#include"}, "use setup"),
])  # fmt: skip
def test_what_is_no_python_is_refused(options: dict, match: str):
    with pytest.raises(ValueError, match=match):
        Timer(**options)
    for call in (Timer().repeat, Timer().autorange):
        with pytest.raises(NotImplementedError, match="blocked_autorange"):
            call()


def test_measurements_of_one_task_are_merged():
    task, other = TaskSpec("x", "pass", label="a"), TaskSpec("x", "pass", label="b")
    merged = Measurement.merge([
        Measurement(2, [2.0], task), Measurement(1, [5.0], other), Measurement(4, [8.0], task)
    ])  # fmt: skip
    assert [(m.raw_times, m.label) for m in merged] == [([1.0, 2.0], "a"), ([5.0], "b")]
    assert pickle.loads(pickle.dumps(merged[0])) == merged[0]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        merged[0].nothing  # noqa: B018


def test_a_table_has_a_row_for_each_name_and_takes_measurements_alone(capsys):
    def made(name: str | None, column: str | None, seconds: float) -> Measurement:
        return Measurement(1, [seconds], TaskSpec("s", "pass", "", "add", name, column))

    table = Compare([made("small", "n = 1", 2e-3)])
    table.extend_results([made("large", "n = 9", 3e-2), made("large", "n = 1", 4e-3)])
    with pytest.raises(ValueError, match="instance of `Measurement`"):
        table.extend_results([made("huge", "n = 1", 1.0), 3])  # pyright: ignore[reportArgumentType]
    table.print()
    assert capsys.readouterr().out == (
        "[------------ add ------------]\n"
        "             |  n = 1  |  n = 9\n"
        "1 threads: --------------------\n"
        "      small  |   2.0   |       \n"
        "      large  |   4.0   |   30.0\n"
        "\n"
        "Times are in milliseconds (ms).\n"
        "\n"
    )
    assert "None" not in str(Compare([made(None, None, 1.0)]))
