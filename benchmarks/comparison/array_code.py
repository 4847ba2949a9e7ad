"""Cases in NumPy's language: ``xp`` is numpy, cupy or jax.numpy. In float64, the references."""

from __future__ import annotations

import importlib
from typing import Any


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logsumexp(xp: Any, x: Any) -> Any:
    high = x.max(-1, keepdims=True)
    return xp.log(xp.exp(x - high).sum(-1)) + high[..., 0]


ERF = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special", "jax.numpy": "jax.scipy.special"}


def erf(xp: Any, x: Any) -> Any:
    return importlib.import_module(ERF[xp.__name__]).erf(x)


def gelu(xp: Any, x: Any) -> Any:
    return 0.5 * x * (1 + erf(xp, x * 0.5**0.5))


def normalised(xp: Any, x: Any, axes: Any) -> Any:
    centred = x - x.mean(axes, keepdims=True)
    return centred / xp.sqrt((centred * centred).mean(axes, keepdims=True) + 1e-5)


def layer_norm(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return normalised(xp, x, -1) * w + b


def rms_norm(xp: Any, x: Any, w: Any) -> Any:
    return x / xp.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w


def batch_norm(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return normalised(xp, x, (0, 2, 3)) * w[:, None, None] + b[:, None, None]


def cross_entropy(xp: Any, x: Any, y: Any) -> Any:
    return (logsumexp(xp, x) - x[xp.arange(len(y)), y]).mean()


def windows(xp: Any, x: Any, side: int) -> Any:
    """(N, C, H, W, side, side) of an image with a margin of zeros."""
    edge = side // 2
    x = xp.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    h, w = x.shape[2] - side + 1, x.shape[3] - side + 1
    if xp.__name__ in ("numpy", "cupy"):
        return xp.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))
    parts = [[x[:, :, i : i + h, j : j + w] for j in range(side)] for i in range(side)]
    return xp.stack([xp.stack(row, -1) for row in parts], -2)


def conv2d(xp: Any, x: Any, w: Any) -> Any:
    y = xp.tensordot(windows(xp, x, w.shape[-1]), w, ((1, 4, 5), (1, 2, 3)))
    return y.transpose(0, 3, 1, 2)


def blocks(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


def max_pool(xp: Any, x: Any) -> Any:
    return blocks(x).max((3, 5))


def avg_pool(xp: Any, x: Any) -> Any:
    return blocks(x).mean((3, 5))


def attention(xp: Any, q: Any, k: Any, v: Any, mask: Any = 0.0) -> Any:
    scores = q @ xp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5
    return softmax(xp, scores + mask) @ v


def causal_attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    upper = xp.triu(xp.ones((q.shape[-2], k.shape[-2]), bool), 1)
    return attention(xp, q, k, v, xp.where(upper, -xp.inf, 0.0).astype(q.dtype))


def sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def lstm(xp: Any, x: Any, w: Any, u: Any, b: Any, c: Any) -> Any:
    """x (steps, batch, inputs), weights scaled as the case scales them."""
    hidden = u.shape[1]
    w, u, bias = w * hidden**-0.5, u * hidden**-0.5, (b + c) * hidden**-0.5
    h = cell = xp.zeros((x.shape[1], hidden), x.dtype)
    found = []
    for step in x @ w.T + bias:
        i, f, g, o = xp.split(step + h @ u.T, 4, axis=1)
        cell = sigmoid(xp, f) * cell + sigmoid(xp, i) * xp.tanh(g)
        h = sigmoid(xp, o) * xp.tanh(cell)
        found.append(h)
    return xp.stack(found)


def cdist(xp: Any, x: Any, y: Any) -> Any:
    square = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return xp.sqrt(xp.maximum(square, 0))
