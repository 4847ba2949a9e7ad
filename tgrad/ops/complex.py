"""Complex tensors, which live on the CPU: their parts as views, and made of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.dispatch import composite, gradient, view
from tgrad.ops.maths import cos, sin
from tgrad.ops.shape import stack
from tgrad.ops.view import broadcast_tensors
from tgrad.runtime.array import CudaArray, as_strided

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


@view(spaces=("tgrad",))
def view_as_real(x: Tensor) -> Array:
    """The real and imaginary parts along a last dim of size 2, sharing memory.

    Shape: (...) complex -> (..., 2). Raises: RuntimeError for real tensors.
    """
    if not x.dtype.is_complex:
        raise RuntimeError(
            f"view_as_real is only supported for complex tensors, got {x.dtype.name}"
        )
    part = x.array.real  # pyright: ignore[reportAttributeAccessIssue]
    return as_strided(part, (*part.shape, 2), (*part.strides, part.itemsize))


@gradient(view_as_real)
def _(g):
    return view_as_complex(g.contiguous())


@view(spaces=("tgrad",))
def view_as_complex(x: Tensor) -> Array:
    """Pairs along the last dim as complex numbers, sharing memory.

    Shape: (..., 2) -> (...). dtype: float32 or float64 to complex64 or complex128.
    Raises: NotImplementedError on CUDA, RuntimeError for other dtypes, for a last dim of another
    size, and where pairs are not neighbours in memory or do not begin at multiples of two elements.
    """
    a = x.array
    if isinstance(a, CudaArray):
        raise NotImplementedError("view_as_complex: complex tensors live on the CPU only")
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for float and double tensors, got {x.dtype.name}"
        )
    if not a.shape or a.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: expected a tensor whose last dim has size 2, got {list(a.shape)}"
        )
    if a.size and a.strides[-1] != a.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if a.size and any(s % (2 * a.itemsize) for s in a.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    dtype = x.dtype.to_complex().numpy
    return a.view(dtype)[..., 0] if a.size else np.empty(a.shape[:-1], dtype)


@gradient(view_as_complex)
def _(g):
    return view_as_real(g)


@composite(spaces=("tgrad",))
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """real + 1j * imag.

    Shape: broadcasts. dtype: both float32 or both float64, to complex64 or complex128.
    Raises: RuntimeError for other dtypes or two different ones.
    """
    _check_parts("complex", real, imag)
    return view_as_complex(stack(broadcast_tensors(real, imag), -1))


@composite(spaces=("tgrad",))
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """abs * exp(1j * angle), the angle in radians. Shape, dtype, raises: as :func:`complex`."""
    _check_parts("polar", abs, angle)
    return complex(abs * cos(angle), abs * sin(angle))


def _check_parts(name: str, a: Tensor, b: Tensor) -> None:
    for x in (a, b):
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise RuntimeError(
                f"{name}: expected both inputs to be Float or Double tensors, got {a.dtype.name} "
                f"and {b.dtype.name}"
            )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"{name}: expected one dtype, got {a.dtype.name} and {b.dtype.name}")
