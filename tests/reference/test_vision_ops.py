"""Boxes, losses and blocks of detectors against torchvision."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import tgrad
from tests.reference.test_vision import peers  # torchvision, imported as it can be here
from tgrad.vision import ops

torch = pytest.importorskip("torch", reason="torch is not installed")
assert peers
peer = importlib.import_module("torchvision.ops")

rng = np.random.default_rng(0)
CORNER = rng.random((12, 2), dtype=np.float32) * 5
BOXES = np.concatenate([CORNER, CORNER + 1 + rng.random((12, 2), dtype=np.float32) * 4], 1)
SCORES = rng.random(12, dtype=np.float32)
CALLS = {
    "area": lambda o, b, s: o.box_area(b),
    "area of sizes": lambda o, b, s: o.box_area(b, fmt="cxcywh"),
    "convert": lambda o, b, s: o.box_convert(o.box_convert(b, "xyxy", "cxcywh"), "cxcywh", "xywh"),
    "iou": lambda o, b, s: o.box_iou(b, b[:5]),
    "generalized": lambda o, b, s: o.generalized_box_iou(b, b[:5]),
    "distance": lambda o, b, s: o.distance_box_iou(b, b[:5]),
    "complete": lambda o, b, s: o.complete_box_iou(b, b[:5]),
    "clip": lambda o, b, s: o.clip_boxes_to_image(b, (4, 6)),
    "small": lambda o, b, s: o.remove_small_boxes(b, 2.5),
    "focal": lambda o, b, s: o.sigmoid_focal_loss(b, (b > 3).to(b.dtype), 0.3, 1.5, "mean"),
    "giou loss": lambda o, b, s: o.generalized_box_iou_loss(b, b.flip(0), reduction="sum"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_values_are_torchvisions(name):
    found = CALLS[name](ops, tgrad.from_numpy(BOXES), tgrad.from_numpy(SCORES))
    want = CALLS[name](peer, torch.from_numpy(BOXES), torch.from_numpy(SCORES))
    assert str(found.dtype).replace("tgrad", "torch") == str(want.dtype)
    np.testing.assert_allclose(found.numpy(), want.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: o.Conv2dNormActivation(3, 4, (3, 5), dilation=2),
        lambda o: o.Conv3dNormActivation(3, 4, norm_layer=None),
        lambda o: o.SqueezeExcitation(4, 2),
        lambda o: o.MLP(4, [8, 3], dropout=0.1),
        lambda o: o.Permute([0, 2, 1]),
        lambda o: o.FrozenBatchNorm2d(4),
        lambda o: o.StochasticDepth(0.2, "row"),
        lambda o: o.FeaturePyramidNetwork([2, 4], 3),
    ],
)
def test_blocks_print_and_name_their_parameters_as_torchvisions(make):
    a, b = make(ops), make(peer)
    assert repr(a) == repr(b) and list(a.state_dict()) == list(b.state_dict())
