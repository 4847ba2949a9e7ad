"""Mixed precision: which op runs in which dtype, nesting, the cache, and the loss scale."""

from __future__ import annotations

import inspect
import math
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import tgrad
import tgrad.nn.functional as F
from tgrad import amp, nn, optim
from tgrad.amp import policy
from tgrad.amp.state import state
from tgrad.dispatch import OPS

on_devices = pytest.mark.parametrize("device", ["cpu", "cuda"])
LOW = {"cpu": tgrad.bfloat16, "cuda": tgrad.float16}


def numpy_of(x: Any) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def values(device: str, *shape: int, dtype: Any = None, grad: bool = False) -> Any:
    a = np.random.default_rng(0).uniform(0.1, 0.9, shape)
    return tgrad.tensor(a, dtype=dtype or tgrad.float32, device=device, requires_grad=grad)


# The ops of each list that can be called like this: name -> function of (float32, lower) tensors.
LOWER = {
    "matmul": lambda x, h: x @ h, "mm": lambda x, h: tgrad.mm(h, x),
    "linear": lambda x, h: F.linear(h, x), "addmm": lambda x, h: tgrad.addmm(x, h, x),
    "bmm": lambda x, h: tgrad.bmm(x[None], h[None]),
    "baddbmm": lambda x, h: tgrad.baddbmm(x[None], h[None], x[None]),
    "conv1d": lambda x, h: F.conv1d(h[None], x[:, :, None]),
    "conv2d": lambda x, h: F.conv2d(h[None, :, :, None], x[:, :, None, None]),
    "conv_transpose2d": lambda x, h: F.conv_transpose2d(h[None, :, :, None], x[:, :, None, None]),
    "prelu": lambda x, h: F.prelu(h, x[0, :1]),
}  # fmt: skip
WIDE = {
    "both": {
        "mse_loss": lambda x, h: F.mse_loss(h, x), "l1_loss": lambda x, h: F.l1_loss(h, h),
        "smooth_l1_loss": lambda x, h: F.smooth_l1_loss(h, x),
        "huber_loss": lambda x, h: F.huber_loss(h, h),
        "binary_cross_entropy_with_logits":
            lambda x, h: F.binary_cross_entropy_with_logits(h, x),
        "nll_loss": lambda x, h: F.nll_loss(h, tgrad.tensor([0, 1, 2], device=h.device)),
        "cross_entropy": lambda x, h: F.cross_entropy(h, tgrad.tensor([0, 1, 2], device=h.device)),
        "kl_div": lambda x, h: F.kl_div(h, h, reduction="sum"), "prod": lambda x, h: h.prod(),
    },
    "cuda": {
        "exp": lambda x, h: h.exp(), "log": lambda x, h: tgrad.log(h),
        "rsqrt": lambda x, h: h.rsqrt(), "pow": lambda x, h: h**2.5,
        "softplus": lambda x, h: F.softplus(h), "softmax": lambda x, h: F.softmax(h, 1),
        "log_softmax": lambda x, h: h.log_softmax(0), "sum": lambda x, h: h.sum(0),
        "cumsum": lambda x, h: h.cumsum(1), "norm": lambda x, h: h.norm(),
        "layer_norm": lambda x, h: F.layer_norm(h, (3,)),
        "logsumexp": lambda x, h: h.logsumexp(0),
    },
}  # fmt: skip


@on_devices
@pytest.mark.parametrize("name", LOWER)
def test_products_and_convolutions_run_in_the_lower_dtype(name: str, device: str):
    x = values(device, 3, 3)
    h = x.to(LOW[device])
    with amp.autocast(device):
        y = LOWER[name](x, h)
    assert y.dtype is LOW[device]
    want = numpy_of(LOWER[name](x, h.float()))
    np.testing.assert_allclose(numpy_of(y), want, rtol=3e-2)


WIDE_CASES = [
    (device, name) for device in ("cpu", "cuda") for name in {**WIDE["both"], **WIDE["cuda"]}
]


@pytest.mark.parametrize("device, name", WIDE_CASES, ids=[f"{d}-{n}" for d, n in WIDE_CASES])
def test_what_needs_digits_runs_in_float32(device: str, name: str):
    x = values(device, 3, 3)
    h = x.to(LOW[device])
    call = {**WIDE["both"], **WIDE["cuda"]}[name]
    with amp.autocast(device):
        y = call(x, h)
    wide = device == "cuda" or name in WIDE["both"]
    assert y.dtype is (tgrad.float32 if wide else LOW[device])
    if wide:
        np.testing.assert_allclose(numpy_of(y), numpy_of(call(x, h.float())), rtol=1e-5)


