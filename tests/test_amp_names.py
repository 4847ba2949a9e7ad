"""``tgrad.cuda.amp`` and ``tgrad.cpu.amp``: the older names do what the newer ones do, and warn."""

from __future__ import annotations

import pytest

import tgrad
from tgrad.cpu import amp as cpu_amp
from tgrad.cuda import amp as cuda_amp

OLDER = pytest.mark.parametrize(
    "module, device, fast",
    [(cpu_amp, "cpu", tgrad.bfloat16), (cuda_amp, "cuda", tgrad.float16)],
)


@OLDER
def test_autocast_is_that_of_the_device(module, device: str, fast):
    with pytest.warns(FutureWarning, match=f"amp.autocast.'{device}'") as caught:
        context = module.autocast()
    assert caught[0].filename == __file__ and isinstance(context, tgrad.autocast)
    x = tgrad.ones(3, 3, device=device)
    with context:
        assert (x @ x).dtype is fast
    with pytest.warns(FutureWarning):
        off = module.autocast(False)
    with off:
        assert (x @ x).dtype is tgrad.float32
    with pytest.warns(FutureWarning):
        decorated = module.autocast(dtype=tgrad.bfloat16)(lambda: x @ x)
    assert decorated().dtype is tgrad.bfloat16


@OLDER
def test_the_scaler_steps_on_its_device(module, device: str, fast):
    with pytest.warns(FutureWarning, match=f"amp.GradScaler.'{device}'") as caught:
        scaler = module.GradScaler(8.0)
    assert caught[0].filename == __file__ and isinstance(scaler, tgrad.GradScaler)
    w = tgrad.ones(2, device=device, requires_grad=True)
    optimizer = tgrad.optim.SGD([w], lr=1.0)
    scaler.scale((w * 3).sum()).backward()
    assert w.grad is not None and w.grad.tolist() == [24.0, 24.0]
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [-2.0, -2.0] and scaler.get_scale() == 8.0


def test_functions_are_decorated_for_cuda():
    seen = []
    with pytest.warns(FutureWarning, match="device_type='cuda'"):

        class Square(tgrad.autograd.Function):
            @staticmethod
            @cuda_amp.custom_fwd(cast_inputs=tgrad.float32)
            def forward(ctx, x):
                seen.append((x.dtype, tgrad.is_autocast_enabled("cuda")))
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @cuda_amp.custom_bwd
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 2 * x * g

    x = tgrad.ones(2, device="cuda", dtype=tgrad.float16, requires_grad=True)
    with tgrad.autocast("cuda"):
        Square.apply(x).sum().backward()
    assert seen == [(tgrad.float32, False)]
    assert x.grad is not None and x.grad.tolist() == [2.0, 2.0]


def test_autocast_on_a_gpu_is_possible_where_there_is_one():
    assert not cuda_amp.amp_definitely_not_available()


def test_streams_of_the_cpu_keep_the_order_of_calls():
    cpu = tgrad.cpu
    first, other = cpu.current_stream(), cpu.Stream()
    with cpu.stream(other):
        assert cpu.current_stream() is other
        with cpu.stream(None):
            assert cpu.current_stream() is other
    assert cpu.current_stream() is first and cpu.Event().query()
    assert cpu.is_initialized() and cpu.set_device("cpu") is None
