"""Boxes, losses and blocks of detectors: small cases worked out by hand, and claims."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tgrad.vision import ops

A = tgrad.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [10.0, 10.0, 12.0, 11.0]])


def test_formats_are_converted_there_and_back():
    centre = ops.box_convert(A, "xyxy", "cxcywh")
    assert centre[1].tolist() == [2.0, 2.0, 2.0, 2.0]
    assert ops.box_convert(A, "xyxy", "xywh")[2].tolist() == [10.0, 10.0, 2.0, 1.0]
    for fmt in ("xywh", "cxcywh"):
        assert ops.box_convert(ops.box_convert(A, "xyxy", fmt), fmt, "xyxy").equal(A)
    with pytest.raises(ValueError, match="unsupported format"):
        ops.box_convert(A, "xyxy", "polar")


def test_areas_and_overlaps():
    assert ops.box_area(A).tolist() == [4.0, 4.0, 2.0]
    iou = ops.box_iou(A, A)
    assert iou.diagonal().tolist() == [1.0, 1.0, 1.0] and iou[0, 2] == 0
    assert iou[0, 1].item() == pytest.approx(1 / 7)
    general = ops.generalized_box_iou(A, A)  # the hull of the first two is 9, 2 of it in neither
    assert general[0, 1].item() == pytest.approx(1 / 7 - 2 / 9) and general[0, 2] < 0
    distance = ops.distance_box_iou(A, A)  # centres are 1, 1 apart, the hull's diagonal is 3, 3
    assert distance[0, 1].item() == pytest.approx(1 / 7 - 2 / 18)
    assert tgrad.allclose(ops.complete_box_iou(A[:2], A[:2]), distance[:2, :2])  # both square
    small = tgrad.tensor([[0, 0, 20, 20]], dtype=tgrad.uint8)
    assert ops.box_area(small).tolist() == [400]


def test_the_best_of_overlapping_boxes_are_kept_in_the_order_of_their_scores():
    boxes = tgrad.cat([A, A[:1] + 0.1])
    scores = tgrad.tensor([0.5, 0.6, 0.9, 0.8])
    assert ops.nms(boxes, scores, 0.5).tolist() == [2, 3, 1]
    assert ops.nms(boxes, scores, 0.05).tolist() == [2, 3]
    assert ops.nms(boxes[:0], scores[:0], 0.5).shape == (0,)
    kinds = tgrad.tensor([0, 0, 1, 1])
    assert ops.batched_nms(boxes, scores, kinds, 0.05).tolist() == [2, 3, 1]
    with pytest.raises(RuntimeError, match="nms: expected boxes"):
        ops.nms(boxes, scores[:2], 0.5)


def test_many_boxes_are_kept_as_a_loop_over_pairs_keeps_them():
    rng = np.random.default_rng(0)
    corner = rng.random((60, 2), dtype=np.float32) * 8
    boxes = tgrad.from_numpy(np.concatenate([corner, corner + 1 + rng.random((60, 2))], 1)).float()
    scores = tgrad.from_numpy(rng.random(60, dtype=np.float32))
    iou, kept = ops.box_iou(boxes, boxes).tolist(), []
    for i in scores.argsort(descending=True).tolist():
        if all(iou[i][k] <= 0.3 for k in kept):
            kept.append(i)
    assert ops.nms(boxes, scores, 0.3).tolist() == kept and len(kept) < 50


def test_boxes_are_clipped_sifted_and_found_around_masks():
    assert ops.clip_boxes_to_image(A, (2, 11))[2].tolist() == [10.0, 2.0, 11.0, 2.0]
    assert ops.remove_small_boxes(A, 1.5).tolist() == [0, 1]
    masks = tgrad.zeros(2, 5, 6)
    masks[0, 1:3, 2:5] = 1
    masks[1, 4, 0] = 1
    assert ops.masks_to_boxes(masks).tolist() == [[2.0, 1.0, 4.0, 2.0], [0.0, 4.0, 0.0, 4.0]]


def test_losses_are_smaller_for_what_is_right():
    x, t = tgrad.tensor([2.0, -2.0], requires_grad=True), tgrad.tensor([1.0, 1.0])
    each = ops.sigmoid_focal_loss(x, t)
    assert each[0] < 0.01 < each[1]
    plain = ops.sigmoid_focal_loss(x, t, alpha=-1, gamma=0, reduction="sum")
    assert plain.item() == pytest.approx(0.126928 + 2.126928, rel=1e-5)
    each.sum().backward()
    assert x.grad is not None and x.grad[1] < x.grad[0] < 0
    loss = ops.generalized_box_iou_loss(A[:2], A[[1, 1]])
    assert loss.tolist() == pytest.approx([1 - (1 / 7 - 2 / 9), 0.0], abs=1e-6)
    with pytest.raises(ValueError, match="alpha is in"):
        ops.sigmoid_focal_loss(x, t, alpha=2)


def test_a_frozen_norm_takes_a_norms_state_and_does_what_it_did():
    norm, frozen = tgrad.nn.BatchNorm2d(3), ops.FrozenBatchNorm2d(3)
    x = tgrad.arange(2.0 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    norm(x)
    frozen.load_state_dict(norm.state_dict())
    assert tgrad.allclose(frozen(x), norm.eval()(x), atol=1e-5)
    assert not list(frozen.parameters()) and repr(frozen) == "FrozenBatchNorm2d(3, eps=1e-05)"


def test_stochastic_depth_leaves_out_whole_rows_and_keeps_the_mean():
    tgrad.manual_seed(0)
    y = ops.stochastic_depth(tgrad.ones(200, 3), 0.25, "row")
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert y.std(1).max() == 0 and 0.8 < y.mean() < 1.2
    assert ops.StochasticDepth(0.5, "batch").eval()(y) is y
    with pytest.raises(ValueError, match="mode has to be"):
        ops.stochastic_depth(y, 0.5, "column")


def test_a_pyramid_gives_every_scale_the_same_channels():
    net = ops.FeaturePyramidNetwork([2, 4], 3)
    maps = net({"fine": tgrad.ones(1, 2, 8, 8), "coarse": tgrad.ones(1, 4, 4, 4)})
    assert [(k, tuple(v.shape)) for k, v in maps.items()] == [
        ("fine", (1, 3, 8, 8)),
        ("coarse", (1, 3, 4, 4)),
    ]
    maps["fine"].sum().backward()
    assert net.inner_blocks[1][0].weight.grad is not None  # through the coarser map
