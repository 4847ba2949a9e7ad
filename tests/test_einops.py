"""einops takes tgrad's tensors: values, gradients, layers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tgrad
from tgrad import nn

einops = pytest.importorskip("einops", reason="einops is not installed")

X = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)


@pytest.mark.parametrize(
    "call",
    [
        lambda e, x: e.rearrange(x, "n (h a) (w b) -> n h w (a b)", a=2, b=3),
        lambda e, x: e.rearrange([x, x], "k n h w -> n k w h"),
        lambda e, x: e.repeat(x, "n h w -> n (h r) w s", r=2, s=3),
        lambda e, x: e.reduce(x, "n (h a) w -> n h", "mean", a=2),
        lambda e, x: e.reduce(x, "n h w -> () h ()", "max"),
        lambda e, x: e.reduce(x, "n h w -> w", "prod"),
        lambda e, x: e.einsum(x, x, "n h w, n k w -> h k"),
        lambda e, x: e.pack([x, x[:, 0]], "n * w")[0],
        lambda e, x: e.unpack(x, [(1,), (3,)], "n * w")[1],
    ],
)
def test_einops_gives_what_it_gives_for_numpy(call):
    from tgrad import einops as ours

    found, want = call(ours, tgrad.from_numpy(X)), call(einops, X)
    assert isinstance(found, tgrad.Tensor)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-6)


def test_gradients_flow_through_patterns():
    from tgrad.einops import reduce

    x = tgrad.from_numpy(X).requires_grad_()
    reduce(x, "n h w -> h", "sum").square().sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(2 * X.sum((0, 2))[:, None], X.shape))


def test_layers_are_modules_that_print_as_einops_has_them():
    from tgrad.einops import EinMix, Rearrange, Reduce

    net = nn.Sequential(
        Rearrange("n (h a) w -> n h (a w)", a=2),
        EinMix("n h c -> (h n) d", "c d", "d", c=12, d=3),
        Reduce("(h n) d -> n d", "mean", h=2),
    )
    assert list(net.state_dict()) == ["1.weight", "1.bias"]
    assert repr(net[0]) == "Rearrange('n (h a) w -> n h (a w)', a=2)"
    y = net(tgrad.from_numpy(X))
    want = X.reshape(2, 2, 12) @ net[1].weight.detach().numpy().reshape(12, 3)
    want = (want + net[1].bias.detach().numpy().reshape(3)).mean(1)
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-4)


def test_einops_is_imported_only_when_it_is_asked_for():
    code = "import sys, tgrad; tgrad.nn; print('einops' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
