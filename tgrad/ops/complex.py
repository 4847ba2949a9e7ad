"""Parts of complex tensors, which live on the CPU, as views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.dispatch import composite, gradient, view

if TYPE_CHECKING:
    from tgrad.runtime.array import Array
    from tgrad.tensor import Tensor


@view(spaces=())
def _real(x: Tensor) -> Array:
    """The real parts of a complex tensor."""
    return x.array.real  # pyright: ignore[reportAttributeAccessIssue]


@gradient(_real)
def _(g, x_spec):
    return g.to(x_spec.dtype)


@view(spaces=())
def _imag(x: Tensor) -> Array:
    """The imaginary parts of a complex tensor."""
    return x.array.imag  # pyright: ignore[reportAttributeAccessIssue]


@gradient(_imag)
def _(g, x_spec):
    return g.to(x_spec.dtype) * 1j


@composite(spaces=("tgrad",))
def real(input: Tensor) -> Tensor:
    """The real parts, sharing memory; a real tensor itself."""
    return _real(input) if input.dtype.is_complex else input


@composite(spaces=("tgrad",))
def imag(input: Tensor) -> Tensor:
    """The imaginary parts, sharing memory. Raises RuntimeError for real tensors."""
    if not input.dtype.is_complex:
        raise RuntimeError(
            f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype}"
        )
    return _imag(input)
