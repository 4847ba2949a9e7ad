"""Augmentation of whole batches: images and labels mixed with those of their neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tgrad import dtypes
from tgrad.nn import functional as N
from tgrad.tensor import Tensor
from tgrad.vision.pillow import is_pillow
from tgrad.vision.transforms import chance
from tgrad.vision.transforms.base import (
    Params,
    Transform,
    image_size,
    leaves,
    rebuilt,
    sample_of,
    which_are_images,
)


def find_labels(sample: Any) -> Any:
    """The second part of a sample if it is a tensor; else the entry whose name tells.

    That is "labels" in any case, or else the first with "label" in its name.
    Raises: ValueError where there is neither.
    """
    part = sample[1] if isinstance(sample, (tuple, list)) else sample
    if isinstance(part, Tensor):
        return part
    if not isinstance(part, Mapping):
        raise ValueError(
            "When using the default labels_getter, the input passed to forward must be a "
            "dictionary or a two-tuple whose second item is a dictionary or a tensor, but got "
            f"{type(part).__name__} instead."
        )
    names = [k for k in part if k.lower() == "labels"] + [k for k in part if "label" in k.lower()]
    if not names:
        raise ValueError(
            "Could not infer where the labels are in the sample; pass a callable as labels_getter."
        )
    return part[names[0]]


class _Mix(Transform):
    """Each row with the row before it, in shares that are drawn once for the batch.

    Takes a batch of images (N, C, H, W) and labels (N) or (N, classes), as arguments or nested;
    labels become probabilities (N, classes).
    """

    def __init__(
        self, *, alpha: float = 1.0, num_classes: int | None = None,
        labels_getter: str | Callable[[Any], Any] = "default",
    ):  # fmt: skip
        super().__init__()
        if alpha <= 0:
            raise ValueError(f"alpha should be positive, got {alpha}")
        if labels_getter != "default" and not callable(labels_getter):
            raise ValueError(
                f"labels_getter should either be 'default' or a callable, but got {labels_getter}."
            )
        self.alpha, self.num_classes = float(alpha), num_classes
        self._labels_getter = labels_getter

    def forward(self, *inputs: Any) -> Any:
        sample = sample_of(inputs)
        flat = leaves(sample)
        if any(is_pillow(leaf) for leaf in flat):
            raise ValueError(f"{type(self).__name__}() does not support PIL images.")
        getter = self._labels_getter
        labels = getter(sample) if callable(getter) else find_labels(sample)
        self._check_labels(labels)
        images = [leaf for leaf, yes in zip(flat, which_are_images(flat), strict=True) if yes]
        for image in images:
            self._check_images(image, labels.shape[0])
        params = {**self.make_params(images), "labels": labels}
        chosen = {id(leaf) for leaf in (*images, labels)}
        new = [self.transform(leaf, params) if id(leaf) in chosen else leaf for leaf in flat]
        return rebuilt(sample, iter(new))

    def _check_labels(self, labels: Any) -> None:
        if not isinstance(labels, Tensor):
            raise ValueError(f"The labels must be a tensor, but got {type(labels)} instead.")
        if labels.ndim not in (1, 2):
            raise ValueError(
                "labels should be index based with shape (batch_size,) or probability based with "
                f"shape (batch_size, num_classes), but got a tensor of shape {labels.shape}."
            )
        if labels.ndim == 2 and self.num_classes not in (None, labels.shape[1]):
            raise ValueError(
                "When passing 2D labels, the number of elements in last dimension must match "
                f"num_classes: {labels.shape[1]} != {self.num_classes}."
            )
        if labels.ndim == 1 and self.num_classes is None:
            raise ValueError("num_classes must be passed if the labels are index-based (1D)")

    def _check_images(self, images: Tensor, rows: int) -> None:
        if images.ndim != 4:
            raise ValueError(f"Expected a batched input with 4 dims, but got {images.ndim}.")
        if images.shape[0] != rows:
            raise ValueError(
                "The batch size of the image does not match the batch size of the labels: "
                f"{images.shape[0]} != {rows}."
            )

    def _mixed_labels(self, labels: Tensor, share: float) -> Tensor:
        if labels.ndim == 1:
            assert self.num_classes is not None
            labels = N.one_hot(labels, self.num_classes)
        if not labels.dtype.is_floating_point:
            labels = labels.to(dtypes.float32)
        return labels * share + labels.roll(1, 0) * (1.0 - share)


class MixUp(_Mix):
    """share x_i + (1 - share) x_(i-1), share from Beta(alpha, alpha).

    Zhang et al. 2017, arXiv:1710.09412.
    """

    def make_params(self, flat_inputs: list[Any]) -> Params:
        return {"share": chance.dirichlet([self.alpha] * 2)[0]}

    def transform(self, inpt: Tensor, params: Params) -> Tensor:
        share = params["share"]
        if inpt is params["labels"]:
            return self._mixed_labels(inpt, share)
        return (inpt * share + inpt.roll(1, 0) * (1.0 - share)).to(inpt.dtype)


class CutMix(_Mix):
    """A random rectangle of each image is the one before's (Yun et al. 2019, arXiv:1905.04899).

    It has a share of Beta(alpha, alpha) of the area before it is cut off at the edges; labels are
    mixed by what is left of it.
    """

    def make_params(self, flat_inputs: list[Any]) -> Params:
        _, h, w = image_size([image[0] for image in flat_inputs])
        half = 0.5 * math.sqrt(chance.dirichlet([self.alpha] * 2)[1])
        box, kept = [], 1
        for side in (h, w):
            middle, reach = chance.integer(0, side), int(half * side)
            ends = max(middle - reach, 0), min(middle + reach, side)
            box.append(slice(*ends))
            kept *= ends[1] - ends[0]
        return {"box": tuple(box), "share": 1.0 - kept / (h * w)}

    def transform(self, inpt: Tensor, params: Params) -> Tensor:
        if inpt is params["labels"]:
            return self._mixed_labels(inpt, params["share"])
        rows, columns = params["box"]
        image = inpt.clone()
        image[..., rows, columns] = inpt.roll(1, 0)[..., rows, columns]
        return image
