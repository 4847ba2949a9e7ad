"""Elements in another place: reversed, shifted, repeated, padded, on triangles and diagonals."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.device import CPU, resolve
from tgrad.dispatch import OPS, Spec, composite, gradient, op, run_inplace, wrap
from tgrad.ops.creation import checked_number
from tgrad.ops.shape import _place_window, cat
from tgrad.ops.view import (
    _expand,
    _view,
    atleast_2d,
    distinct_dims,
    normalize_dim,
    reshape,
    sizes,
    transpose,
)
from tgrad.ops.window import ALL, _slice, diagonal, diagonal_window, steps_of

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype
    from tgrad.tensor import Tensor


# ---- reversing and shifting ----------------------------------------------------------------------


@op(spaces=())
def _flip(x: Tensor, dims: tuple[int, ...]) -> Spec:
    """x with the order along ``dims`` reversed: a copy through negative strides."""
    return Spec(x.shape, x.dtype)


@gradient(_flip)
def _(g, dims):
    return _flip(g, dims)


@composite
def flip(input: Tensor, *dims: int) -> Tensor:
    """A copy with the order along ``dims`` reversed.

    Raises: IndexError out of range, RuntimeError for a dim given twice.
    """
    return _flip(input, distinct_dims("flip", sizes(dims), input.ndim) if input.ndim else ())


@composite
def fliplr(input: Tensor) -> Tensor:
    """``flip`` of dim 1. Raises RuntimeError for fewer than two dims."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flip(input, (1,))


@composite
def flipud(input: Tensor) -> Tensor:
    """``flip`` of dim 0. Raises RuntimeError for a 0-d input."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flip(input, (0,))


@composite
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotated by 90 degrees ``k`` times, from the first of ``dims`` towards the second.

    Raises: RuntimeError unless there are two different dims.
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (normalize_dim("rot90", d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return _flip(input, (a, b))
    return transpose(_flip(input, (b,)), a, b) if k == 1 else _flip(transpose(input, a, b), (b,))


@op(spaces=())
def _roll(x: Tensor, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Spec:
    """x shifted by ``shifts``, in [0, n), around its axes ``dims``, all different."""
    return Spec(x.shape, x.dtype)


@gradient(_roll)
def _(g, shifts, dims):
    back = tuple((g.shape[d] - s) % g.shape[d] for s, d in zip(shifts, dims, strict=True))
    return _roll(g, back, dims)


@composite
def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """Elements moved ``shifts`` places along ``dims``, those pushed out coming in at the other end.

    Without ``dims`` the flattened input is rolled.
    Raises: RuntimeError where shifts and dims differ in number, IndexError out of range.
    """
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    given = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not by:
        raise RuntimeError("`shifts` required")
    if not given and len(by) == 1:
        return _view(roll(reshape(input, -1), by, 0), input.shape)
    if len(by) != len(given):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(given)}"
        )
    if input.numel() == 0:
        return input.clone()
    total: dict[int, int] = {}
    for s, d in zip(by, given, strict=True):
        d = normalize_dim("roll", d, input.ndim)
        total[d] = (total.get(d, 0) + operator.index(s)) % input.shape[d]
    return _roll(input, tuple(total.values()), tuple(total))


# ---- repeating -----------------------------------------------------------------------------------


@composite(spaces=("Tensor",))
def repeat(input: Tensor, *repeats: int) -> Tensor:
    """The input ``repeats`` times along each dim, copied; new dims go in front.

    Raises: RuntimeError for fewer repeats than dims, or a negative one.
    """
    times = sizes(repeats)
    extra = len(times) - input.ndim
    if extra < 0:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(times)}")
    shape = (1,) * extra + input.shape
    single, wide, final = [], [], []
    for n, m in zip(shape, times, strict=True):
        single += [1, n]
        wide += [m, n]
        final.append(m * n)
    return _view(_expand(reshape(input, tuple(single)), tuple(wide)).clone(), tuple(final))


@composite
def tile(input: Tensor, *dims: int) -> Tensor:
    """``repeat`` where missing leading repeats count as 1."""
    times = sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@op(spaces=())
def _repeat_index(repeats: Tensor, ends: Tensor, size: int) -> Spec:
    """Each position i, ``repeats[i]`` times; ``ends`` are the running sums of ``repeats``."""
    return Spec((size,), dtypes.int64)


@op(spaces=())
def _running_sum(x: Tensor) -> Spec:
    """[0, x0, x0 + x1, ...] of a 1-d integer tensor."""
    return Spec((x.shape[0] + 1,), dtypes.int64)


@composite
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element ``repeats`` times in a row along ``dim`` (flattened if None).

    ``repeat_interleave(repeats)`` alone gives each position i, repeats[i] times. ``output_size``
    saves reading the total back from a GPU.
    Raises: RuntimeError unless there is a repeat per element and none is negative.
    """
    if repeats is None:
        return _positions(input, output_size)
    x = reshape(input, -1) if dim is None else input
    d = 0 if dim is None else normalize_dim("repeat_interleave", dim, x.ndim)
    if not x.ndim:
        x = reshape(x, 1)
    if isinstance(repeats, Variable) and repeats.numel() != 1:
        if repeats.ndim != 1 or repeats.shape[0] != x.shape[d]:
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{list(repeats.shape)} and input.size({d}) = {x.shape[d]}"
            )
        return OPS["_index"].function(x, [_positions(repeats, output_size)], d)
    count = operator.index(repeats)
    if count < 0:
        raise RuntimeError("Repeats must be non-negative")
    shape = x.shape
    wide = (*shape[: d + 1], count, *shape[d + 1 :])
    spread = _expand(x.unsqueeze(d + 1), wide).clone()
    return _view(spread, (*shape[:d], shape[d] * count, *shape[d + 1 :]))


