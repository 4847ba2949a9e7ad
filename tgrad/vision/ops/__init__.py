"""What detectors and their backbones are made of, under torchvision's names.

Boxes are rows (x1, y1, x2, y2) unless a format is named. Pooling of regions and deformable
convolutions are not here.
"""

from tgrad.vision.ops.boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
    masks_to_boxes,
    nms,
    remove_small_boxes,
)  # fmt: skip
from tgrad.vision.ops.losses import generalized_box_iou_loss, sigmoid_focal_loss
from tgrad.vision.ops.misc import (
    MLP,
    Conv2dNormActivation,
    Conv3dNormActivation,
    FrozenBatchNorm2d,
    Permute,
    SqueezeExcitation,
)  # fmt: skip
from tgrad.vision.ops.pyramid import FeaturePyramidNetwork
from tgrad.vision.ops.stochastic_depth import StochasticDepth, stochastic_depth

__all__ = [
    "MLP", "Conv2dNormActivation", "Conv3dNormActivation", "FeaturePyramidNetwork",
    "FrozenBatchNorm2d", "Permute", "SqueezeExcitation", "StochasticDepth", "batched_nms",
    "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "complete_box_iou",
    "distance_box_iou", "generalized_box_iou", "generalized_box_iou_loss", "masks_to_boxes", "nms",
    "remove_small_boxes", "sigmoid_focal_loss", "stochastic_depth",
]  # fmt: skip