@on_devices
def test_ops_of_several_tensors_take_the_widest_dtype(device: str):
    x = values(device, 3)
    h = x.to(LOW[device])
    with amp.autocast(device):
        assert tgrad.cat([h, x]).dtype is tgrad.float32
        assert tgrad.stack([h, h]).dtype is LOW[device]
        if device == "cuda":
            assert tgrad.dot(h, x).dtype is tgrad.float32
            assert tgrad.addcmul(h, h, h).dtype is tgrad.float16


@on_devices
def test_what_is_in_no_list_and_float64_stay_as_they_are(device: str):
    x, d = values(device, 3, 3), values(device, 3, 3, dtype=tgrad.float64)
    h = x.to(LOW[device])
    with amp.autocast(device):
        assert (d @ d).dtype is tgrad.float64 and F.mse_loss(d, d).dtype is tgrad.float64
        assert (h + h).dtype is h.dtype and (x * x).dtype is tgrad.float32
        assert h.mean().dtype is h.dtype and tgrad.relu(h).dtype is h.dtype
        out = tgrad.empty(3, 3, device=device)
        assert tgrad.matmul(x, x, out=out) is out and out.dtype is tgrad.float32
        assert h.sum(dtype=tgrad.float64).dtype is tgrad.float64
        i = tgrad.ones(2, 2, dtype=tgrad.int64, device=device)
        assert (i.sum()).dtype is tgrad.int64


def test_devices_are_switched_apart():
    x, y = values("cpu", 2, 2), values("cuda", 2, 2)
    with amp.autocast("cuda"):
        assert (x @ x).dtype is tgrad.float32 and (y @ y).dtype is tgrad.float16
        with amp.autocast("cpu", dtype=tgrad.float16):
            assert (x @ x).dtype is tgrad.float16
    with amp.autocast("cuda", dtype=tgrad.bfloat16):
        assert (y @ y).dtype is tgrad.bfloat16


def test_blocks_nest_and_switch_off():
    x = values("cpu", 2, 2)
    with tgrad.autocast("cpu"):
        with tgrad.autocast("cpu", enabled=False):
            assert not tgrad.is_autocast_enabled("cpu") and (x @ x).dtype is tgrad.float32
            with tgrad.autocast("cpu", dtype=tgrad.float16):
                assert (x @ x).dtype is tgrad.float16
        assert tgrad.is_autocast_enabled("cpu") and (x @ x).dtype is tgrad.bfloat16
    assert not tgrad.is_autocast_enabled("cpu") and (x @ x).dtype is tgrad.float32
    with pytest.raises(ZeroDivisionError), tgrad.autocast("cpu"):
        raise ZeroDivisionError
    assert not tgrad.is_autocast_enabled("cpu")


def test_it_decorates_functions_that_call_themselves():
    @amp.autocast("cpu")
    def product(x: Any, times: int) -> Any:
        return x @ x if times == 0 else product(x, times - 1)

    x = values("cpu", 2, 2)
    assert product(x, 3).dtype is tgrad.bfloat16
    assert (x @ x).dtype is tgrad.float32 and product.__name__ == "product"


def test_other_threads_are_not_touched():
    x, seen = values("cpu", 2, 2), []
    with amp.autocast("cpu"):
        other = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        other.start()
        other.join()
        assert (x @ x).dtype is tgrad.bfloat16
    assert seen == [tgrad.float32]


def test_off_the_functions_are_as_they_were_declared():
    names = {n for found in policy.POLICIES.values() for n in found if n in OPS}
    before = {n: OPS[n].function.__code__ for n in names}
    signature = inspect.signature(F.mse_loss)
    with amp.autocast("cpu"):
        assert OPS["matmul"].function.__code__ is not before["matmul"]
    assert all(OPS[n].function.__code__ is code for n, code in before.items())
    assert inspect.signature(F.mse_loss) == signature
    x = values("cpu", 2)
    with amp.autocast("cpu"), pytest.raises(TypeError):
        F.mse_loss(x)


def test_importing_tgrad_does_not_import_amp():
    code = "import sys, tgrad; print('tgrad.amp' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.stdout.strip() == "False", made.stderr


