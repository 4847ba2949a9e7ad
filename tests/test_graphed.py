"""Graphed callables: each call replays, forwards and backwards, and trains as eager ones do."""

from __future__ import annotations

import pytest

import tgrad
from tgrad import cuda, nn
from tgrad.nn import functional as F


def tensor(*shape: int, grad: bool = False) -> tgrad.Tensor:
    return tgrad.randn(*shape, device="cuda").requires_grad_(grad)


def runs(monkeypatch: pytest.MonkeyPatch) -> list[cuda.CUDAGraph]:
    """The graphs that are replayed from here on."""
    seen: list[cuda.CUDAGraph] = []
    replay = cuda.CUDAGraph.replay

    def counted(g: cuda.CUDAGraph) -> None:
        seen.append(g)
        replay(g)

    monkeypatch.setattr(cuda.CUDAGraph, "replay", counted)
    return seen


def test_a_function_and_its_gradients_are_replayed(monkeypatch):
    w = tensor(5, 3, grad=True)

    def function(x: tgrad.Tensor, b: tgrad.Tensor) -> dict:
        y = (x @ w.detach()).tanh() * b
        return {"y": y, "more": [y.sum(), (y > 0)]}

    graphed = cuda.make_graphed_callables(function, (tensor(4, 5, grad=True), tensor(3, grad=True)))
    replayed = runs(monkeypatch)
    for _ in range(2):
        x, b = tensor(4, 5, grad=True), tensor(3, grad=True)
        found, expected = graphed(x, b), function(x, b)
        assert not found["more"][1].requires_grad
        assert found["more"][1].tolist() == expected["more"][1].tolist()
        assert tgrad.equal(found["y"], expected["y"])
        assert tgrad.equal(found["more"][0], expected["more"][0])
        gs = tgrad.autograd.grad((found["y"] ** 2).sum() + found["more"][0], (x, b))
        expected_gs = tgrad.autograd.grad((expected["y"] ** 2).sum() + expected["more"][0], (x, b))
        for g, e in zip(gs, expected_gs, strict=True):
            assert tgrad.allclose(g, e, rtol=1e-5, atol=1e-6)
    assert len(replayed) == 4 and len(set(replayed)) == 2


def model() -> nn.Sequential:
    tgrad.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2)).cuda()


def test_modules_train_as_eager_ones_do():
    batches = [(tgrad.randn(4, 6).cuda(), tgrad.randn(4, 2).cuda()) for _ in range(4)]

    def training(graphed: bool) -> list:
        net = model()
        body, head = net[:2], net[2:]
        if graphed:
            samples = (tensor(4, 6),), (tensor(4, 8, grad=True),)
            made = cuda.make_graphed_callables((body, head), samples)
            assert made == (body, head)
        optimizer = tgrad.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        tgrad.manual_seed(9)
        losses = []
        for x, t in batches:
            optimizer.zero_grad()
            for _ in range(2):  # gradients add up: none may lie in memory that is written again
                loss = F.mse_loss(head(body(x)), t)
                loss.backward()
                losses.append(loss.item())
            optimizer.step()
        return [losses, *(p.tolist() for p in net.parameters())]

    assert training(True) == training(False)


def test_a_module_in_the_other_mode_runs_eagerly(monkeypatch):
    net = cuda.make_graphed_callables(model(), (tensor(4, 6),))
    replayed, x = runs(monkeypatch), tensor(7, 6)
    net.eval()
    assert net(x).shape == (7, 2) and not replayed
    net.train()
    net(x[:4])
    assert len(replayed) == 1


def test_hooks_may_be_registered_afterwards():
    net, seen = cuda.make_graphed_callables(model(), (tensor(4, 6),)), []
    net.register_forward_hook(lambda *a: seen.append(1))
    net(tensor(4, 6))
    assert seen == [1]


def test_parameters_that_are_not_used_can_be_allowed():
    net = model()
    net.extra = nn.Parameter(tgrad.ones(3, device="cuda"))
    net.forward = lambda input: net[0](input)
    with pytest.raises(RuntimeError, match="allow_unused=True"):
        cuda.make_graphed_callables(net, (tensor(4, 6),))
    net = cuda.make_graphed_callables(net, (tensor(4, 6),), allow_unused_input=True)
    net(tensor(4, 6)).sum().backward()
    assert net.extra.grad is None and net[0].weight.grad is not None


def test_without_gradients_there_is_no_backward(monkeypatch):
    graphed = cuda.make_graphed_callables(lambda x: (x + 1).relu(), (tensor(3),))
    replayed, x = runs(monkeypatch), tensor(3)
    y = graphed(x)
    assert y.tolist() == (x + 1).relu().tolist() and not y.requires_grad and len(replayed) == 1


def test_second_derivatives_are_refused():
    graphed = cuda.make_graphed_callables(lambda x: x.exp(), (tensor(3, grad=True),))
    x = tensor(3, grad=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        tgrad.autograd.grad(graphed(x).sum() ** 2, x, create_graph=True)


def test_arguments_unlike_the_samples_are_refused():
    graphed = cuda.make_graphed_callables(lambda x: x + 1, (tensor(3, grad=True),))
    for args, said in [
        ((), "takes the 1 tensors"),
        ((tensor(4, grad=True),), r"0 is \(4,\) tgrad.float32 on cuda:0, requires_grad, recorded"),
        ((tensor(3),), r"recorded was \(3,\) tgrad.float32 on cuda:0, requires_grad"),
        ((tgrad.ones(3, requires_grad=True),), "on cpu"),
        ((3.0,), "0 is a float"),
    ]:
        with pytest.raises(RuntimeError, match=said):
            graphed(*args)


def test_what_cannot_be_recorded_is_refused():
    hooked = model()
    hooked.register_forward_hook(lambda *a: None)
    buffered = model()
    buffered.register_buffer("scale", tensor(3, grad=True))
    for module, said in [(hooked, "has hooks"), (buffered, "buffers that require grad")]:
        with pytest.raises(RuntimeError, match=said):
            cuda.make_graphed_callables(module, (tensor(4, 6),))
    with pytest.raises(TypeError, match="tensors alone among sample_args, got int"):
        cuda.make_graphed_callables(lambda x: x, (3,))
    with pytest.raises(ValueError, match="2 callables need as many sample_args, got 1"):
        cuda.make_graphed_callables((abs, abs), ((tensor(3),),))
    with tgrad.autocast("cuda"), pytest.raises(RuntimeError, match="cache_enabled=False"):
        cuda.make_graphed_callables(abs, (tensor(3),))
    assert not cuda.is_current_stream_capturing()
