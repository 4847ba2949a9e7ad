"""Weights of models: read from a file that the user has; nothing is fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from tgrad.nn import Module
from tgrad.serialization import load

Model = TypeVar("Model", bound=Module)
Weights = str | os.PathLike | Mapping[str, Any] | None


def loaded(model: Model, weights: Weights) -> Model:
    """``model`` with a state_dict, or with that of a file, PyTorch's or in .safetensors.

    Raises: ValueError for the name of weights that torchvision would fetch, FileNotFoundError,
    RuntimeError where names or shapes differ.
    """
    if weights is None:
        return model
    if not isinstance(weights, (str, os.PathLike, Mapping)):
        raise TypeError(
            f"weights: expected a path, a state_dict or None, got {type(weights).__name__}"
        )
    if isinstance(weights, str) and (weights == "DEFAULT" or weights.startswith("IMAGENET1K")):
        raise ValueError(
            f"weights: {weights!r} is not fetched; save the model's state_dict with PyTorch and "
            "give the path of that file"
        )
    state = weights if isinstance(weights, Mapping) else load(weights, map_location="cpu")
    model.load_state_dict(state)
    return model
