"""Boxes: their areas, overlaps and formats, and which of many that overlap to keep."""

from __future__ import annotations

import math

import numpy as np

from tgrad import dtypes
from tgrad.autograd import no_grad
from tgrad.creation import tensor, zeros
from tgrad.ops import atan, maximum, minimum, stack, unique, where
from tgrad.tensor import Tensor

FORMATS = ("xyxy", "xywh", "cxcywh")


def _wide(boxes: Tensor) -> Tensor:
    """In a dtype whose products do not overflow: float32 for halves, int64 for small integers."""
    if boxes.dtype.is_floating_point:
        return boxes.float() if boxes.dtype.itemsize < 4 else boxes
    return boxes.long() if boxes.dtype.itemsize < 4 else boxes


def _check_format(what: str, *formats: str) -> None:
    if any(f not in FORMATS for f in formats):
        raise ValueError(f"{what}: unsupported format, expected {FORMATS}, got {formats}")


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes of one format in another: corners, a corner and sizes, or the centre and sizes.

    Shape: (..., 4). Raises: ValueError for a format that is not among "xyxy", "xywh", "cxcywh".
    """
    _check_format("box_convert", in_fmt, out_fmt)
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "cxcywh":
        a, b = a - 0.5 * c, b - 0.5 * d
    if in_fmt != "xyxy":
        c, d = a + c, b + d
    if out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    elif out_fmt == "xywh":
        c, d = c - a, d - b
    return stack((a, b, c, d), -1)


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Width times height. Shape: (..., 4) -> (...). Raises: ValueError for an unknown format."""
    _check_format("box_area", fmt)
    boxes = _wide(boxes)
    if fmt == "xyxy":
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return boxes[..., 2] * boxes[..., 3]


def _overlap(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """(area of both, area of either) of each pair: (N, 4), (M, 4) -> (N, M)."""
    first = maximum(boxes1[..., None, :2], boxes2[..., None, :, :2])
    last = minimum(boxes1[..., None, 2:], boxes2[..., None, :, 2:])
    size = _wide(last - first).clamp(min=0)
    both = size[..., 0] * size[..., 1]
    return both, box_area(boxes1)[..., None] + box_area(boxes2)[..., None, :] - both


def _corners(boxes: Tensor, fmt: str) -> Tensor:
    return boxes if fmt == "xyxy" else box_convert(boxes, fmt, "xyxy")


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Area of both over area of either, of each pair. Shape: (N, 4), (M, 4) -> (N, M)."""
    _check_format("box_iou", fmt)
    both, either = _overlap(_corners(boxes1, fmt), _corners(boxes2, fmt))
    return both / either


def _hull(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Sizes of the smallest box around each pair: (N, M, 2)."""
    first = minimum(boxes1[..., None, :2], boxes2[..., None, :, :2])
    last = maximum(boxes1[..., None, 2:], boxes2[..., None, :, 2:])
    return _wide(last - first).clamp(min=0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU less the share of the hull that neither covers (Rezatofighi et al. 2019, 1902.09630).

    Shape: (N, 4), (M, 4) -> (N, M).
    """
    both, either = _overlap(boxes1, boxes2)
    size = _hull(boxes1, boxes2)
    hull = size[..., 0] * size[..., 1]
    return both / either - (hull - either) / hull


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less (distance of the centres / diagonal of the hull)^2 (Zheng et al. 2019, 1911.08287).

    Shape: (N, 4), (M, 4) -> (N, M).
    """
    boxes1, boxes2 = _wide(boxes1), _wide(boxes2)
    diagonal = _hull(boxes1, boxes2).square().sum(-1) + eps
    centres = [(b[..., :2] + b[..., 2:]) / 2 for b in (boxes1, boxes2)]
    distance = (centres[0][..., None, :] - centres[1][..., None, :, :]).square().sum(-1)
    return box_iou(boxes1, boxes2) - distance / diagonal


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """:func:`distance_box_iou` less a term for other proportions (Zheng et al. 2019)."""
    boxes1, boxes2 = _wide(boxes1), _wide(boxes2)
    iou = box_iou(boxes1, boxes2)
    angles = [atan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])) for b in (boxes1, boxes2)]
    v = 4 / math.pi**2 * (angles[0][..., None] - angles[1][..., None, :]).square()
    with no_grad():
        alpha = v / (1 - iou + v + eps)
    return distance_box_iou(boxes1, boxes2, eps) - alpha * v


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes cut off at the edges of an image of ``size`` (height, width). Shape: (..., 4)."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return stack((x, y), -1).reshape(boxes.shape)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Where both sides are at least ``min_size``: indices (K). Shape: (N, 4)."""
    w, h = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return where((w >= min_size) & (h >= min_size))[0]


def masks_to_boxes(masks: Tensor) -> Tensor:
    """The box around what is not zero in each mask. Shape: (N, H, W) -> (N, 4), float32."""
    found = zeros((len(masks), 4), device=masks.device)
    for box, mask in zip(found, masks, strict=True):
        y, x = where(mask != 0)
        box.copy_(stack((x.min(), y.min(), x.max(), y.max())))
    return found


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices to keep, best score first: no box overlaps a better one by more than the threshold.

    Overlaps are computed where the boxes are, as one (N, N) matrix; the choice goes box by box, on
    the host, since each depends on those before. Shape: (N, 4), (N) -> (K), int64.
    Raises: RuntimeError for other shapes.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise RuntimeError(
            f"nms: expected boxes (N, 4) and scores (N), got {tuple(boxes.shape)} and "
            f"{tuple(scores.shape)}"
        )
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes.detach()[order]
    near = (box_iou(ranked, ranked) > iou_threshold).cpu().numpy()
    dropped = np.zeros(len(near), bool)
    kept = []
    for i, row in enumerate(near):
        if not dropped[i]:
            kept.append(i)
            dropped |= row
    return order[tensor(kept, dtype=dtypes.int64, device=boxes.device)]


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """:func:`nms` among the boxes of each class ``idxs`` (N). Shape: (N, 4), (N), (N) -> (K)."""
    keep = zeros(scores.shape, dtype=dtypes.bool_, device=boxes.device)
    for kind in unique(idxs):
        here = where(idxs == kind)[0]
        keep[here[nms(boxes[here], scores[here], iou_threshold)]] = True
    found = where(keep)[0]
    return found[scores[found].argsort(descending=True, stable=True)]