def _positions(repeats: Tensor, size: int | None) -> Tensor:
    if repeats.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats.device is CPU and repeats.numel() and repeats.array.min() < 0:  # pyright: ignore[reportAttributeAccessIssue]
        raise RuntimeError("repeats can not be negative")
    ends = _running_sum(repeats)
    total = ends.select(0, -1).item() if size is None else size
    return _repeat_index(repeats, ends, int(total))


# ---- padding -------------------------------------------------------------------------------------


@op(spaces=())
def _pad(x: Tensor, low: tuple[int, ...], high: tuple[int, ...], value: float) -> Spec:
    """x with ``low`` elements before and ``high`` after it along each axis, all ``value``."""
    shape = tuple([n + a + b for n, a, b in zip(x.shape, low, high, strict=True)])
    return Spec(shape, x.dtype)


@gradient(_pad)
def _(g, x_spec, low):
    index = [slice(a, a + n) for a, n in zip(low, x_spec.shape, strict=True)]
    return _slice(g, (*index, ...))


@composite(spaces=("tgrad",))
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """The input with ``pad`` = (before, after) elements of the last dim, then of the one before,
    and so on, set to ``value``; negative ones crop.

    Raises: RuntimeError for an odd number of pads, more than the dims have, or a negative size.
    """
    given = sizes((pad,))
    if len(given) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(given)}")
    if len(given) > 2 * input.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad "
            f"length is {len(given)} while the input has {input.ndim} dimensions."
        )
    low, high = [0] * input.ndim, [0] * input.ndim
    index: list[slice] = [ALL] * input.ndim
    for k in range(len(given) // 2):
        a, b = given[2 * k : 2 * k + 2]
        d = input.ndim - 1 - k
        n = input.shape[d]
        if n + a + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative "
                "output size, which is invalid."
            )
        if a < 0 or b < 0:
            index[d] = slice(max(-a, 0), n + min(b, 0))
        low[d], high[d] = max(a, 0), max(b, 0)
    x = _slice(input, (*index, ...)) if any(i is not ALL for i in index) else input
    number = checked_number("constant_pad_nd", value, input.dtype)
    return _pad(x, tuple(low), tuple(high), number)


