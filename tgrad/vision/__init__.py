"""Images: transforms, data sets, models and what they are made of, under torchvision's names.

Images are tensors (..., C, H, W), uint8 in [0, 255] or floating in [0, 1], or Pillow's. Pillow is
imported when an image of its kind is met or asked for.
"""

from tgrad.vision import datasets, models, ops, transforms, utils

__all__ = ["datasets", "models", "ops", "transforms", "utils"]
