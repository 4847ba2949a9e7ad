"""Data sets that are installed with the library."""

from __future__ import annotations

import importlib.resources
import io

import numpy as np

from tgrad import dtypes
from tgrad.creation import from_numpy
from tgrad.tensor import Tensor
from tgrad.utils.data import TensorDataset


def digits() -> TensorDataset:
    """1,797 handwritten digits (Alpaydin & Kaynak 1998, CC BY 4.0): images and labels.

    Shape: images (1797, 1, 8, 8) in [0, 1], float32; labels (1797), int64.
    """
    packed = importlib.resources.files("tgrad").joinpath("data/digits.npz").read_bytes()
    with np.load(io.BytesIO(packed)) as arrays:
        images: Tensor = from_numpy(arrays["images"])
        labels: Tensor = from_numpy(arrays["labels"])
    return TensorDataset(images.to(dtypes.float32).unsqueeze(1) / 16, labels.to(dtypes.int64))


__all__ = ["digits"]
