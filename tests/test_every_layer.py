"""Every layer and loss on emulated ``cuda``: no op falls back, results and gradients are the CPU's.

What falls back at all is listed in ``HOST``, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tgrad
from tgrad import nn
from tgrad.dispatch import OPS, FallbackWarning

# Ops without a kernel on a GPU: LAPACK's, which run on the host by way of a copy.
HOST = {
    "_cholesky_ex", "_cofactors", "_eig", "_eigh", "_geqrf", "_inv_ex", "_ldl", "_ldl_solve",
    "_lstsq", "_lu", "_matrix_exp", "_pinv", "_qr", "_slogdet", "_solve_ex", "_solve_triangular",
    "_svd", "_svd_full", "det",
}  # fmt: skip

# Classes that hold others, or that wait for their sizes; they have tests of their own.
NOT_LAYERS = {"Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict",
              "RNNBase", "RNNCellBase", "Transformer", "TransformerEncoder",
              "TransformerDecoder", "DataParallel", "NLLLoss2d"}  # fmt: skip


class Draw:
    """Inputs from one generator: the same for each device."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)

    def share(self, *shape: int) -> np.ndarray:
        """Numbers between 0.1 and 0.9."""
        return self.rng.uniform(0.1, 0.9, shape)

    def sign(self, *shape: int) -> np.ndarray:
        return self.rng.choice([-1.0, 1.0], shape)

    def number(self, high: int, *shape: int) -> np.ndarray:
        return self.rng.integers(0, high, shape)


def two(shape: tuple[int, ...]) -> Callable[[Draw], list[Any]]:
    return lambda d: [d.normal(*shape), d.normal(*shape)]


def one(*shape: int) -> Callable[[Draw], list[Any]]:
    return lambda d: [d.normal(*shape)]


SPATIAL = {1: (9,), 2: (8, 7), 3: (5, 6, 4)}  # sizes by number of axes


def spatial(name: str, channels: int = 2, **options: Any) -> dict[str, Any]:
    """``name`` with 1d, 2d and 3d behind it, on two images."""
    return {
        f"{name}{n}d": (lambda n=n: getattr(nn, f"{name}{n}d")(**options),
                        one(2, channels, *SPATIAL[n]))
        for n in SPATIAL
    }  # fmt: skip


def plain(*names: str) -> dict[str, Any]:
    return {n: (lambda n=n: getattr(nn, n)(), one(3, 5)) for n in names}


def halves(*shape: int) -> tgrad.Tensor:
    return tgrad.full(shape, 0.5, dtype=tgrad.float64)


def unpooled(n: int) -> Callable[[], Any]:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = getattr(nn, f"MaxPool{n}d")(2, return_indices=True)
            self.unpool = getattr(nn, f"MaxUnpool{n}d")(2)

        def forward(self, x: Any) -> Any:
            return self.unpool(*self.pool(x))

    return Both


