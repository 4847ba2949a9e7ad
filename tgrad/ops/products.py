"""The named products of vectors and matrices, all by ``matmul``, ``addmm`` and ``mul``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad.dispatch import composite
from tgrad.ops.matmul import addmm, check_batches, check_dtypes, check_tensor, column, matmul
from tgrad.ops.reduction import with_out
from tgrad.ops.view import distinct_dims

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- vectors -------------------------------------------------------------------------------------


def _check_vectors(name: str, x: Tensor, y: Tensor) -> None:
    """Raise RuntimeError unless both are 1-D, of one length and dtype."""
    check_tensor(name, "input", x)
    check_tensor(name, "other", y)
    if x.ndim != 1 or y.ndim != 1:
        raise RuntimeError(f"{name}: 1D tensors expected, but got {x.ndim}D and {y.ndim}D tensors")
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"{name}: expected both vectors to have same dtype, but found {x.dtype.name} and "
            f"{y.dtype.name}"
        )
    if x.shape != y.shape:
        raise RuntimeError(
            f"{name}: inconsistent tensor size, expected tensor {list(x.shape)} and src "
            f"{list(y.shape)} to have the same number of elements, but got {x.numel()} and "
            f"{y.numel()} elements respectively"
        )


@composite
@with_out
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """sum_i input_i tensor_i of two vectors.

    Shape: (N), (N) -> ().
    Raises: RuntimeError unless both are 1-D, of one length and dtype.
    """
    _check_vectors("dot", input, tensor)
    return matmul(input, tensor)


@composite
@with_out
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """sum_i conj(input_i) other_i of two vectors.

    Shape: (N), (N) -> ().
    Raises: RuntimeError unless both are 1-D, of one length and dtype.
    """
    _check_vectors("vdot", input, other)
    return matmul(input.conj() if input.dtype.is_complex else input, other)


@composite
@with_out
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """input_i vec2_j of two vectors; dtypes promote.

    Shape: (M), (N) -> (M, N).
    Raises: RuntimeError unless both are 1-D.
    """
    return _outer("outer", "self", input, vec2)


def _outer(name: str, first: str, x: Tensor, y: Tensor) -> Tensor:
    for label, v in ((first, x), ("vec2", y)):
        check_tensor(name, label, v)
        if v.ndim != 1:
            raise RuntimeError(f"{name}: Expected 1-D argument {label}, but got {v.ndim}-D")
    return column(x) * y


@composite
@with_out
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """The old name of :func:`outer`."""
    return _outer("ger", "self", input, vec2)


@composite
@with_out
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last dim of both; a product where one is 0-d.

    Shape: (*A, K), (*B, K) -> (*A, *B).
    Raises: RuntimeError where last dims or dtypes differ.
    """
    check_tensor("inner", "input", input)
    check_tensor("inner", "other", other)
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"inner: both inputs should have same dtype, got {input.dtype.name} and "
            f"{other.dtype.name}"
        )
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


# ---- matrix and vector ---------------------------------------------------------------------------


def _check_mv(name: str, mat: Tensor, vec: Tensor, ndim: int = 1) -> None:
    check_tensor(name, "mat", mat)
    check_tensor(name, "vec", vec)
    if mat.ndim != 2 or vec.ndim != 1 or ndim > 1:
        raise RuntimeError(
            f"{name}: vector + matrix @ vector expected, got {ndim}, {mat.ndim}, {vec.ndim}"
        )
    if mat.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"{name}: size mismatch, got mat ({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )
    check_dtypes(name, mat, vec)


@composite
@with_out
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """input @ vec of a matrix and a vector.

    Shape: (M, K), (K) -> (M).
    Raises: RuntimeError for other ranks, or sizes that do not agree.
    """
    _check_mv("mv", input, vec)
    return matmul(input, vec)


@composite(inplace=True)
@with_out
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec); where beta is 0 the input is not read.

    Shape: broadcastable to (M), (M, K), (K) -> (M).
    Raises: RuntimeError for other ranks, or sizes that do not agree.
    """
    check_tensor("addmv", "input", input)
    _check_mv("addmv", mat, vec, input.ndim)
    if input.ndim and input.shape[0] not in (1, mat.shape[0]):
        raise RuntimeError(
            f"addmv: size mismatch, got input ({input.shape[0]}), mat "
            f"({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )
    return addmm(column(input), mat, column(vec), beta=beta, alpha=alpha).reshape(mat.shape[0])


@composite(inplace=True)
@with_out
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2); dtypes promote, a beta of 0 ignores the input.

    Shape: broadcastable to (M, N), (M), (N) -> (M, N).
    Raises: RuntimeError for other ranks, or an input that does not broadcast.
    """
    check_tensor("addr", "input", input)
    product = _outer("addr", "vec1", vec1, vec2)
    if input.ndim > 2 or any(
        n not in (1, m) for n, m in zip(input.shape[::-1], product.shape[::-1], strict=False)
    ):
        raise RuntimeError(
            "addr: The expanded size of the tensor must match the existing size. Target sizes: "
            f"{list(product.shape)}. Tensor sizes: {list(input.shape)}"
        )
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


