"""Which op calls are replayed, and that a replay is as good as the call made in full."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_driver import on_fake_driver
from tests.replays import Watch, counted_replays, start

if TYPE_CHECKING:
    from tgrad import Tensor


def plans_of(op: Any) -> list:
    from tgrad.runtime.plan import Plan

    return [p for p in op.op.plans.values() if p.__class__ is Plan]


def repeat(call: Any, times: int = 3) -> Any:
    """What the last of the calls returns."""
    return [call() for _ in range(times)][-1]


@on_fake_driver()
def test_the_third_call_replays_and_gives_the_same_tensor():
    tgrad, _ = start()
    count = counted_replays()
    x, y = tgrad.ones(5, 3, device="cuda"), tgrad.ones(3, 7, device="cuda")
    calls = (lambda: x @ y, lambda: x + x, lambda: x.softmax(0), lambda: x.topk(2), lambda: -x)
    for call in calls:
        full = call()
        call()
        before = count[0]
        again = call()
        assert count[0] > before
        for a, b in zip(outputs_of(full), outputs_of(again), strict=True):
            assert (a.shape, a.dtype, a.device, a.stride()) == (
                b.shape, b.dtype, b.device, b.stride()
            )  # fmt: skip
            assert a.data_ptr() != b.data_ptr()


def outputs_of(y: Any) -> list:
    return list(y) if isinstance(y, tuple) else [y]


@on_fake_driver()
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_numbers_of_pointwise_ops_are_slots(dtype: str):
    tgrad, fake = start()
    from tgrad.runtime import plan

    watch = Watch(fake)
    x = tgrad.ones(5, 3, device="cuda", dtype=getattr(tgrad, dtype))
    numbers = (2.0, 3, -0.0, 1e-50, 1e300, -1e300, float("nan"), float("inf"), 1 << 70)
    plan.enable(False)
    full = [watch.launches(lambda z=z: x * z) for z in numbers]
    plan.enable(True)
    repeat(lambda: x * 1.5)
    repeat(lambda: x * 7)
    count = counted_replays()
    assert [watch.launches(lambda z=z: x * z) for z in numbers] == full
    assert count[0] == len(numbers) and len(plans_of(tgrad.mul)) == 2
    repeat(lambda: tgrad.clamp(x, -1.0, 2.0))
    assert watch.launches(lambda: tgrad.clamp(x, 0.5, 1.0)) != watch.launches(
        lambda: tgrad.clamp(x, 0.25, 1.0)
    )


@on_fake_driver()
def test_integer_numbers_are_part_of_the_key():
    tgrad, fake = start()
    from tgrad.runtime import plan

    watch, x = Watch(fake), tgrad.ones(5, 3, device="cuda", dtype=tgrad.int32)
    numbers = (1, 2, True, 16, 1 << 31)
    plan.enable(False)
    full = [watch.launches(lambda z=z: x * z) for z in numbers]
    plan.enable(True)
    for z in numbers:
        repeat(lambda z=z: x * z)
    assert [watch.launches(lambda z=z: x * z) for z in numbers] == full


@on_fake_driver()
def test_the_default_dtype_is_part_of_the_key():
    tgrad, _ = start()
    x = tgrad.ones(5, device="cuda", dtype=tgrad.int64)
    assert repeat(lambda: x * 0.5).dtype is tgrad.float32
    tgrad.set_default_dtype(tgrad.float64)
    assert repeat(lambda: x * 0.5).dtype is tgrad.float64


def test_equal_values_of_other_type_or_sign_make_other_keys():
    from tgrad.runtime.plan import parameter

    def key(v: Any) -> tuple:
        made: list = []
        assert parameter(v, made)
        return tuple(made)

    values = (0, 1, True, False, 1.0, 0.0, -0.0, None, "1", (1,), (True,), (1.0,), (0.0,), (-0.0,),
              ((1, 0), 1), ((1, False), 1), (1, 0, 1), ())  # fmt: skip
    assert len({key(v) for v in values}) == len(values)
    assert (
        not parameter(float("nan"), []) and not parameter([1], []) and not parameter(object(), [])
    )


@on_fake_driver()
def test_settings_that_kernels_ask_for_make_plans_anew():
    tgrad, fake = start()
    from tgrad.runtime import plan

    x = tgrad.ones(64, 64, device="cuda")
    index = tgrad.zeros(64, device="cuda", dtype=tgrad.int64)
    calls = (lambda: x @ x, lambda: x.index_add(0, index, x))

    def switch(on: bool) -> None:
        tgrad.set_float32_matmul_precision("medium" if on else "highest")
        tgrad.use_deterministic_algorithms(on)

    watch, full = Watch(fake), []
    plan.enable(False)
    for on in (False, True):
        switch(on)
        full += [watch.launches(call) for call in calls]
    assert full[1] != full[3]
    plan.enable(True)
    for call in calls:
        repeat(call)
    replayed = [watch.launches(call) for call in calls]
    switch(False)
    assert not plans_of(tgrad.matmul)
    switch(True)
    replayed += [repeat(lambda call=call: watch.launches(call)) for call in calls]
    assert replayed == full[2:] + full[2:] or replayed == full


def unary(name: str, kernel: Any) -> Any:
    """An op of one tensor of that name, with a CUDA kernel."""
    from tgrad import library

    def card(x: Tensor) -> library.Spec:
        """An op of a test."""
        return library.Spec(x.shape, x.dtype)

    card.__name__ = name
    made = library.op(card)
    library.kernel(made, "cuda")(kernel)
    return made


def double(y: Any, x: Any) -> None:
    from tests.small_kernels import double_kernel
    from tgrad.library import launch

    launch(double_kernel, (1,), y, x, x.size, 1.0)


@on_fake_driver()
def test_calls_that_a_replay_would_get_wrong_are_refused():
    tgrad, _ = start()
    from tgrad.runtime import cuda

    kept = tgrad.ones(8, device="cuda")

    def plain(y, x):
        double(y, x)

    def scratch(y, x):
        made = cuda.empty(x.shape, x.dtype)
        double(made, x)
        double(y, made)

    def reads_back(y, x):
        cuda.active().to_host(x)
        double(y, x)

    def keeps_a_table(y, x):
        double(y, kept.array)

    def uploads(y, x):
        import numpy as np

        double(y, cuda.active().from_host(np.ones(8, np.float32)))

    def calls_an_op(y, x):
        double(y, (kept + kept).array)

    x = tgrad.ones(8, device="cuda")
    repeat(lambda: kept + kept)
    for kernel, planned in ((plain, True), (scratch, True), (reads_back, False),
                            (keeps_a_table, False), (uploads, False),
                            (calls_an_op, False)):  # fmt: skip
        op = unary(kernel.__name__, kernel)
        repeat(lambda op=op: op(x), 4)
        assert bool(plans_of(op)) == planned, kernel.__name__


@on_fake_driver()
def test_a_kernel_registered_again_is_used():
    tgrad, fake = start()
    op, x = unary("twice", double), tgrad.ones(8, device="cuda")
    repeat(lambda: op(x))
    tgrad.library.kernel(op, "cuda")(lambda y, x: [double(y, x), double(y, x)])
    fake.clear()
    repeat(lambda: op(x), 4)
    assert len(fake.launches()) == 8


@on_fake_driver()
def test_what_is_used_stays_and_what_changes_at_every_call_is_given_up():
    tgrad, _ = start()
    from tgrad.runtime.plan import LIMIT, PATIENCE

    x = tgrad.ones(4, 6, device="cuda")
    repeat(lambda: tgrad.nn.functional.layer_norm(x, (6,), eps=1e-3))
    table = tgrad.dispatch.OPS["_layer_norm"].plans
    for k in range(PATIENCE - 10):
        tgrad.nn.functional.layer_norm(x, (6,), eps=1e-3)
        tgrad.nn.functional.layer_norm(x, (6,), eps=1.0 + k)
    count = counted_replays()
    tgrad.nn.functional.layer_norm(x, (6,), eps=1e-3)
    assert count[0] == 1 and len(table) <= LIMIT
    for _ in range(2 * PATIENCE):
        tgrad.nn.functional.dropout(x, 0.5)
    assert tgrad.dispatch.OPS["_dropout"].plans.disabled


@on_fake_driver(devices=2)
def test_plans_belong_to_a_device():
    tgrad, fake = start()
    xs = [tgrad.ones(3, 5, device=f"cuda:{i}") for i in range(2)]
    fake.clear()
    for _ in range(4):
        for i, x in enumerate(xs):
            assert (x + x).device.index == i
    contexts = [c.context for c in fake.launches()]
    assert len(contexts) == 8 and contexts[::2] == [contexts[0]] * 4
    assert contexts[1::2] == [contexts[1]] * 4 and contexts[0] != contexts[1]


@on_fake_driver()
def test_replays_go_to_the_current_stream_into_its_memory_and_into_captures():
    tgrad, fake = start()
    from tgrad.runtime import driver
    from tgrad.runtime.current import here

    x = tgrad.ones(3, 5, device="cuda")
    repeat(lambda: x + x)
    count, stream = counted_replays(), driver.stream_create()
    place = here.place
    before, place.stream, place.heap = place.stream, stream, None
    fake.clear()
    repeat(lambda: x + x, 2)
    assert [c.stream for c in fake.launches()] == [stream] * 2
    assert {c.stream for c in fake.calls("cuMemAllocAsync")} == {stream}
    driver.capture_begin(stream)
    kept = x + x
    assert kept is not None and driver.capture_end(stream) and fake.launches()[-1].graph
    assert count[0] == 2  # the first found no memory of the stream's yet
    place.stream, place.heap = before, None


@on_fake_driver()
def test_misaligned_arrays_have_plans_of_their_own():
    tgrad, fake = start()
    x = tgrad.ones(9, device="cuda")
    a, b = x[:8], x[1:]
    for call in (lambda: a + a, lambda: a + b, lambda: b + a, lambda: b * 2.0, lambda: -b):
        repeat(call)
    assert len(plans_of(tgrad.add)) == 3 and len(plans_of(tgrad.neg)) == 1
    fake.clear()
    repeat(lambda: a + b, 1)
    assert [struct.unpack("<Q", p)[0] % 16 for p in fake.launches()[0].params[:3]] == [0, 0, 4]


@on_fake_driver()
def test_a_launch_that_the_driver_refuses_raises_as_a_full_call_does():
    tgrad, fake = start()
    x = tgrad.ones(9, device="cuda")
    repeat(lambda: x + x)
    fake.fail("cuLaunchKernel", 1, 1)
    assert (x + x).shape == (9,)  # done in full
    fake.poison("pointwise")  # this launch is accepted, and breaks the context when it runs
    repeat(lambda: x + x, 1)
    fake.run()
    with pytest.raises(RuntimeError, match=r"\(700\).*TGRAD_LAUNCH_BLOCKING=1"):
        repeat(lambda: x + x, 1)


@on_fake_driver()
def test_in_place_ops_are_replayed_unless_memory_is_shared():
    tgrad, fake = start()
    watch = Watch(fake)
    x, y = tgrad.ones(6, 4, device="cuda"), tgrad.ones(4, device="cuda")
    calls = (
        lambda: x.add_(y), lambda: x.mul_(2.0), lambda: x.T.add_(1), lambda: x.add_(y, alpha=3),
        lambda: x[1:].add_(x[:-1]), lambda: x.add_(x),
    )  # fmt: skip
    full = [watch.launches(call) for call in calls]
    for call in calls:
        repeat(call)
    count = counted_replays()
    assert [watch.launches(call) for call in calls] == full
    assert count[0] >= 4
    version = x._version
    before = count[0]
    assert x.add_(y) is x and x.mul_(2.0) is x
    assert x._version == version + 2 and count[0] == before + 2
    with tgrad.inference_mode():
        made = tgrad.ones(6, 4, device="cuda")
        made.add_(y)
    assert count[0] == before + 3
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        made.add_(y)
    weight = tgrad.ones(4, device="cuda", requires_grad=True)
    assert x.clone().add_(weight).grad_fn is not None
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x.requires_grad_().add_(y)
    with tgrad.no_grad():
        assert x.add_(y) is x and x.is_leaf and x.requires_grad


@on_fake_driver()
def test_replays_leave_no_memory_behind():
    tgrad, _ = start(compiled=True)
    x = tgrad.ones(64, 2048, device="cuda", requires_grad=True)

    def call() -> None:
        (x.T @ x).sum().backward()
        x.grad = None

    repeat(call)
    held = tgrad.cuda.memory_allocated()
    peak = tgrad.cuda.max_memory_allocated()
    count = counted_replays()
    repeat(call)
    assert count[0] >= 9
    assert tgrad.cuda.memory_allocated() == held and tgrad.cuda.max_memory_allocated() <= peak


@on_fake_driver()
def test_threads_do_not_mix_up_their_pointers():
    from concurrent.futures import ThreadPoolExecutor

    tgrad, fake = start()
    xs = [tgrad.ones(8, device="cuda") for _ in range(4)]
    repeat(lambda: xs[0] + xs[0])
    fake.clear()
    count = counted_replays()

    def work(x: Any) -> None:
        repeat(lambda: x + x, 200)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, xs))
    calls = fake.launches()
    pointers = [struct.unpack("<QQQ", b"".join(c.params[:3])) for c in calls]
    assert len(calls) == 800 and count[0] > 700
    assert all(a == b for _, a, b in pointers)
    assert sorted({a for _, a, _ in pointers}) == sorted(x.data_ptr() for x in xs)
    assert len({y for y, _, _ in pointers}) == 800


@on_fake_driver(TGRAD_LAUNCH_BLOCKING="1")
def test_blocking_launches_are_never_replayed():
    tgrad, fake = start()
    x = tgrad.ones(8, device="cuda")
    count = counted_replays()
    repeat(lambda: x + x, 5)
    assert count[0] == 0
    waits = fake.calls("cuLaunchKernel", "cuStreamSynchronize")[-2:]
    assert [c.name for c in waits] == ["cuLaunchKernel", "cuStreamSynchronize"]
