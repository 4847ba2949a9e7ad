"""DataLoader with worker processes and threads: the same batches, and nothing is left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
)

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only"),
    # More workers than cores warn; the tests mean to have two.
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]

PROCESS, THREAD = {"workers": "process"}, {"workers": "thread"}
KINDS = pytest.mark.parametrize("kind", [PROCESS, THREAD], ids=["process", "thread"])


class Items(Dataset):
    """What ``make`` gives for each index."""

    def __init__(self, n: int, make: Any = lambda i: i):
        self.n, self.make = n, make

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Stream(IterableDataset):
    """The numbers below ``n``, shared out among the workers; endless for None."""

    def __init__(self, n: int | None):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        i, step = (0, 1) if info is None else (info.id, info.num_workers)
        while self.n is None or i < self.n:
            yield i
            i += step


def alive(pid: int) -> bool:
    """Whether a process runs (one that nobody waited for counts as dead)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def no_children() -> bool:
    return not multiprocessing.active_children()


def shared() -> set[str]:
    """The named shared memory there is, without torch's and the semaphores of other programs."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith(("torch", "sem."))}


@pytest.fixture(autouse=True)
def _nothing_is_left():
    tgrad.manual_seed(0)
    before = shared()
    yield
    wait_for(no_children)
    wait_for(lambda: shared() <= before)  # others may come and go


# ---- the same batches ----------------------------------------------------------------------------


def noisy(i: int) -> tuple:
    return np.full((3, 5), i, np.float32), i, f"item {i}", tgrad.rand(2)


def plain(batch: Any) -> Any:
    if isinstance(batch, (tgrad.Tensor, np.ndarray)):
        return batch.tolist()
    return [plain(b) for b in batch] if isinstance(batch, (list, tuple)) else batch


def test_batches_and_draws_are_the_same_for_any_number_of_workers():
    def run(**options: Any) -> Any:
        tgrad.manual_seed(3)
        loader = DataLoader(Items(23, noisy), 4, shuffle=True, **options)
        return [[plain(b) for b in loader] for _ in range(2)]

    expected = run()
    assert expected[0] != expected[1]
    for n in (1, 2):
        for kind in (PROCESS, THREAD):
            for persistent in (False, True):
                assert run(num_workers=n, persistent_workers=persistent, **kind) == expected
    assert run(num_workers=2, prefetch_factor=5) == expected
    assert run(num_workers=2, prefetch_factor=1) == expected


@KINDS
def test_batches_may_come_out_of_order(kind: dict):
    loader = DataLoader(Items(40), 3, num_workers=2, in_order=False, **kind)
    for _ in range(2):
        assert sorted(i for b in loader for i in b.tolist()) == list(range(40))


def test_a_slow_worker_does_not_hold_up_the_other_out_of_order(tmp_path: Path):
    gate = tmp_path / "open"

    def make(i: int) -> int:
        while i == 0 and not gate.exists():
            time.sleep(0.005)
        return i

    loader = DataLoader(Items(6, make), 1, num_workers=2, in_order=False)
    seen = []
    for batch in loader:
        seen.append(batch.item())
        if len(seen) == 2:  # both from the worker that does not wait
            gate.touch()
    assert sorted(seen) == list(range(6)) and 0 not in seen[:2]


Pair = namedtuple("Pair", "a b")


def test_every_kind_of_batch_passes_through_shared_memory():
    def collate(items: list[int]) -> Any:
        i = items[0]
        return {
            "dtypes": [tgrad.tensor([[i, 1], [2, 3]]).to(d) for d in tgrad.dtypes.ALL],
            "turned": tgrad.arange(6).view(2, 3).t(), "empty": tgrad.empty(0, 3),
            "scalar": tgrad.tensor(i),
            "leaf": tgrad.ones(2, requires_grad=True), "pair": Pair(np.arange(3) + i, "text"),
            "big": tgrad.full((300, 300), i), "long": "x" * 100_000,
            "dates": np.array(["2020-01-02"], "M8[D]"),
            "objects": np.array([None, {}], object), "gpu": tgrad.tensor([i], device="cuda"),
        }  # fmt: skip

    expected = [collate([i]) for i in range(5)]
    for got, want in zip(
        DataLoader(Items(5), 1, num_workers=2, collate_fn=collate), expected, strict=True
    ):
        for a, b in zip(got.pop("dtypes"), want.pop("dtypes"), strict=True):
            assert a.dtype is b.dtype and a.tolist() == b.tolist()
        assert got["leaf"].requires_grad and got["empty"].shape == (0, 3)
        assert isinstance(got["pair"], Pair) and got["gpu"].device.type == "cuda"
        assert got["dates"].dtype == want["dates"].dtype and got["long"] == want["long"]
        assert got["pair"].a.tolist() == want["pair"].a.tolist()
        for key in ("turned", "scalar", "big"):
            assert got[key].tolist() == want[key].tolist() and got[key].storage_offset() == 0
        assert (got["objects"] == want["objects"]).all()


@pytest.mark.parametrize("make", [dict, list, tuple], ids=lambda m: m.__name__)
def test_plain_containers_of_tensors_keep_their_kind(make: type):
    def collate(items: list[int]) -> Any:
        pairs = [
            ("x", tgrad.full((4, 4), items[0])),
            ("y", tgrad.tensor(items, dtype=tgrad.bfloat16)),
        ]
        return dict(pairs) if make is dict else make(t for _, t in pairs)

    for i, batch in enumerate(DataLoader(Items(6), 1, num_workers=2, collate_fn=collate)):
        x, y = batch.values() if make is dict else batch
        assert type(batch) is make and x.tolist() == [[i] * 4] * 4
        assert y.dtype is tgrad.bfloat16 and y.item() == i


def test_batches_that_are_held_are_not_written_over():
    loader = DataLoader(Items(60, lambda i: np.full(5000, i)), 2, num_workers=2)
    held = list(loader)
    assert [b[:, 0].tolist() for b in held] == [[i, i + 1] for i in range(0, 60, 2)]
    assert all((b == b[:, :1]).all() for b in held)
    views = [b[1:, 10:20] for b in loader]  # a view holds its batch
    assert [v[0, 0].item() for v in views] == list(range(1, 60, 2))


def test_batches_lie_in_shared_memory_and_its_pages_are_used_again():
    loader = DataLoader(Items(64, lambda i: np.full(100_000, i, np.float32)), 1, num_workers=1)
    places = Counter(batch.data_ptr() for batch in loader)
    assert len(places) <= 4 and sum(places.values()) == 64


def test_batches_outlive_their_loader():
    it = iter(DataLoader(Items(4, lambda i: np.full(50_000, i)), 2, num_workers=1))
    batch = next(it)
    del it
    wait_for(no_children)
    assert batch[:, 0].tolist() == [0, 1]


def test_batches_may_grow_and_index_lists_may_be_long():
    sizes = [1, 50_000, 10, 400_000, 3]
    loader = DataLoader(
        Items(400_000), batch_sampler=[list(range(n)) for n in sizes], num_workers=1,
        prefetch_factor=4,
        collate_fn=lambda items: (tgrad.tensor(items), [str(i) for i in items[:9000]]),
    )  # fmt: skip
    for (batch, names), n in zip(loader, sizes, strict=True):
        assert batch.tolist() == list(range(n)) and len(names) == min(n, 9000)


def test_samplers_may_give_anything():
    keys = ["a", ("b", 2), 3.5, None, 1, "c", 2**70, -1]
    loader = DataLoader(Items(4), sampler=keys, batch_size=2, num_workers=1, collate_fn=list)
    assert list(loader) == [["a", ("b", 2)], [3.5, None], [1, "c"], [2**70, -1]]


def test_without_batching_items_come_one_by_one():
    assert list(DataLoader(Items(5), batch_size=None, num_workers=2)) == [0, 1, 2, 3, 4]


def test_rows_are_gathered_in_workers_too():
    x, y = tgrad.arange(20).view(10, 2), tgrad.arange(10)
    got = list(DataLoader(TensorDataset(x, y), 4, num_workers=2))
    assert [type(b) for b in got] == [list] * 3 and got[1][0].tolist() == x[4:8].tolist()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_may_be_spawned(method: str):
    x = tgrad.arange(12.0).view(6, 2)
    loader = DataLoader(TensorDataset(x), 2, num_workers=1, multiprocessing_context=method)
    assert [b[0].tolist() for b in loader] == x.view(3, 2, 2).tolist()


# ---- streams -------------------------------------------------------------------------------------


@KINDS
def test_streams_are_shared_out(kind: dict):
    loader = DataLoader(Stream(11), 2, num_workers=2, persistent_workers=True, **kind)
    for _ in range(2):
        assert [b.tolist() for b in loader] == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]
    dropped = DataLoader(Stream(11), 2, num_workers=2, drop_last=True, **kind)
    assert [b.tolist() for b in dropped] == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10]]


@KINDS
def test_endless_streams_can_be_left(kind: dict):
    for i, batch in enumerate(DataLoader(Stream(None), 3, num_workers=2, **kind)):
        assert batch.tolist() == [6 * (i // 2) + i % 2 + k for k in (0, 2, 4)]
        if i == 9:
            break


@KINDS
def test_empty_data_gives_no_batches(kind: dict):
    assert list(DataLoader(Items(0), 2, num_workers=2, **kind)) == []
    assert list(DataLoader(Stream(0), 2, num_workers=2, **kind)) == []


class Sized(Stream):
    def __len__(self) -> int:
        assert self.n is not None
        return self.n


def test_a_stream_that_is_longer_than_it_said_warns():
    data = Sized(2)
    loader = DataLoader(data, batch_size=None)
    assert len(loader) == 2 and list(loader) == [0, 1]
    data.n = 3
    with pytest.warns(UserWarning, match="reported to be 2 .* but 3 samples"):
        list(loader)


# ---- seeds ---------------------------------------------------------------------------------------


def seeds(i: int) -> tuple:
    info = get_worker_info()
    assert info is not None
    return info.id, info.num_workers, info.seed, random.random(), float(np.random.rand())


def test_workers_are_seeded_one_by_one():
    def run() -> list:
        tgrad.manual_seed(5)
        return [tuple(row) for row in DataLoader(Items(4, seeds), batch_size=None, num_workers=2)]

    first = run()
    assert first == run() and [row[:2] for row in first] == [(0, 2), (1, 2)] * 2
    assert first[1][2] == first[0][2] + 1 and len({row[3:] for row in first}) == 4
    assert get_worker_info() is None


def test_the_generator_given_fixes_draws_and_leaves_the_default_one_alone():
    def run() -> list:
        g = tgrad.Generator().manual_seed(9)
        state = tgrad.get_rng_state().tolist()
        made = [plain(b) for b in DataLoader(Items(6, noisy), 2, num_workers=1, generator=g)]
        assert tgrad.get_rng_state().tolist() == state
        return made

    first = run()
    tgrad.rand(3)
    assert run() == first


def test_what_worker_init_fn_seeds_stays_seeded():
    def init(worker: int) -> None:
        assert tgrad.initial_seed() == get_worker_info().seed  # pyright: ignore[reportOptionalMemberAccess]
        tgrad.manual_seed(100 + worker)

    data = Items(4, lambda i: tgrad.rand(1))
    loader = DataLoader(data, batch_size=None, num_workers=2, worker_init_fn=init)
    expected = []
    for worker in range(2):
        tgrad.manual_seed(100 + worker)
        expected.append([tgrad.rand(1).item() for _ in range(2)])
    got = [t.item() for t in loader]
    assert got == [expected[0][0], expected[1][0], expected[0][1], expected[1][1]]


def test_threads_have_generators_of_their_own():
    def make(i: int) -> tuple:
        info = get_worker_info()
        assert info is not None and info.rng is not None and info.worker_method == "thread"
        return info.id, info.rng.random_generator.random(), float(info.rng.numpy_generator.random())

    def run() -> list:
        tgrad.manual_seed(1)
        loader = DataLoader(Items(4, make), batch_size=None, num_workers=2, workers="thread")
        return [tuple(row) for row in loader]

    before = random.getstate()
    first = run()
    assert first == run() and len(set(first)) == 4 and random.getstate() == before


# ---- failures ------------------------------------------------------------------------------------


class TwoArguments(Exception):
    def __init__(self, a: int, b: int):
        super().__init__(a, b)


@KINDS
@pytest.mark.parametrize(
    "error, raised",
    [(ValueError("bad item"), ValueError), (KeyError("k"), KeyError),
     (StopIteration(), StopIteration),     (TwoArguments(1, 2), RuntimeError)],
    ids=["ValueError", "KeyError", "StopIteration", "TwoArguments"],
)  # fmt: skip
def test_a_workers_exception_comes_with_its_traceback(kind: dict, error: Exception, raised: type):
    def deep_inside(i: int) -> int:
        if i == 3:
            raise error
        return i

    it = iter(DataLoader(Items(8, deep_inside), 2, num_workers=2, **kind))
    assert next(it).tolist() == [0, 1]
    with pytest.raises(raised) as e:
        next(it)
    text = str(e.value)
    assert f"Caught {type(error).__name__} in DataLoader worker {kind['workers']} 1." in text
    assert "Original Traceback" in text and "deep_inside" in text
    assert [b.tolist() for b in it] == [[4, 5], [6, 7]]  # the others go on


def test_classes_that_only_the_worker_has_arrive_as_text():
    def make(i: int) -> int:
        class Local(Exception):
            pass

        raise Local("here")

    with pytest.raises(RuntimeError, match="Caught Local in DataLoader worker process 0"):
        next(iter(DataLoader(Items(1, make), num_workers=1)))


def test_what_cannot_be_pickled_is_named():
    loader = DataLoader(Items(2), num_workers=1, collate_fn=lambda items: lambda: items)
    with pytest.raises(Exception, match=r"(?s)DataLoader worker process 0.*pickle"):
        next(iter(loader))
    leaf = tgrad.ones(1, requires_grad=True)
    loader = DataLoader(Items(2), num_workers=1, collate_fn=lambda items: leaf * 2)
    with pytest.raises(RuntimeError, match="computed tensor that requires grad"):
        next(iter(loader))


@KINDS
def test_a_failing_start_is_raised(kind: dict):
    def init(worker: int) -> None:
        raise OSError(f"no data for {worker}")

    with pytest.raises(OSError, match=r"(?s)Caught OSError.*no data for 0"):
        next(iter(DataLoader(Items(4), num_workers=2, worker_init_fn=init, **kind)))


def kill_worker(loader: DataLoader, victim: int) -> float:
    """The seconds from a worker's death until the loader's error."""
    it = iter(loader)
    next(it)
    children = {p.name: p.pid for p in multiprocessing.active_children()}
    pid = children[f"tgrad data worker {victim}"]
    assert pid is not None
    threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)).start()
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=rf"worker \(pid {pid}\) is killed by signal: Killed"):
        next(it)
    took = time.monotonic() - start
    with pytest.raises(RuntimeError, match="have ended"):
        next(it)
    return took


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_named_at_once(victim: int):
    """Whether the loader waits for it or for the other one, which takes an hour."""

    def make(i: int) -> int:
        if i > 0:
            time.sleep(3600)
        return i

    loader = DataLoader(Items(9, make), 1, sampler=[0, 1, 1, 1], num_workers=2)
    assert kill_worker(loader, victim) < 10  # 0.1 where the machine has nothing else to do


def test_a_worker_that_exits_is_named():
    def make(i: int) -> int:
        os._exit(7)

    with pytest.raises(RuntimeError, match=r"pid\(s\) \d+\) exited unexpectedly with exit code 7"):
        next(iter(DataLoader(Items(2, make), num_workers=1)))


@KINDS
def test_a_worker_that_takes_too_long_is_reported(kind: dict, tmp_path: Path):
    gate = tmp_path / "open"

    def make(i: int) -> int:
        while not gate.exists():
            time.sleep(0.005)
        return i

    it = iter(DataLoader(Items(2, make), 1, num_workers=1, timeout=0.3, **kind))
    with pytest.raises(RuntimeError, match=r"timed out after 0\.3 seconds"):
        next(it)
    gate.touch()
    found = []

    def go_on() -> bool:
        with contextlib.suppress(RuntimeError):  # a busy machine may take longer still
            found.append(next(it).item())
        return len(found) == 2

    wait_for(go_on)
    assert found == [0, 1]  # nothing is lost


def test_a_stream_that_one_worker_ends_is_finished_by_the_other():
    """The tasks of the worker that has ended go to the other, no more than it has room for."""

    class Uneven(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            assert info is not None
            return iter([-1] if info.id == 0 else range(50))

    for options in ({}, {"in_order": False}, {"prefetch_factor": 1}, THREAD):
        loader = DataLoader(Uneven(), 1, num_workers=2, **options)  # pyright: ignore[reportArgumentType]
        assert sorted(b.item() for b in loader) == [-1, *range(50)]
