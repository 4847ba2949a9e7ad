"""Less usual parts of nn against torch: signatures, repr, values."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tgrad

torch = pytest.importorskip("torch", reason="torch is not installed")

LAYERS = {
    "sync": lambda nn: nn.SyncBatchNorm(3, momentum=None, affine=False),
    "lrn": lambda nn: nn.CrossMapLRN2d(5, 0.1, 0.5, 2),
    "linear ce": lambda nn: nn.LinearCrossEntropyLoss(3, 4, out_features=(2,), bias=True),
    "converted": lambda nn: nn.SyncBatchNorm.convert_sync_batchnorm(
        nn.Sequential(nn.BatchNorm2d(3, bias=False), nn.ModuleList([nn.BatchNorm1d(2).eval()]))),
    "parallel": lambda nn: nn.DataParallel(nn.Linear(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_repr_and_state_dict_agree(name: str):
    theirs, ours = LAYERS[name](torch.nn), LAYERS[name](tgrad.nn)
    assert repr(ours) == repr(theirs)
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b) and a._metadata == b._metadata


@pytest.mark.parametrize("name", [
    "SyncBatchNorm", "CrossMapLRN2d", "LinearCrossEntropyLoss", "DataParallel",
    "LinearCrossEntropyOptions", "grad.conv1d_input", "grad.conv3d_weight", "parallel.replicate",
    "parallel.scatter", "parallel.gather", "parallel.parallel_apply", "parallel.data_parallel",
    "functional.linear_cross_entropy", "functional.native_channel_shuffle",
])  # fmt: skip
def test_signatures_agree(name: str):
    def arguments(lib):
        found = lib.nn
        for part in name.split("."):
            found = getattr(found, part)
        try:
            signature = inspect.signature(found)
        except ValueError:
            return None  # a builtin
        return [(p.name, p.default, p.kind) for p in signature.parameters.values()]

    want = arguments(torch)
    assert want is None or arguments(tgrad) == want


def test_lrn_agrees_where_torch_drops_nothing():
    """PyTorch never drops the first channel from its running sum: 5 channels of 9 see no other."""
    a = np.random.default_rng(0).standard_normal((2, 5, 3, 2))
    ours = tgrad.nn.CrossMapLRN2d(9, 0.3, 0.6)(tgrad.tensor(a))
    theirs = torch.nn.CrossMapLRN2d(9, 0.3, 0.6)(torch.tensor(a))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(512, 64, 2048), (100, 7, 300), (5, 64, 10), (33, 16, 16)])
@pytest.mark.parametrize("method", ["auto", "aspect_ratio", "aspect_ratio:4"])
def test_rows_at_a_time_agree(shape, method: str):
    n, d, c = shape
    theirs = torch.nn.LinearCrossEntropyOptions(chunking_method=method)
    want = theirs._adjust(n, d, c, torch.float32, torch.device("cpu")).batch_chunk_size
    ours = tgrad.nn.LinearCrossEntropyOptions(chunking_method=method)
    assert ours.rows(tgrad.empty(n, d), c) == want
