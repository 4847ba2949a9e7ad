"""CUDA graphs: recorded once, replayed in order; what cannot be recorded says so."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import tgrad
from tgrad import cuda


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert gc.isenabled() and not cuda.is_current_stream_capturing()
    assert cuda.current_stream() == cuda.default_stream()


def test_a_graph_replays_in_the_order_of_its_launches():
    x = tgrad.zeros(37, device="cuda")
    total = tgrad.zeros(37, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        assert cuda.is_current_stream_capturing() and not gc.isenabled()
        total.add_(x)
        total.mul_(2)
        y = total + 1
    assert total.tolist() == [0.0] * 37  # nothing ran
    expected = 0.0
    for value in (1.0, 2.0, 3.0):
        x.fill_(value)
        g.replay()
        expected = (expected + value) * 2
        assert total.tolist() == [expected] * 37 and y.tolist() == [expected + 1] * 37


def test_results_live_as_long_as_the_graph_or_they_do():
    x = tgrad.ones(70_000, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        y = (x * 2 + 1).relu()
    g.replay()
    others = [tgrad.zeros(70_000, device="cuda") for _ in range(4)]
    assert y[:3].tolist() == [3.0] * 3
    g.reset()
    others += [tgrad.zeros(70_000, device="cuda") for _ in range(4)]
    assert y[-3:].tolist() == [3.0] * 3 and len(others) == 8


def test_gradients_are_captured():
    w = tgrad.randn(5, 3, device="cuda").requires_grad_()
    x = tgrad.randn(4, 5, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        ((x @ w) ** 2).sum().backward()
    assert w.grad is not None
    for seed in range(2):
        tgrad.manual_seed(seed)
        x.copy_(tgrad.randn(4, 5))
        w.grad.zero_()
        g.replay()
        eager = 2 * x.T @ (x @ w.detach())
        assert tgrad.allclose(w.grad, eager, rtol=1e-4, atol=1e-4)


def test_constants_made_inside_are_made_at_every_replay():
    y = tgrad.zeros(3, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        y.add_(tgrad.tensor([1.0, 2.0, 3.0], device="cuda"))
    g.replay()
    g.replay()
    assert y.tolist() == [2.0, 4.0, 6.0]


def test_streams_that_wait_for_the_captured_one_join_it():
    side, x = cuda.Stream(), tgrad.ones(5, device="cuda")
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            assert cuda.is_current_stream_capturing()
            y = x * 3
        cuda.current_stream().wait_stream(side)
        z = y + 1
    x.fill_(2.0)
    g.replay()
    assert z.tolist() == [7.0] * 5


def test_graphs_share_a_pool():
    handle = cuda.graph_pool_handle()
    x = tgrad.ones(5, device="cuda")
    a, b = cuda.CUDAGraph(), cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="capture a graph first"):
        a.pool()
    with cuda.graph(a, pool=handle):
        y = x + 1
    with cuda.graph(b, pool=a.pool()):
        z = y * 2
    assert a.pool() == b.pool() == handle != cuda.graph_pool_handle()
    a.replay()
    b.replay()
    a.reset()
    assert z.tolist() == [4.0] * 5
    b.replay()


def test_a_stream_can_be_named():
    s, g = cuda.Stream(), cuda.CUDAGraph()
    with cuda.graph(g, stream=s, capture_error_mode="thread_local"):
        assert cuda.current_stream() == s
        y = tgrad.ones(3, device="cuda")
    with cuda.stream(s):
        g.replay()
    g.replay()
    assert y.tolist() == [1.0] * 3


def test_the_graph_itself_can_be_kept():
    g = cuda.CUDAGraph(keep_graph=True)
    with cuda.graph(g):
        y = tgrad.ones(3, device="cuda")
    assert g.raw_cuda_graph()
    with pytest.raises(RuntimeError, match="there is no graph"):
        g.raw_cuda_graph_exec()
    g.replay()
    first = g.raw_cuda_graph_exec()
    g.instantiate()
    assert g.raw_cuda_graph_exec() != first and y.tolist() == [1.0] * 3
    other = cuda.CUDAGraph()
    with cuda.graph(other):
        y.add_(1)
    with pytest.raises(RuntimeError, match="keep_graph"):
        other.raw_cuda_graph()


# ---- what cannot be done -------------------------------------------------------------------------


def test_a_freed_graph_says_what_to_do():
    g = cuda.CUDAGraph()
    for refuse in (g.replay, g.instantiate):
        with pytest.raises(RuntimeError, match=r"Capture one by `with tgrad\.cuda\.graph"):
            refuse()
    with cuda.graph(g):
        y = tgrad.ones(3, device="cuda")
    g.reset()
    with pytest.raises(RuntimeError, match="there is no graph: none was captured, or it was reset"):
        g.replay()
    with cuda.graph(g):
        y.add_(1)
    g.replay()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: repr(x),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: tgrad.nonzero(x),
        lambda x: tgrad.unique(x),
        lambda x: cuda.synchronize(),
        lambda x: cuda.current_stream().synchronize(),
        lambda x: cuda.current_stream().query(),
    ],
)
def test_what_must_wait_cannot_be_captured(wait):
    x, g = tgrad.ones(7, device="cuda"), cuda.CUDAGraph()
    with (
        pytest.raises(RuntimeError, match="has to wait for the GPU, and a CUDA graph is being"),
        cuda.graph(g),
    ):
        wait(x)
    with pytest.raises(RuntimeError, match="there is no graph"):
        g.replay()
    with cuda.graph(g):  # the same object can be captured again
        y = x * 2
    g.replay()
    assert y.tolist() == [2.0] * 7


def test_captures_do_not_nest_and_need_a_stream():
    g, other = cuda.CUDAGraph(), cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="non-default stream"):
        g.capture_begin()
    with pytest.raises(RuntimeError, match="is not being captured"):
        g.capture_end()
    with pytest.raises(ValueError, match="expected a mode"):
        g.capture_begin(capture_error_mode="loose")
    with cuda.graph(g):
        with pytest.raises(RuntimeError, match="already"):
            other.capture_begin()
        with pytest.raises(RuntimeError, match="do not nest"), cuda.graph(other):
            pass
        with pytest.raises(RuntimeError, match="end the capture first"):
            g.reset()
    with pytest.raises(RuntimeError, match="already owns a captured graph"), cuda.graph(g):
        pass


def test_a_replay_cannot_be_captured():
    g, other = cuda.CUDAGraph(), cuda.CUDAGraph()
    with cuda.graph(g):
        tgrad.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match=r"replay\(\)"), cuda.graph(other):
        g.replay()


def test_an_error_inside_leaves_no_capture():
    x, g = tgrad.ones(3, 4, device="cuda"), cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="cannot be multiplied"), cuda.graph(g):
        _ = x @ x
    assert (x + 1).sum().item() == 24.0


# ---- what changes from replay to replay ----------------------------------------------------------


def test_random_ops_draw_on_at_every_replay_as_eager_ones_would():
    x = tgrad.ones(301, device="cuda")

    def draw() -> list:
        d = tgrad.nn.functional.dropout(x, 0.4)
        return [
            d,
            tgrad.randn(7, device="cuda"),
            tgrad.randint(0, 100, (5,), device="cuda"),
            tgrad.randperm(6, device="cuda"),
            tgrad.empty(9, device="cuda").exponential_(),
        ]

    tgrad.manual_seed(11)
    before = cuda.get_rng_state()
    expected = [[t.tolist() for t in draw()] for _ in range(3)]
    after = cuda.get_rng_state()
    cuda.set_rng_state(before)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        ys = draw()
    assert cuda.get_rng_state().tolist() == before.tolist()  # recording draws nothing
    for values in expected:
        g.replay()
        assert [y.tolist() for y in ys] == values
    assert cuda.get_rng_state().tolist() == after.tolist()
    tgrad.manual_seed(11)
    g.replay()
    assert [y.tolist() for y in ys] == expected[0]


def test_the_mask_of_a_replay_is_that_of_its_gradient():
    x = tgrad.ones(64, device="cuda", requires_grad=True)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        y = tgrad.nn.functional.dropout(x, 0.5)
        (dx,) = tgrad.autograd.grad(y.sum(), x)
    masks = []
    for _ in range(2):
        g.replay()
        assert y.tolist() == dx.tolist()
        masks.append(y.tolist())
    assert masks[0] != masks[1]


def test_many_draws_of_a_generator_of_ones_own_are_captured():
    own = tgrad.Generator("cuda").manual_seed(2**63 + 5)
    expected = [tgrad.rand(3, device="cuda", generator=own).tolist() for _ in range(150)]
    own.manual_seed(2**63 + 5)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        ys = [tgrad.rand(3, device="cuda", generator=own) for _ in range(150)]
    g.replay()
    assert [y.tolist() for y in ys] == expected


# ---- training ------------------------------------------------------------------------------------


OPTIMIZERS = {
    "SGD": lambda p: tgrad.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: tgrad.optim.Adam(p, lr=0.05, amsgrad=True),
    "AdamW": lambda p: tgrad.optim.AdamW(p, lr=0.05),
    "NAdam": lambda p: tgrad.optim.NAdam(p, lr=0.05),
    "ASGD": lambda p: tgrad.optim.ASGD(p, lr=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_step_trains_as_eager_ones_do(name: str):
    data = [tgrad.randn(6, 4) for _ in range(6)]

    def training(captured: bool) -> tuple[list, list]:
        tgrad.manual_seed(2)
        w = tgrad.nn.Parameter(tgrad.randn(4, 3, device="cuda"))
        b = tgrad.nn.Parameter(tgrad.zeros(3, device="cuda"))
        optimizer = OPTIMIZERS[name]([w, b])
        schedule = tgrad.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        x = tgrad.zeros(6, 4, device="cuda")

        def step() -> None:
            optimizer.zero_grad()
            ((tgrad.nn.functional.dropout(x, 0.3) @ w + b).tanh() - 0.5).square().sum().backward()
            optimizer.step()

        run, g = step, cuda.CUDAGraph()
        for i, batch in enumerate(data):
            x.copy_(batch)
            run()
            schedule.step()
            if i == 1 and captured:
                with cuda.graph(g):
                    step()
                run = g.replay
        counts = [float(s["step"]) for s in optimizer.state.values() if "step" in s]
        return [w.tolist(), b.tolist()], counts

    assert training(True) == training(False)


def test_a_first_step_cannot_be_captured():
    w = tgrad.nn.Parameter(tgrad.ones(3, device="cuda"))
    w.grad = tgrad.ones(3, device="cuda")
    optimizer, g = tgrad.optim.Adam([w]), cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="Step once before the capture"), cuda.graph(g):
        optimizer.step()
    assert not optimizer.state
    optimizer.step()
    assert optimizer.state[w]["step"].item() == 1.0


def test_optimisers_that_a_replay_would_not_follow_are_refused():
    w = tgrad.nn.Parameter(tgrad.ones(3, 3, device="cuda"))
    w.grad = tgrad.ones(3, 3, device="cuda")
    for optimizer in (tgrad.optim.Adafactor([w]), tgrad.optim.SGD([w], differentiable=True)):
        with pytest.raises(RuntimeError, match=r"step\(\)"), cuda.graph(cuda.CUDAGraph()):
            optimizer.step()


def test_a_step_that_changed_since_the_capture_says_so():
    w = tgrad.nn.Parameter(tgrad.ones(3, device="cuda"))
    w.grad = tgrad.ones(3, device="cuda")
    optimizer, g = tgrad.optim.Adam([w]), cuda.CUDAGraph()
    optimizer.step()
    with cuda.graph(g):
        optimizer.step()
    w.grad = None  # the graph keeps the one that it reads
    g.replay()
    assert optimizer.state[w]["step"].item() == 2.0 and w.grad is None
    optimizer.load_state_dict(optimizer.state_dict())
    g.replay()
    optimizer.state[w]["exp_avg"] = tgrad.zeros(3, device="cuda")
    with pytest.raises(RuntimeError, match=r"Adam\.step\(\): the captured step updates other"):
        g.replay()
    assert optimizer.state[w]["step"].item() == 3.0  # as before
