"""The names of nodes in a printed graph are those that PyTorch prints."""

from __future__ import annotations

import types
from typing import Any

import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")

SAME = """x + y; x - 1; x * y; x / y; -x; x @ w.t(); b @ b.mT.contiguous() * 1; b.bmm(b.mT.clone())
w.mv(x[0]); x[0].dot(y[0]); x.view(-1); x.flatten(); x.T; b.mT; b.transpose(0, 2)
b.permute(1, 2, 0)
x[0]; x[:, 1:]; x[..., 0]; x[None]; x[i]; x[x > 0.5]; x.chunk(2)[0]; x.unbind(0)[1]
x.expand(2, 4, 6); x.clone(); x.sum()
x.sum(1); x.mean(); x.mean(0); x.amax(1); x.max(1)[0]; x.prod(); x.logsumexp(1)
x.norm(); x.cumsum(1); x.exp(); x.log(); x.sqrt(); x.abs(); x.tanh(); x.sigmoid(); x.pow(2); x**3
x.clamp(min=0.1); torch.where(x > 0, x, y); x.gather(1, i[:, None]); torch.cat([x, y])
torch.stack([x, y]); x.scatter(1, i[:, None], 1.0); F.relu(x); F.gelu(x); F.silu(x); F.relu6(x)
F.selu(x); F.logsigmoid(x); F.softmax(x, 1); F.log_softmax(x, 1); F.linear(x, w, w[:, 0])
F.linear(x, w); F.linear(b, w); F.embedding(i, x); F.mse_loss(x, y); F.l1_loss(x, y)
F.smooth_l1_loss(x, y); F.huber_loss(x, y, reduction="sum"); F.cross_entropy(x, i); F.nll_loss(x, i)
F.binary_cross_entropy(x, y.detach()); F.binary_cross_entropy_with_logits(x, y.detach())
F.soft_margin_loss(x, y.detach()); F.conv2d(im, im[:, :, :3, :3]); F.max_pool2d(im, 2)
F.avg_pool2d(im, 2)
F.batch_norm(im, None, None, training=True); F.layer_norm(x, (6,)); s.inverse(); s.tril()
torch.linalg.svd(s)[1]; torch.linalg.qr(s)[0]; torch.linalg.solve(s, s)"""


def names_of(lib: types.ModuleType) -> list[str]:
    values: dict[str, Any] = {"torch": lib, "F": lib.nn.functional, "i": lib.tensor([0, 1, 2, 3])}
    shapes = {"x": (4, 6), "y": (4, 6), "w": (5, 6), "b": (2, 4, 6), "im": (2, 2, 8, 8)}
    for name, shape in shapes.items():
        count = 1
        for n in shape:
            count *= n
        x = lib.arange(count, dtype=lib.float32).reshape(shape) / count * 0.8 + 0.1
        values[name] = x.requires_grad_()
    values["s"] = (lib.eye(3) * 2 + lib.ones(3, 3)).requires_grad_()
    code = [c.strip() for line in SAME.splitlines() for c in line.split(";")]
    return [f"{c}: {eval(c, values).grad_fn.name()}" for c in code]


def test_nodes_are_named_as_pytorch_names_them():
    assert names_of(tgrad) == names_of(torch)
