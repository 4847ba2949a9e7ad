"""Matrix products: ``matmul`` and its named cases, ``addmm`` with its scaled sum, ``linear``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.reduction import with_out
from tgrad.pointwise import broadcast

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- checks --------------------------------------------------------------------------------------


def check_tensor(name: str, argument: str, x: object) -> None:
    if not isinstance(x, Variable):
        raise TypeError(f"{name}(): argument '{argument}' must be Tensor, not {type(x).__name__}")


def check_dtypes(name: str, x: Tensor, other: Tensor) -> None:
    """Raise RuntimeError unless both have one dtype, NotImplementedError for bool."""
    a, b = x.dtype, other.dtype
    if a is not b:
        raise RuntimeError(
            f"{name}: expected m1 and m2 to have the same dtype, but got: {a.name} != {b.name}"
        )
    if a is dtypes.bool_:
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")


def check_addend(name: str, x: Tensor, other: Tensor, shape: tuple[int, ...]) -> None:
    """Raise RuntimeError unless ``x`` has ``other``'s dtype and broadcasts to ``shape``."""
    if x.dtype is not other.dtype:
        raise RuntimeError(
            f"{name}: self and mat2 must have the same dtype, but got {x.dtype.name} and "
            f"{other.dtype.name}"
        )
    have = x.shape
    extra = len(shape) - len(have)
    if extra < 0 or any(n not in (1, m) for n, m in zip(have, shape[extra:], strict=True)):
        raise RuntimeError(
            f"{name}: The expanded size of the tensor must match the existing size. "
            f"Target sizes: {list(shape)}. Tensor sizes: {list(have)}"
        )