# ---- triangles and diagonals ---------------------------------------------------------------------


@op(spaces=(), inplace="direct")
def _triangle(x: Tensor, diagonal: int, upper: bool) -> Spec:
    """x where column - row <= diagonal (>= if ``upper``) in its last two axes, else 0."""
    return Spec(x.shape, x.dtype)


@gradient(_triangle)
def _(g, diagonal, upper):
    return _triangle(g, diagonal, upper)


def _matrix(name: str, input: Tensor) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    return input


@composite
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of each matrix, up to the given diagonal; zeros elsewhere."""
    return _triangle(_matrix("tril", input), operator.index(diagonal), False)


@composite(spaces=("Tensor",))
def tril_(input: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`tril`."""
    return run_inplace(OPS["_triangle"], (_matrix("tril_", input), operator.index(diagonal), False))


@composite
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of each matrix, from the given diagonal on; zeros elsewhere."""
    return _triangle(_matrix("triu", input), operator.index(diagonal), True)


@composite(spaces=("Tensor",))
def triu_(input: Tensor, diagonal: int = 0) -> Tensor:
    """In-place form of :func:`triu`."""
    return run_inplace(OPS["_triangle"], (_matrix("triu_", input), operator.index(diagonal), True))


@composite(spaces=("tgrad",))
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    device: Device | str | None = None,
    layout: object = None,
) -> Tensor:
    """Rows and columns of the lower triangle of a (row, col) matrix. Shape: (2, count)."""
    return _triangle_indices("tril_indices", np.tril_indices, row, col, offset, dtype, device)


@composite(spaces=("tgrad",))
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    device: Device | str | None = None,
    layout: object = None,
) -> Tensor:
    """Rows and columns of the upper triangle of a (row, col) matrix. Shape: (2, count)."""
    return _triangle_indices("triu_indices", np.triu_indices, row, col, offset, dtype, device)


def _triangle_indices(name, function, row, col, offset, dtype, device) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{name}: row and col must be non-negative, got {row} and {col}")
    kind = dtypes.int64 if dtype is None else dtype
    found = np.stack(function(row, offset, col)).astype(kind.numpy)
    return wrap(found, CPU).to(resolve(device))


@composite
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, over dims ``dim1`` and ``dim2`` of the result, with the last dim as diagonal.

    Raises: RuntimeError for equal dims, IndexError out of range.
    """
    rank = input.ndim + 1
    a, b = normalize_dim("diag_embed", dim1, rank), normalize_dim("diag_embed", dim2, rank)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if not input.ndim:
        raise IndexError("diag_embed: input must have at least one dimension")
    n = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, n)
    full = tuple(shape)
    return _place_window(input, full, *diagonal_window(full, steps_of(full), offset, a, b))


@composite
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector on a diagonal of a square matrix, or a matrix's diagonal copied.

    Raises: RuntimeError for other ranks.
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return OPS["diagonal"].function(input, diagonal).clone()


@composite
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The flattened input on a diagonal of a square matrix."""
    return diag_embed(reshape(input, -1), offset)


@composite
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal. Raises RuntimeError unless there are two dims."""
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix")
    return diagonal(input).sum()


@composite(spaces=("tgrad",))
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one, zeros elsewhere; fewer dims count as one row."""
    blocks = [atleast_2d(x) for x in tensors]
    if not blocks:
        raise RuntimeError("block_diag: expected at least one tensor")
    if any(x.ndim > 2 for x in blocks):
        raise RuntimeError("block_diag: Input tensors must have 2 or fewer dimensions")
    width, first, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(constant_pad_nd(x, (first, width - first - x.shape[1])))
        first += x.shape[1]
    return cat(rows, 0)