EVERY: dict[str, tuple[Callable[[], Any], Callable[[Draw], list[Any]]]] = {
    **plain("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity",
            "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid",
            "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink"),
    "RReLU": (lambda: nn.RReLU().eval(), one(3, 5)),
    "Threshold": (lambda: nn.Threshold(0.1, 2.0), one(3, 5)),
    "GLU": (lambda: nn.GLU(), one(3, 6)),
    "Softmax": (lambda: nn.Softmax(1), one(3, 5)),
    "Softmin": (lambda: nn.Softmin(1), one(3, 5)),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), one(3, 5)),
    "Softmax2d": (lambda: nn.Softmax2d(), one(2, 3, 2, 2)),
    **{n: (lambda n=n: getattr(nn, n)(0.0), one(2, 3, 4)) for n in (
        "Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout")},
    "Dropout2d": (lambda: nn.Dropout2d(0.0), one(2, 3, 4, 2)),
    "Dropout3d": (lambda: nn.Dropout3d(0.0), one(2, 3, 4, 2, 2)),
    "Linear": (lambda: nn.Linear(5, 4), one(3, 5)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 2), lambda d: [d.normal(5, 3), d.normal(5, 4)]),
    "Flatten": (lambda: nn.Flatten(), one(3, 2, 5)),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 3)), one(2, 6)),
    "Embedding": (lambda: nn.Embedding(9, 4, padding_idx=2), lambda d: [d.number(9, 3, 5)]),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(9, 4), lambda d: [d.number(9, 3, 5)]),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), two((3, 5))),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), two((3, 5))),
    **spatial("Conv", in_channels=2, out_channels=3, kernel_size=3, padding=1),
    **spatial("ConvTranspose", in_channels=2, out_channels=3, kernel_size=2, stride=2),
    **spatial("MaxPool", kernel_size=2), **spatial("AvgPool", kernel_size=2),
    **spatial("AdaptiveAvgPool", output_size=3), **spatial("AdaptiveMaxPool", output_size=3),
    **spatial("LPPool", norm_type=2, kernel_size=2),
    **{f"MaxUnpool{n}d": (unpooled(n), one(2, 2, *(2 * k for k in SPATIAL[n]))) for n in SPATIAL},
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, output_size=3,
                                       _random_samples=halves(2, 2, 2)),
        one(2, 2, 8, 7)),
    "FractionalMaxPool3d": (
        lambda: nn.FractionalMaxPool3d(2, output_size=2,
                                       _random_samples=halves(2, 2, 3)),
        one(2, 2, 5, 6, 4)),
    **spatial("BatchNorm", num_features=2), **spatial("InstanceNorm", num_features=2),
    "LayerNorm": (lambda: nn.LayerNorm(5), one(3, 5)),
    "RMSNorm": (lambda: nn.RMSNorm(5), one(3, 5)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), one(3, 4, 5)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), one(2, 5, 4)),
    "CrossMapLRN2d": (lambda: nn.CrossMapLRN2d(3), one(2, 5, 4, 3)),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(2), one(3, 2, 4)),
    **{k: v for name in ("ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")
       for k, v in spatial(name, padding=1).items()},
    **spatial("ConstantPad", padding=1, value=0.5),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), one(1, 8, 2, 3)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), one(1, 2, 4, 2)),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), one(1, 4, 2, 2)),
    "Fold": (lambda: nn.Fold((4, 5), (2, 2)), one(1, 8, 12)),
    "Unfold": (lambda: nn.Unfold((2, 3)), one(1, 2, 4, 5)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), one(1, 2, 4, 3)),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), one(1, 2, 4, 3)),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(size=(5, 6)), one(1, 2, 4, 3)),
    "RNN": (lambda: nn.RNN(3, 4), one(5, 2, 3)),
    "GRU": (lambda: nn.GRU(3, 4, bidirectional=True), one(5, 2, 3)),
    "LSTM": (lambda: nn.LSTM(3, 4, 2, proj_size=2), one(5, 2, 3)),
    "RNNCell": (lambda: nn.RNNCell(3, 4), one(2, 3)),
    "GRUCell": (lambda: nn.GRUCell(3, 4), one(2, 3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), one(2, 3)),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(8, 2), lambda d: [d.normal(4, 2, 8) for _ in range(3)]),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 6, 0.0), one(4, 2, 8)),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(8, 2, 6, 0.0), two((4, 2, 8))),
    **{n: (lambda n=n: getattr(nn, n)(), two((4, 5))) for n in (
        "L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")},
    **{n: (lambda n=n: getattr(nn, n)(), lambda d: [d.share(4, 5), d.share(4, 5)]) for n in (
        "BCELoss", "BCEWithLogitsLoss", "PoissonNLLLoss")},
    "KLDivLoss": (lambda: nn.KLDivLoss(reduction="sum"), lambda d: [d.normal(4, 5), d.share(4, 5)]),
    **{n: (lambda n=n: getattr(nn, n)(), lambda d: [d.normal(4, 5), d.sign(4, 5)]) for n in (
        "SoftMarginLoss", "HingeEmbeddingLoss")},
    "CrossEntropyLoss": (
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda d: [d.normal(4, 5), d.number(5, 4)]),
    "LinearCrossEntropyLoss": (
        lambda: nn.LinearCrossEntropyLoss(3, 5, options=nn.LinearCrossEntropyOptions()),
        lambda d: [d.normal(4, 3), d.number(5, 4)]),
    "NLLLoss": (lambda: nn.NLLLoss(), lambda d: [d.normal(4, 5), d.number(5, 4)]),
    "MultiMarginLoss": (lambda: nn.MultiMarginLoss(), lambda d: [d.normal(4, 5), d.number(5, 4)]),
    "MultiLabelMarginLoss": (
        lambda: nn.MultiLabelMarginLoss(),
        lambda d: [d.normal(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]])]),
    "MultiLabelSoftMarginLoss": (
        lambda: nn.MultiLabelSoftMarginLoss(),
        lambda d: [d.normal(4, 5), d.number(2, 4, 5) * 1.0]),
    "GaussianNLLLoss": (
        lambda: nn.GaussianNLLLoss(), lambda d: [d.normal(4, 5), d.normal(4, 5), d.share(4, 5)]),
    "MarginRankingLoss": (
        lambda: nn.MarginRankingLoss(), lambda d: [d.normal(6), d.normal(6), d.sign(6)]),
    "CosineEmbeddingLoss": (
        lambda: nn.CosineEmbeddingLoss(), lambda d: [d.normal(6, 3), d.normal(6, 3), d.sign(6)]),
    **{n: (lambda n=n: getattr(nn, n)(), lambda d: [d.normal(6, 3) for _ in range(3)]) for n in (
        "TripletMarginLoss", "TripletMarginWithDistanceLoss")},
    "CTCLoss": (
        lambda: nn.CTCLoss(),
        lambda d: [d.normal(7, 2, 5), d.number(4, 2, 3) + 1, np.array([7, 6]), np.array([3, 2])]),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 10, [3, 7]),
        lambda d: [d.normal(8, 16), d.number(10, 8)]),
}  # fmt: skip