@on_devices
def test_weights_are_cast_once_a_block_and_get_their_gradients(device: str):
    x, w = values(device, 4, 3), nn.Parameter(values(device, 2, 3))
    with amp.autocast(device):
        y = F.linear(x, w)
        first = state.cache[id(w)][1]
        z = F.linear(x, w)
        assert state.cache[id(w)][1] is first and first.dtype is LOW[device]
    assert not state.cache
    (y.float().sum() + z.float().sum()).backward()
    assert w.grad.dtype is tgrad.float32
    want = 2 * numpy_of(x).sum(0)
    np.testing.assert_allclose(numpy_of(w.grad), np.broadcast_to(want, (2, 3)), rtol=1e-2)
    with amp.autocast(device, cache_enabled=False):
        F.linear(x, w)
        assert not state.cache
    with amp.autocast(device), tgrad.no_grad():
        F.linear(x, w)
        assert not state.cache  # it would be without a graph for those who need one


@on_devices
def test_a_step_between_blocks_is_seen(device: str):
    x, w = values(device, 4, 3), nn.Parameter(values(device, 2, 3))
    with amp.autocast(device):
        before = F.linear(x, w)
    with tgrad.no_grad():
        w.zero_()
    with amp.autocast(device):
        after = F.linear(x, w)
    assert numpy_of(before).any() and not numpy_of(after).any()


