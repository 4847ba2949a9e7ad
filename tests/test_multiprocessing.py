"""``tgrad.multiprocessing``: memory that processes share, and processes that run one function."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import time
import warnings
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

import tgrad
import tgrad.multiprocessing as mp
from tgrad import nn
from tgrad.runtime import shared

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="descriptors are not sent on Windows"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
LARGE = 100_000  # elements: of the allocator's blocks


def sent(x: Any) -> Any:
    """What another process would receive, received here."""
    return pickle.loads(bytes(ForkingPickler.dumps(x)))


def address(x: tgrad.Tensor) -> int:
    space = shared.pages_of(x.array)
    assert space is not None
    return shared.place_of(x.host(), space)


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, LARGE])
def test_sharing_keeps_values_and_is_done_once(n: int):
    x = tgrad.arange(n)
    assert not x.is_shared()
    assert x.share_memory_() is x and x.is_shared()
    assert x.equal(tgrad.arange(n))
    place = x.data_ptr()
    assert x.share_memory_().data_ptr() == place
    assert x[:1].is_shared() and not x.clone().is_shared()


@pytest.mark.parametrize("n", [3, LARGE])
def test_a_sent_tensor_is_the_same_memory(n: int):
    x = tgrad.zeros(n)
    y = sent(x)
    assert x.is_shared() and y.is_shared()
    y.add_(1)
    assert x.sum().item() == n
    x[1] = 5.0
    assert y[1].item() == 5.0 and sent(y)[1].item() == 5.0


@pytest.mark.parametrize("n", [3, LARGE])
@pytest.mark.parametrize("other", [
    lambda x: x.detach(), lambda x: x[1:], lambda x: x.numpy(), lambda x: x.data,
    lambda x: nn.Parameter(x), lambda x: x.view(-1),
])  # fmt: skip
def test_memory_that_others_use_is_sent_as_a_copy(n: int, other: Any):
    x = tgrad.zeros(n)
    alias = other(x)
    assert not shared.is_alone(x)
    y = sent(x)
    assert not x.is_shared()
    x[2] = 7.0
    assert float(alias[-1 if n == 3 else 1 if len(alias) < n else 2]) == 7.0  # still one memory
    assert y[2].item() == 0.0 and y.is_shared()
    with pytest.warns(UserWarning, match="other tensors or arrays lie over this memory") as caught:
        x.share_memory_()
    assert caught[0].filename == __file__ and x.is_shared() and x[2].item() == 7.0
    del alias
    again = tgrad.zeros(n)
    assert shared.is_alone(again)


def test_memory_of_numpys_is_never_taken_away():
    for a in (np.zeros(3, np.uint8), np.zeros(LARGE, np.uint8)):
        for x in (tgrad.from_numpy(a), tgrad.from_numpy(a[1:])):
            assert not shared.is_alone(x)
            sent(x)
            x[0] = 9
        assert a[0] == a[1] == 9


def test_a_view_is_not_moved_apart_from_its_base():
    x = tgrad.zeros(4, 3)
    view = x[1]
    with pytest.raises(RuntimeError, match="share the base"):
        view.share_memory_()
    y = sent(view)
    view.add_(1)
    assert x.sum().item() == 3 and y.sum().item() == 0
    del view, y
    x.share_memory_()
    sent(x[1]).add_(2)
    assert x[1].tolist() == [3.0] * 3 and x.t()[2, 0].item() == 0
    assert sent(x.t()).stride() == x.t().stride()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float64",
                                   "complex64"])  # fmt: skip
def test_every_dtype_and_layout_arrives_as_it_was(dtype: str):
    kind = getattr(tgrad, dtype)
    image = tgrad.ones(2, 3, 4, 5, dtype=kind).contiguous(memory_format=tgrad.channels_last)
    for x in (tgrad.ones(2, 3, dtype=kind), tgrad.ones((), dtype=kind), image,
              tgrad.zeros(0, 3, dtype=kind)):  # fmt: skip
        y = sent(x)
        assert (y.dtype, y.shape) == (kind, x.shape) and y.equal(x)
        assert not x.numel() or y.stride() == x.stride()


def test_kinds_of_tensors_and_their_flags_arrive():
    leaf = tgrad.ones(2, requires_grad=True)
    assert sent(leaf).requires_grad and type(sent(leaf)) is tgrad.Tensor
    parameter = sent(nn.Parameter(tgrad.ones(2), requires_grad=False))
    assert type(parameter) is nn.Parameter and not parameter.requires_grad
    buffer = sent(nn.Buffer(tgrad.ones(2), persistent=False))
    assert type(buffer) is nn.Buffer and buffer.persistent is False
    with pytest.raises(RuntimeError, match="call detach"):
        sent(leaf * 2)
    gpu = tgrad.ones(2, device="cuda")
    assert gpu.is_shared() and gpu.share_memory_() is gpu
    assert sent(gpu).is_cuda and sent(gpu).tolist() == [1.0, 1.0]


def test_one_message_sends_one_memory_once():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).share_memory()
    spaces = {id(shared.pages_of(t.array)) for t in model.state_dict().values()}
    assert len(spaces) == 1
    other = sent(model)
    assert len({id(shared.pages_of(t.array)) for t in other.state_dict().values()}) == 1
    other[0].weight.data.fill_(3.0)
    assert (model[0].weight == 3.0).all() and type(other[0].weight) is nn.Parameter


def test_a_module_shares_parameters_gradients_and_buffers():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fresh model's memory is its own
        assert model.share_memory() is model
    for key, value in model.state_dict().items():
        assert value.is_shared() and value.equal(before[key])
    model(tgrad.ones(2, 3)).sum().backward()
    grad = model[0].weight.grad
    assert grad is not None and not grad.is_shared()
    model.share_memory()
    assert grad.is_shared() and model[0].weight.grad is grad
    with pytest.raises(RuntimeError, match="Can't share memory"):
        nn.LazyLinear(3).share_memory()
    tied = nn.Linear(2, 2)
    pair = nn.ModuleList([tied, tied]).share_memory()
    assert pair[0].weight is pair[1].weight


def descriptors() -> int:
    """How many are open, when those that were just given to a process have been closed."""
    gc.collect()
    counts = [-1]
    while len(counts) < 100 and counts[-5:] != [counts[-1]] * 5:
        time.sleep(0.02)
        counts.append(len(os.listdir("/proc/self/fd")))
    return counts[-1]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are not listed here")
def test_memory_and_descriptors_go_with_the_last_tensor():
    sent(tgrad.zeros(2))  # starts what gives descriptors to others
    before = descriptors()
    x = tgrad.zeros(LARGE)
    view = sent(x)[5:]
    assert descriptors() > before
    space = shared.pages_of(x.array)
    assert space is not None and os.readlink(f"/proc/self/fd/{space.fd}").endswith("(deleted)")
    del space
    del x
    assert view.sum().item() == 0
    del view
    assert descriptors() == before


# ---- other processes -----------------------------------------------------------------------------


def add_one(inbox: Any, outbox: Any) -> None:
    x = inbox.get(timeout=60)
    x.add_(1)
    outbox.put(x)
    inbox.get(timeout=60)  # until it was received


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_queue_gives_the_memory_and_takes_it_back(method: str):
    context: Any = mp.get_context(method)
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=add_one, args=(inbox, outbox), daemon=True)
    process.start()
    x = tgrad.zeros(LARGE)
    inbox.put(x)
    y = outbox.get(timeout=60)
    assert x.is_shared() and x.sum().item() == LARGE
    y[0] = 9.0
    assert x[0].item() == 9.0
    inbox.put(None)
    process.join(60)
    assert process.exitcode == 0


def train(rank: int, model: nn.Module, done: Any) -> None:
    tgrad.manual_seed(rank)
    optimizer = tgrad.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(40):
        x = tgrad.randn(16, 2)
        optimizer.zero_grad()
        ((model(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
        optimizer.step()
    done[rank] += 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_train_one_model_together(method: str):
    tgrad.manual_seed(0)
    model, done = nn.Linear(2, 1).share_memory(), tgrad.zeros(2).share_memory_()
    mp.start_processes(train, (model, done), nprocs=2, start_method=method)
    assert done.tolist() == [1.0, 1.0]
    assert (model.weight - 1).abs().max().item() < 0.1


def add_up(rank: int, x: tgrad.Tensor, y: tgrad.Tensor, out: tgrad.Tensor) -> None:
    out[0] = x.sum() + y.sum()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_copy_that_nobody_holds_arrives_in_a_new_process(method: str):
    x, out = tgrad.ones(2, LARGE), tgrad.zeros(1).share_memory_()
    mp.start_processes(add_up, (x[1], x[0, 1:], out), start_method=method)
    assert out.item() == 2 * LARGE - 1


def fail(rank: int, how: str) -> None:
    if rank == 0:
        time.sleep(60)  # ended because of the other
    if how == "raise":
        raise KeyError("a key that is not there")
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("how, error, match", [
    ("raise", mp.ProcessRaisedException, "(?s)Process 1 terminated.*a key that is not there"),
    ("exit", mp.ProcessExitedException, "process 1 terminated with exit code 7"),
    ("signal", mp.ProcessExitedException, "process 1 terminated with signal SIGKILL"),
])  # fmt: skip
def test_a_failure_of_one_ends_all_and_is_told(how: str, error: type, match: str):
    context = mp.start_processes(fail, (how,), nprocs=2, join=False, start_method="fork")
    assert context is not None and len(context.pids()) == 2
    start = time.monotonic()
    with pytest.raises(error, match=match) as info:
        while not context.join(timeout=30, grace_period=0.05):
            pass
    assert time.monotonic() - start < 30
    assert not any(p.is_alive() for p in context.processes)
    assert (info.value.error_index, info.value.error_pid) == (1, context.pids()[1])
    assert pickle.loads(pickle.dumps(info.value)).args == info.value.args
    if how != "raise":
        assert info.value.exit_code == (7 if how == "exit" else -signal.SIGKILL)


def nothing(rank: int) -> None:
    pass


def test_spawn_starts_new_interpreters_whatever_it_is_told():
    with pytest.warns(FutureWarning, match="got 'fork', which is not used"):
        context = mp.spawn(nothing, nprocs=1, join=False, start_method="fork")
    assert context is not None and context.processes[0]._start_method == "spawn"
    while not context.join():
        pass


def test_joining_processes_that_have_ended_is_true_again():
    context = mp.start_processes(nothing, nprocs=2, join=False, start_method="fork")
    assert context is not None
    while not context.join():
        pass
    assert context.join() and context.join(timeout=0)


def test_sharing_strategies_are_kept():
    assert mp.get_sharing_strategy() == "file_descriptor"
    assert mp.get_all_sharing_strategies() == {"file_descriptor", "file_system"}
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    assert sent(tgrad.ones(2)).tolist() == [1.0, 1.0]
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(AssertionError, match="invalid sharing strategy"):
        mp.set_sharing_strategy("pigeons")


def test_the_names_of_pythons_module_are_there():
    import multiprocessing

    for name in multiprocessing.__all__:
        assert getattr(mp, name) is getattr(multiprocessing, name)
    assert set(multiprocessing.__all__) < set(mp.__all__)