def layers() -> set[str]:
    """The public classes of ``tgrad.nn`` that compute something."""
    found = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)
             and issubclass(getattr(nn, n), nn.Module)}  # fmt: skip
    return {n for n in found if not n.startswith("Lazy")} - NOT_LAYERS


def test_no_layer_is_forgotten():
    assert layers() - set(EVERY) == set()
    assert set(EVERY) - layers() == set()


def outputs(y: Any) -> list[tgrad.Tensor]:
    if isinstance(y, tgrad.Tensor):
        return [y]
    return [t for part in y for t in outputs(part)] if isinstance(y, (tuple, list)) else []


def ran(layer: nn.Module, inputs: list[np.ndarray], device: str) -> list[np.ndarray]:
    """Outputs, and the gradients of inputs and parameters."""
    layer = layer.to(device, tgrad.float64)
    for name, value in vars(layer).items():  # random numbers that were given beforehand
        if isinstance(value, tgrad.Tensor):
            setattr(layer, name, value.to(device))
    xs = [tgrad.tensor(a, device=device) for a in inputs]
    leaves = [x.requires_grad_() for x in xs if x.is_floating_point()]
    leaves += list(layer.parameters())
    ys = outputs(layer(*xs))
    total: Any = sum((y * y + y).sum() for y in ys if y.requires_grad)
    if isinstance(total, tgrad.Tensor):
        total.backward()
    grads = [x.grad for x in leaves if x.grad is not None]
    layer.zero_grad()
    return [t.detach().cpu().numpy() for t in (*ys, *grads)]


@pytest.mark.parametrize("name", EVERY)
def test_a_layer_computes_on_the_gpu_what_it_computes_on_the_cpu(name: str):
    make, draw = EVERY[name]
    tgrad.manual_seed(1)
    layer = make()
    inputs = draw(Draw())
    want = ran(layer, inputs, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        got = ran(layer, inputs, "cuda")
    assert len(got) == len(want) > 0
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_what_falls_back_is_listed():
    found = {n for n, e in OPS.items() if e.kind in ("kernel", "update") and not e.kernel("cuda")}
    assert found == HOST
