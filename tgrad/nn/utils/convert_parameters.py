"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tgrad.ops import cat
from tgrad.tensor import Tensor


def _check_devices(parameters: Sequence[Tensor]) -> None:
    if len({p.device for p in parameters}) > 1:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters in one vector, recorded by autograd.

    Raises: TypeError for parameters on different devices.
    """
    found = list(parameters)
    _check_devices(found)
    return cat([p.reshape(-1) for p in found])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make each parameter's ``data`` its slice of ``vec``, sharing memory.

    Raises: TypeError unless ``vec`` is a tensor, and for parameters on different devices.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected tgrad.Tensor, but got: {type(vec).__name__}")
    found = list(parameters)
    _check_devices(found)
    at = 0
    for p in found:
        n = p.numel()
        p.data = vec[at : at + n].view(p.shape).data
        at += n