def test_a_model_trains_in_lower_precision():
    tgrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    x, target = tgrad.randn(30, 4), tgrad.tensor(np.arange(30) % 3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with tgrad.autocast("cpu"):
            y = model(x)
            loss = F.cross_entropy(y, target)
        assert y.dtype is tgrad.bfloat16 and loss.dtype is tgrad.float32
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_bce_is_unsafe_on_the_gpu():
    h = values("cuda", 3)
    with amp.autocast("cuda"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        F.binary_cross_entropy(h, h)


def test_names_and_bad_arguments():
    assert amp.is_autocast_available("cpu") and not amp.is_autocast_available("tpu")
    assert tgrad.get_autocast_dtype("cuda") is tgrad.float16
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'tpu'"):
        amp.autocast("tpu")
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        amp.autocast(tgrad.device("cpu"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="requires a callable, but got int"):
        amp.autocast("cpu")(3)  # pyright: ignore[reportArgumentType]
    with pytest.warns(UserWarning, match="target dtype is not supported"):
        block = amp.autocast("cpu", dtype=tgrad.float64)
    with block:
        assert not tgrad.is_autocast_enabled("cpu")
    with pytest.raises(RuntimeError, match="unknown device type"):
        tgrad.set_autocast_enabled("tpu", True)


# ---- functions with a backward of their own ------------------------------------------------------


@pytest.mark.parametrize("inputs", [None, tgrad.float32])
def test_functions_choose_their_precision_and_keep_it_backward(inputs: Any):
    seen: list[Any] = []

    class Product(tgrad.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=inputs)
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            seen.append((a.dtype, (a @ b).dtype))
            return a @ b

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            a, b = ctx.saved_tensors
            seen.append(tgrad.is_autocast_enabled("cpu"))
            return g.to(a.dtype) @ b.T, a.T @ g.to(a.dtype)

    a = values("cpu", 2, 2).to(tgrad.bfloat16).requires_grad_()
    b = values("cpu", 2, 2, grad=True)
    with amp.autocast("cpu"):
        y = Product.apply(a, b)
    y.float().sum().backward()
    if inputs is None:
        assert seen == [(tgrad.bfloat16, tgrad.bfloat16), True]
    else:
        assert seen == [(tgrad.float32, tgrad.float32), False]
    assert b.grad is not None and not tgrad.is_autocast_enabled("cpu")


# ---- the loss scale ------------------------------------------------------------------------------


def scaled_step(scaler: Any, optimizer: Any, p: Any, g: Any) -> None:
    optimizer.zero_grad()
    loss = (p * tgrad.tensor(g, device=p.device)).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


@on_devices
@pytest.mark.parametrize("fused", [False, True])
def test_steps_with_inf_are_left_out_and_the_scale_adapts(fused: bool, device: str):
    p = nn.Parameter(tgrad.zeros(2, device=device))
    optimizer = optim.SGD([p], lr=1.0, fused=fused)
    scaler = amp.GradScaler(device, init_scale=8.0, growth_interval=2)
    scaled_step(scaler, optimizer, p, [1.0, 2.0])
    np.testing.assert_allclose(numpy_of(p), [-1, -2])
    assert scaler.get_scale() == 8.0
    for bad in (math.inf, math.nan):
        scaled_step(scaler, optimizer, p, [1.0, bad])
        np.testing.assert_allclose(numpy_of(p), [-1, -2])
    assert scaler.get_scale() == 2.0
    for _ in range(2):
        scaled_step(scaler, optimizer, p, [1.0, 0.0])
    assert scaler.get_scale() == 4.0 and scaler._get_growth_tracker() == 0
    np.testing.assert_allclose(numpy_of(p), [-3, -2])


@on_devices
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_unscaling_sees_every_element(dtype: str, device: str):
    # The last has two blocks on the emulated GPU.
    shapes = [(3, 4), (), (0, 2), (91, 97)]
    for bad in (None, (0, 5), (1, 0), (3, 0), (3, 91 * 97 - 1)):
        params = [nn.Parameter(tgrad.zeros(s, dtype=getattr(tgrad, dtype), device=device))
                  for s in shapes]  # fmt: skip
        for k, p in enumerate(params):
            g = np.full(p.numel(), 6.0)
            if bad is not None and bad[0] == k:
                g[bad[1]] = -math.inf
            p.grad = tgrad.tensor(g.reshape(p.shape), dtype=p.dtype, device=device)
        params[0].grad = params[0].grad.T.contiguous().T  # strided
        optimizer, scaler = optim.SGD(params), amp.GradScaler(device, init_scale=4.0)
        scaler.scale(tgrad.ones(1, device=device))
        scaler.unscale_(optimizer)
        (flag,) = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values()
        assert flag.item() == (bad is not None)
        for k, p in enumerate(params):
            finite = numpy_of(p.grad)[np.isfinite(numpy_of(p.grad))]
            assert (finite == 1.5).all() and finite.size == p.numel() - (
                bad is not None and bad[0] == k
            )


def test_a_scale_is_clipped_against_and_shared():
    p = nn.Parameter(tgrad.zeros(2))
    optimizer = optim.SGD([p], lr=1.0)
    scaler = amp.GradScaler("cpu", init_scale=16.0)
    outputs = scaler.scale([tgrad.ones(1), (tgrad.ones(2), tgrad.ones(3))])
    assert outputs[1][0].tolist() == [16.0, 16.0] and isinstance(outputs[1], tuple)
    scaler.scale((3 * p).sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [3.0, 3.0]
    nn.utils.clip_grad_norm_([p], 1.0)
    scaler.step(optimizer)
    np.testing.assert_allclose(numpy_of(p), [-math.sqrt(0.5)] * 2, rtol=1e-5)


def test_a_disabled_scaler_does_nothing():
    p = nn.Parameter(tgrad.zeros(1))
    p.grad = tgrad.ones(1)
    optimizer = optim.SGD([p], lr=1.0)
    scaler = amp.GradScaler(enabled=False)
    assert scaler.scale(p) is p and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == -1.0 and not scaler.is_enabled()


def test_a_scaler_is_saved_loaded_and_pickled():
    scaler = amp.GradScaler("cpu", init_scale=2.0, growth_interval=7)
    p = nn.Parameter(tgrad.zeros(2))
    scaled_step(scaler, optim.SGD([p]), p, [1.0, 1.0])
    saved = scaler.state_dict()
    assert saved == {"scale": 2.0, "growth_factor": 2.0, "backoff_factor": 0.5,
                     "growth_interval": 7, "_growth_tracker": 1}  # fmt: skip
    other = amp.GradScaler("cpu")
    other.load_state_dict(saved)
    assert other.state_dict() == saved
    assert pickle.loads(pickle.dumps(scaler)).state_dict() == saved
    with pytest.raises(RuntimeError, match="source state dict is empty"):
        other.load_state_dict({})
    scaler.update(32.0)
    assert scaler.get_scale() == 32.0
    scaler.update(tgrad.tensor(64.0))
    assert scaler.get_scale() == 64.0


def test_calls_in_the_wrong_order_are_refused():
    p = nn.Parameter(tgrad.zeros(2))
    optimizer, scaler = optim.SGD([p]), amp.GradScaler("cpu")
    with pytest.raises(AssertionError, match="Attempted step but _scale is None"):
        scaler.step(optimizer)
    scaler.scale(p.sum()).backward()
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: 1)
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="has already been called on this optimizer"):
        scaler.unscale_(optimizer)
    with pytest.raises(AssertionError, match="may only be pickled"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    half = nn.Parameter(tgrad.zeros(2, dtype=tgrad.float16))
    half.grad = tgrad.ones(2, dtype=tgrad.float16)
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(optim.SGD([half]))
    with pytest.raises(ValueError, match="must be a Tensor or an iterable of Tensors"):
        scaler.scale(3)
    with pytest.raises(AssertionError, match=r"growth factor must be > 1\.0"):
        amp.GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(AssertionError, match=r"backoff factor must be < 1\.0"):
        amp.GradScaler("cpu", backoff_factor=1.0)