@composite(inplace=True)
@with_out
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * sum_b batch1_b @ batch2_b, the sum over b as part of one product.

    Shape: broadcastable to (M, N), (B, M, K), (B, K, N) -> (M, N).
    Raises: RuntimeError for other ranks, or sizes that do not agree.
    """
    check_tensor("addbmm", "input", input)
    check_batches("addbmm", batch1, batch2)
    b, m, k = batch1.shape
    wide = batch1.permute(1, 0, 2).reshape(m, b * k)
    return addmm(input, wide, batch2.reshape(b * k, batch2.shape[2]), beta=beta, alpha=alpha)


# ---- several dims and several matrices -----------------------------------------------------------


@composite
@with_out
def tensordot(
    a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] | Sequence[int] = 2
) -> Tensor:
    """Sum of products over pairs of dims.

    ``dims`` is a count (the last of ``a`` with the first of ``b``) or two lists of equal length.

    Shape: the remaining dims of a, then those of b.
    Raises: RuntimeError where sizes, counts or dtypes do not agree, IndexError out of range.
    """
    check_tensor("tensordot", "a", a)
    check_tensor("tensordot", "b", b)
    pairs = _tensordot_dims(a, b, dims)
    axes_a, axes_b = [i for i, _ in pairs], [j for _, j in pairs]
    rest_a = [i for i in range(a.ndim) if i not in axes_a]
    rest_b = [j for j in range(b.ndim) if j not in axes_b]
    shape_a, shape_b = [a.shape[i] for i in rest_a], [b.shape[j] for j in rest_b]
    # A pair of sizes 1 and n sums over the n.
    for i, j in pairs:
        if a.shape[i] != b.shape[j]:
            a = a.sum(i, keepdim=True) if b.shape[j] == 1 else a
            b = b.sum(j, keepdim=True) if a.shape[i] == 1 else b
    inner_size = math.prod(a.shape[i] for i in axes_a)
    left = a.permute(*rest_a, *axes_a) if a.ndim else a
    right = b.permute(*axes_b, *rest_b) if b.ndim else b
    y = matmul(
        left.reshape(math.prod(shape_a), inner_size), right.reshape(inner_size, math.prod(shape_b))
    )
    return y.reshape(*shape_a, *shape_b) if shape_a or shape_b else y.reshape(())


def _tensordot_dims(a: Tensor, b: Tensor, dims: object) -> list[tuple[int, int]]:
    """Pairs of non-negative dims to be summed over, checked."""
    if hasattr(dims, "tolist"):
        dims = dims.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)  # pyright: ignore[reportGeneralTypeIssues]
    if len(first) != len(second):
        raise RuntimeError(
            f"tensordot: both dimension lists should have same length, got {len(first)} and "
            f"{len(second)}"
        )
    axes_a = distinct_dims("tensordot", first, a.ndim) if first else ()
    axes_b = distinct_dims("tensordot", second, b.ndim) if second else ()
    for i, j in zip(axes_a, axes_b, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(
                f"tensordot: contracted dimensions need to match, but first has size {a.shape[i]} "
                f"in dim {i} and second has size {b.shape[j]} in dim {j}"
            )
    return list(zip(axes_a, axes_b, strict=True))


@composite
@with_out
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product: every element of ``input`` times the whole of ``other``.

    Shape: (A1, .. An), (B1, .. Bn) -> (A1 B1, .. An Bn), the shorter filled with 1 in front.
    """
    check_tensor("kron", "input", input)
    check_tensor("kron", "other", other)
    n = max(input.ndim, other.ndim)
    a = (1,) * (n - input.ndim) + input.shape
    b = (1,) * (n - other.ndim) + other.shape
    spread_a = [size for m in a for size in (m, 1)]
    spread_b = [size for m in b for size in (1, m)]
    y = input.reshape(*spread_a) * other.reshape(*spread_b) if n else input * other
    return y.reshape(tuple(p * q for p, q in zip(a, b, strict=True)))


@composite(spaces=("linalg",))
@with_out
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Product of a chain of matrices, in the order that takes the fewest multiplications.

    The first may be a row vector and the last a column vector (1-D). The order is found by dynamic
    programming (Cormen et al., Introduction to Algorithms, section 15.2).

    Raises: RuntimeError for fewer than two tensors, other ranks, or sizes that do not agree.
    """
    tensors = list(tensors)
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    for i, x in enumerate(tensors):
        check_tensor("multi_dot", "tensors", x)
        ends = i in (0, n - 1)
        if x.ndim != 2 and not (ends and x.ndim == 1):
            what = "1D or 2D" if ends else "2D"
            raise RuntimeError(f"multi_dot(): tensor {i} must be {what} but got {x.ndim}D")
    shapes = [list(x.shape) for x in tensors]
    if len(shapes[0]) == 1:
        shapes[0] = [1, *shapes[0]]
    if len(shapes[-1]) == 1:
        shapes[-1] = [*shapes[-1], 1]
    for i in range(n - 1):
        if shapes[i][1] != shapes[i + 1][0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(tensors[i].shape)} and "
                f"{list(tensors[i + 1].shape)} cannot be multiplied"
            )
    order = chain_order([shapes[0][0], *(s[1] for s in shapes)])

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return tensors[i]
        k = order[i, j]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


def chain_order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each span (i, j) of a chain whose matrix i is sizes[i] x sizes[i + 1]."""
    n = len(sizes) - 1
    best = {(i, i): 0 for i in range(n)}
    order = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = [
                (best[i, k] + best[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            best[i, j], order[i, j] = min(costs)
    return order


@composite(spaces=("tgrad",))
@with_out
def chain_matmul(*matrices: Tensor) -> Tensor:
    """Product of a chain of matrices in the best order. See :func:`tgrad.linalg.multi_dot`."""
    if len(matrices) == 1:
        return matrices[0]
    for x in matrices:
        check_tensor("chain_matmul", "matrices", x)
        if x.ndim != 2:
            raise RuntimeError(f"chain_matmul: Tensor dimension is {x.ndim}, expected 2 instead.")
    return multi_dot(matrices)


@composite(spaces=("linalg",))
@with_out
def linalg_matmul(input: Tensor, other: Tensor) -> Tensor:
    """The product of matrices, or of stacks of them. See :func:`tgrad.matmul`."""
    return matmul(input, other)