def check_inner(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Raise RuntimeError unless matrices ``a`` (..., M, K) and ``b`` (..., K, N) multiply."""
    if a[-1] != b[-2]:
        raise RuntimeError(
            f"{name}: mat1 and mat2 shapes cannot be multiplied "
            f"({math.prod(a[:-1])}x{a[-1]} and {b[-2]}x{b[-1]})"
        )


def product_shape(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a product by ``matmul``'s rules. Raises RuntimeError where there is none."""
    m, n = len(a), len(b)
    if m == 0 or n == 0:
        raise RuntimeError(
            f"{name}: both arguments to matmul need to be at least 1D, but they are {m}D and {n}D"
        )
    if m == 1 and n == 1:
        if a != b:
            raise RuntimeError(
                f"{name}: inconsistent tensor size, expected tensor {list(a)} and src {list(b)} to "
                f"have the same number of elements, but got {a[0]} and {b[0]} elements respectively"
            )
        return ()
    if n == 1:
        if a[-1] != b[0]:
            rows = math.prod(a[:-1])
            raise RuntimeError(
                f"{name}: size mismatch, got input ({rows}), mat ({rows}x{a[-1]}), vec ({b[0]})"
            )
        return a[:-1]
    if m == 1:
        check_inner(name, (1, *a), b)
        return (*b[:-2], b[-1])
    if n > 2 and m > 2 and a[-1] != b[-2]:
        batch = broadcast(name, (a[:-2], b[:-2]))
        raise RuntimeError(
            f"{name}: Expected size for first two dimensions of batch2 tensor to be: "
            f"[{math.prod(batch)}, {a[-1]}] but got: [{math.prod(batch)}, {b[-2]}]."
        )
    check_inner(name, a, b)
    return (*broadcast(name, (a[:-2], b[:-2])), a[-2], b[-1])


# ---- matmul --------------------------------------------------------------------------------------


@op
def matmul(x: Tensor, other: Tensor) -> Spec:
    """Matrix product over the last two dims; the dims before them broadcast.

    y[..., m, n] = sum_k x[..., m, k] other[..., k, n]. A 1-D ``x`` is a row, a 1-D ``other`` a
    column, and that dim is dropped again from the result.

    Shape: (..., M, K), (..., K, N) -> (..., M, N).
    dtype: both alike, any but bool; float16 and bfloat16 are summed in float32 and rounded once,
    integers wrap. PyTorch has integer products on the CPU only.
    Raises: RuntimeError where sizes or dtypes do not agree, NotImplementedError for bool.
    """
    a, b = x.array.shape, other.array.shape
    if len(a) == 2 and len(b) == 2 and a[1] == b[0]:
        shape = (a[0], b[1])
    else:
        shape = product_shape("matmul", a, b)
    dtype = x.dtype
    if other.array.dtype is not x.array.dtype or dtype is dtypes.bool_:
        check_dtypes("matmul", x, other)
    return Spec(shape, dtype)


def _conj(x: Tensor) -> Tensor:
    return x.conj() if x.dtype.is_complex else x


def _adjoint(x: Tensor) -> Tensor:
    """The matrices transposed, and conjugated where complex."""
    return _conj(x.transpose(-1, -2))


def column(x: Tensor) -> Tensor:
    """The last dim as a column: (..., N) -> (..., N, 1)."""
    return x.reshape(*x.shape, 1)


def rows(x: Tensor) -> Tensor:
    """All dims but the last as one."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@gradient(matmul, "x")
def _(g, other, x_spec):
    # dx = g other^H; the engine sums over dims that x was broadcast along.
    if other.ndim == 1:
        return g * _conj(other) if x_spec.ndim == 1 else column(g) * _conj(other)
    if x_spec.ndim == 1:
        return matmul(_conj(other), column(g)).reshape(*other.shape[:-1])
    if x_spec.ndim == 2 and other.ndim > 2:
        # The sum over the batch is part of one product of (M, B N) and (B N, K).
        return matmul(rows(g.transpose(-1, -2)).transpose(0, 1), rows(_adjoint(other)))
    return matmul(g, _adjoint(other))


@gradient(matmul, "other")
def _(g, x, other_spec):
    # dother = x^H g
    if other_spec.ndim == 1:
        return _conj(x) * g if x.ndim == 1 else matmul(g.reshape(-1), _conj(rows(x)))
    if x.ndim == 1:
        return column(_conj(x)) * g.reshape(*g.shape[:-1], 1, g.shape[-1])
    if other_spec.ndim == 2:
        return matmul(_adjoint(rows(x)), rows(g))
    return matmul(_adjoint(x), g)


def check_matrix(name: str, argument: str, x: Tensor, ndim: int = 2) -> None:
    check_tensor(name, argument, x)
    if x.ndim != ndim:
        what = "a matrix" if ndim == 2 else f"a {ndim}D tensor"
        raise RuntimeError(f"{name}: {argument} must be {what}, got {x.ndim}-D tensor")


@composite
@with_out
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices, without broadcasting.

    Shape: (M, K), (K, N) -> (M, N).
    Raises: RuntimeError unless both are matrices that multiply.
    """
    check_matrix("mm", "self", input)
    check_matrix("mm", "mat2", mat2)
    check_inner("mm", input.shape, mat2.shape)
    return matmul(input, mat2)


def check_batches(name: str, a: Tensor, b: Tensor) -> None:
    check_matrix(name, "batch1", a, 3)
    check_matrix(name, "batch2", b, 3)
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(
            f"{name}: Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a.shape[0]}, {a.shape[2]}] but got: [{b.shape[0]}, {b.shape[1]}]."
        )


@composite
@with_out
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices, without broadcasting.

    Shape: (B, M, K), (B, K, N) -> (B, M, N).
    Raises: RuntimeError unless both are 3-D and agree.
    """
    check_batches("bmm", input, mat2)
    return matmul(input, mat2)


# ---- addmm ---------------------------------------------------------------------------------------


def check_scalars(name: str, dtype: dtypes.dtype, beta: float, alpha: float) -> None:
    for label, value in (("beta", beta), ("alpha", alpha)):
        if not isinstance(value, (int, float, complex)):
            raise TypeError(
                f"{name}(): argument '{label}' must be Number, not {type(value).__name__}"
            )
        if isinstance(value, complex) and not dtype.is_complex:
            raise RuntimeError(f"{name}: {label} {value} cannot be converted to {dtype.name}")


def scaled_by(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


@op(inplace="direct")
def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1) -> Spec:
    """beta * input + alpha * (mat1 @ mat2), in one kernel.

    Where beta is 0 the input is not read, so that its NaNs do not spread.

    Shape: broadcastable to (M, N), (M, K), (K, N) -> (M, N).
    dtype: all alike; for integers beta and alpha are truncated.
    Raises: RuntimeError where sizes or dtypes do not agree.
    """
    check_matrix("addmm", "mat1", mat1)
    check_matrix("addmm", "mat2", mat2)
    check_inner("addmm", mat1.shape, mat2.shape)
    check_dtypes("addmm", mat1, mat2)
    shape = (mat1.shape[0], mat2.shape[1])
    check_addend("addmm", x, mat2, shape)
    check_scalars("addmm", x.dtype, beta, alpha)
    return Spec(shape, x.dtype)


@gradient(addmm, "x")
def _(g, beta):
    return scaled_by(g, beta)


@gradient(addmm, "mat1")
def _(g, mat2, alpha):
    return scaled_by(matmul(g, _adjoint(mat2)), alpha)


@gradient(addmm, "mat2")
def _(g, mat1, alpha):
    return scaled_by(matmul(_adjoint(mat1), g), alpha)


@op(inplace="direct")
def baddbmm(x: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Spec:
    """beta * input + alpha * (batch1 @ batch2) for each matrix of a batch, in one kernel.

    Shape: broadcastable to (B, M, N), (B, M, K), (B, K, N) -> (B, M, N).
    dtype: all alike; for integers beta and alpha are truncated.
    Raises: RuntimeError where sizes or dtypes do not agree.
    """
    check_batches("baddbmm", batch1, batch2)
    check_dtypes("baddbmm", batch1, batch2)
    shape = (batch1.shape[0], batch1.shape[1], batch2.shape[2])
    check_addend("baddbmm", x, batch2, shape)
    check_scalars("baddbmm", x.dtype, beta, alpha)
    return Spec(shape, x.dtype)


@gradient(baddbmm, "x")
def _(g, beta):
    return scaled_by(g, beta)


@gradient(baddbmm, "batch1")
def _(g, batch2, alpha):
    return scaled_by(matmul(g, _adjoint(batch2)), alpha)


@gradient(baddbmm, "batch2")
def _(g, batch1, alpha):
    return scaled_by(matmul(_adjoint(batch1), g), alpha)


# ---- linear --------------------------------------------------------------------------------------


@op(spaces=("nn.functional",))
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Spec:
    """x W^T + b, the bias added before the product is stored.

    Shape: (..., K), (N, K), (N) -> (..., N); with a weight of (K) the result is (...).
    dtype: all alike; float16 and bfloat16 are summed in float32, bias included, and rounded once.
    Raises: RuntimeError where sizes or dtypes do not agree.
    """
    a, w = x.shape, weight.shape
    if not a or not w:
        raise RuntimeError(
            "linear: both arguments to linear need to be at least 1D, but they are "
            f"{len(a)}D and {len(w)}D"
        )
    if weight.ndim > 2:
        raise RuntimeError(f"linear: weight must have 1 or 2 dimensions, but it is {len(w)}D")
    if a[-1] != w[-1]:
        raise RuntimeError(
            "linear: mat1 and mat2 shapes cannot be multiplied "
            f"({math.prod(a[:-1])}x{a[-1]} and {w[-1]}x{w[0] if len(w) == 2 else 1})"
        )
    check_dtypes("linear", x, weight)
    shape = (*a[:-1], *w[:-1])
    if bias is not None:
        check_addend("linear", bias, weight, shape)
    return Spec(shape, x.dtype)


@gradient(linear, "x")
def _(g, weight):
    # dx = g W
    return column(g) * _conj(weight) if weight.ndim == 1 else matmul(g, _conj(weight))


@gradient(linear, "weight")
def _(g, x, weight_spec):
    # dW = g^T x over all rows as one product, transposed views of both
    if weight_spec.ndim == 1:
        return matmul(g.reshape(-1), _conj(rows(x)))
    if x.ndim == 1:
        return column(g) * _conj(x)
    return matmul(rows(g).transpose(0, 1), _conj(rows(x)))


@gradient(linear, "bias")
def _(g):
    return g  # the engine sums over the rows
