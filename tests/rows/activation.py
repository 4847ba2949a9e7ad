"""Rows of activation functions."""

import numpy as np
from scipy import special

from tests.table import i, own, row, s, t, value

WIDE = value([-40.0, -20.0, -4.1, 4.1, 21.0, 40.0])
X = (s(t(4, 5, low=-4, high=4)), s(t()), s(t(0, 3)), s(t(3, 2731, low=-4, high=4)))
MORE = (*X, s(WIDE))


def f(name, *samples, ref, **more):
    return row(f"nn.functional.{name}", *samples, ref=ref, **more)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x, approximate="none"):
    if approximate == "none":
        return x * special.ndtr(x)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softplus(x, beta=1.0, threshold=20.0):
    return np.where(x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, 30))) / beta)


def softshrink(x, lambd=0.5):
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, 0))


def prelu(x, w):
    w = (
        w.reshape((1, -1) + (1,) * max(x.ndim - 2, 0))
        if x.ndim > 1 and w.ndim
        else w.reshape(-1)[0]
    )
    return np.where(x > 0, x, w * x)


def glu(x, dim=-1):
    a, b = np.split(x, 2, dim)
    return a * special.expit(b)


ROWS = [
    row("relu", *MORE, s(i(5, low=-4)), ref=lambda x: np.maximum(x, 0)),
    f("relu", s(t(3), inplace=False), ref=lambda x, inplace: np.maximum(x, 0), covers=["relu_"]),
    f("relu6", s(t(4, 5, low=-4, high=9)), s(i(5, low=-9, high=20)),
      ref=lambda x: np.clip(x, 0, 6)),
    f("leaky_relu", *MORE, s(t(3, 4), 0.3), ref=lambda x, a=0.01: np.where(x > 0, x, a * x),
      covers=["leaky_relu_"]),
    f("prelu", s(t(4, 3), t(3)), s(t(2, 3, 4), t(3)), s(t(5), t(1)), s(t(2, 3), t(1)), s(t(), t()),
      ref=prelu),
    f("elu", *MORE, s(t(3, 4), 1.7), ref=elu, covers=["elu_"]),
    f("selu", *MORE, ref=lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
      covers=["selu_"]),
    f("celu", *MORE, own("torch rounds 1 / alpha to float32", s(t(3, 4), 1.7)),
      ref=lambda x, a=1.0: elu(x / a) * a, covers=["celu_"]),
    f("gelu", *MORE, s(t(3, 4), approximate="tanh"), ref=gelu),
    f("silu", *MORE, ref=lambda x: x * special.expit(x)),
    f("mish", *MORE, ref=lambda x: x * np.tanh(np.logaddexp(0, x))),
    f("hardtanh", *X, s(t(3, 4), -0.3, 0.6), s(i(5, low=-4), -2.0, 3.0),
      ref=lambda x, a=-1.0, b=1.0: np.clip(x, a, b), covers=["hardtanh_"]),
    f("hardswish", *MORE, ref=lambda x: x * np.clip(x + 3, 0, 6) / 6),
    f("hardsigmoid", *MORE, ref=lambda x: np.clip(x + 3, 0, 6) / 6,
      why_no_torch_grad="torch rounds 1 / 6 to float32"),
    f("softplus", *MORE, s(t(3, 4), 2.0, 1.5), ref=softplus),
    f("softsign", *MORE, ref=lambda x: x / (1 + np.abs(x))),
    f("logsigmoid", *MORE, ref=lambda x: -np.logaddexp(0, -x)),
    f("threshold", s(t(4, 5), 0.3, 7.0), s(i(5), 4, 9), ref=lambda x, a, b: np.where(x > a, x, b),
      covers=["threshold_"]),
    f("tanhshrink", *MORE, ref=lambda x: x - np.tanh(x)),
    f("softshrink", *MORE, s(t(3, 4), 0.1), ref=softshrink),
    row("hardshrink", *MORE, s(t(3, 4), 0.1), ref=lambda x, a=0.5: np.where(np.abs(x) > a, x, 0)),
    f("rrelu", s(t(4, 5)), s(t(4, 5), 0.2, 0.4),
      ref=lambda x, a=1 / 8, b=1 / 3: np.where(x > 0, x, x * (a + b) / 2), covers=["rrelu_"]),
    f("glu", s(t(3, 4)), s(t(4, 5), 0), s(t(2, 6, 3), 1), s(t(3, 0)), ref=glu),
]  # fmt: skip
