"""Gathering and scattering along one dim: ``index`` gives that coordinate, its place the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, Spec, check_out, composite, gradient, op, run_inplace, store_out
from tgrad.ops.creation import checked_number
from tgrad.ops.index import check_bounds
from tgrad.ops.mask import _masked_only
from tgrad.ops.view import _expand, _view, normalize_dim, reshape
from tgrad.ops.window import ALL, _slice, filled

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


# ---- kernels' cards ------------------------------------------------------------------------------


@op(spaces=())
def _gather(x: Tensor, dim: int, index: Tensor) -> Spec:
    """y[i, j, k] = x[i, index[i, j, k], k] for dim = 1."""
    return Spec(index.shape, x.dtype)


@gradient(_gather, "x")
def _(g, x_spec, dim, index):
    return gather_backward(g, index, dim, x_spec.shape)


@op(spaces=())
def gather_backward(g: Tensor, index: Tensor, dim: int, shape: tuple[int, ...]) -> Spec:
    """Zeros of ``shape`` with ``g`` added at the places that ``index`` gives along ``dim``."""
    return Spec(shape, g.dtype)


@gradient(gather_backward, "g")
def _(gg, index, dim):
    return _gather(gg, dim, index)


@op(spaces=(), inplace="direct")
def _scatter(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Spec:
    """x with y[i, index[i, j, k], k] = src[i, j, k] for dim = 1; of several writes one stays."""
    return Spec(x.shape, x.dtype)


@gradient(_scatter, "x")
def _(g, dim, index):
    return _scatter_fill(g, dim, index, 0)


@gradient(_scatter, "src")
def _(g, dim, index):
    return _gather(g, dim, index)


@op(spaces=(), inplace="direct")
def _scatter_fill(x: Tensor, dim: int, index: Tensor, value: float) -> Spec:
    """:func:`_scatter` of one number."""
    return Spec(x.shape, x.dtype)


@gradient(_scatter_fill, "x")
def _(g, dim, index):
    return _scatter_fill(g, dim, index, 0)


@op(spaces=(), inplace="direct")
def _scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Spec:
    """x with y[i, index[i, j, k], k] += src[i, j, k] for dim = 1."""
    return Spec(x.shape, x.dtype)


@gradient(_scatter_add, "x")
def _(g):
    return g


@gradient(_scatter_add, "src")
def _(g, dim, index):
    return _gather(g, dim, index)


@op(spaces=(), inplace="direct")
def _scatter_reduce(x: Tensor, dim: int, index: Tensor, src: Tensor, mode: str) -> Spec:
    """x combined with src at each place by ``mode``: "prod", "amax" or "amin"; NaN wins."""
    return Spec(x.shape, x.dtype)


@gradient(_scatter_reduce)
def _(g, y, x, dim, index, src, mode):
    gradients = _prod_gradients if mode == "prod" else _extremum_gradients
    dx, dsrc = gradients(g, y, x, dim, index, src)
    return dx, None, dsrc


def _extremum_gradients(g, y, x, dim, index, src):
    """g in equal parts to all that are the extremum."""
    own, theirs = x.detach() == y.detach(), src.detach() == _gather(y.detach(), dim, index)
    count = _scatter_add(own.to_dtype(g.dtype), dim, index, theirs.to_dtype(g.dtype))
    g = g / count
    return _masked_only(g, own), _masked_only(_gather(g, dim, index), theirs)


def _prod_gradients(g, y, x, dim, index, src):
    """g times the product of all others at the place, also where that place has one zero."""
    nonzero_x = x.detach() != 0
    others = _scatter_reduce(x.masked_fill(nonzero_x.logical_not(), 1), dim, index, src, "prod")
    dx = g * others / x.masked_fill(nonzero_x.logical_not(), 1)
    zero = src.detach() == 0
    zeros = _gather(
        _scatter_add(
            filled(g, 0, x.shape), dim, index, zero.to_dtype(g.dtype)
        ), dim, index
    )  # fmt: skip
    alone = zero.logical_and(zeros == 1)
    rest = _gather(
        g * _scatter_reduce(x, dim, index, src.masked_fill(alone, 1), "prod"), dim, index
    )
    plain = _gather(g * y, dim, index) / src.masked_fill(zero, 1)
    return dx, _masked_only(rest, alone) + plain.masked_fill(zero, 0)


# ---- checks --------------------------------------------------------------------------------------


def _check_index(name: str, index: Tensor) -> None:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _ready(
    name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | None = None
) -> tuple[int, Tensor, Tensor | None]:
    """``dim`` non-negative, the index and the part of src that it covers, all of the input's rank.

    Raises: RuntimeError for other ranks, sizes or dtypes, or an index out of range.
    """
    _check_index(name, index)
    d = normalize_dim(name, dim, input.ndim)
    if not index.ndim and input.ndim == 1:
        index = _view(index, (1,))
    if src is not None and not src.ndim and input.ndim == 1:
        src = _view(src, (1,))
    if index.ndim != input.ndim or (src is not None and src.ndim != input.ndim):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as "
            f"{'src' if src is not None and src.ndim != input.ndim else 'self'} tensor"
        )
    if src is not None and src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    if index.numel() == 0:
        return (
            d,
            index,
            None if src is None else _slice(src, (*[slice(n) for n in index.shape], ...)),
        )
    shape = input.shape
    if any(m > n and k != d for k, (m, n) in enumerate(zip(index.shape, shape, strict=True))):
        if name == "gather":
            k = next(k for k, m in enumerate(index.shape) if m > shape[k] and k != d)
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index.shape)} to be no "
                f"larger than self {list(shape)} apart from dimension {d}"
            )
        raise RuntimeError(
            f"{name}: Expected index {list(index.shape)} to be no larger than self {list(shape)} "
            f"apart from dimension {d}"
        )
    if src is not None and index.shape != src.shape:
        if any(m > n for m, n in zip(index.shape, src.shape, strict=True)):
            raise RuntimeError(
                f"{name}: Expected index {list(index.shape)} to be no larger than self "
                f"{list(shape)} apart from dimension {d} and to be no larger size than src "
                f"{list(src.shape)}"
            )
        src = _slice(src, (*[slice(n) for n in index.shape], ...))
    if input.device is index.device:
        check_bounds(index, d, shape[d], RuntimeError)
    return d, index, src


# ---- gather --------------------------------------------------------------------------------------


@composite
def gather(
    input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """y[i, j, k] = input[i, index[i, j, k], k] for dim = 1, likewise for other dims and ranks.

    Shape: the index's, which is no larger than the input's apart from ``dim``.
    Raises: RuntimeError for an index of another rank, too large, out of range or not int32/int64.
    """
    if not input.ndim:
        input = _view(input, (1,))
    rank = index.ndim
    d, index, _ = _ready("gather", input, dim, index)
    y = _gather(input, d, index)
    y = y if rank else _view(y, ())
    if out is None:
        return y
    check_out("gather", (out,), (input, index))
    store_out("gather", (out,), (y.detach(),))
    return out


@composite
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` whose other dims broadcast; of the flattened input where ``dim`` is None.

    Raises: RuntimeError for indices that are not int64, of another rank, or out of range.
    """
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(
            f"take_along_dim(): dtype of indices should be Long but got {indices.dtype.name}"
        )
    if dim is None:
        return gather(reshape(input, -1), 0, reshape(indices, -1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but "
            f"got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    d = normalize_dim("take_along_dim", dim, input.ndim)
    shape = OPS["broadcast_shapes"].function(
        tuple(1 if k == d else n for k, n in enumerate(input.shape)),
        tuple(1 if k == d else n for k, n in enumerate(indices.shape)),
    )
    wide = [(*shape[:d], x.shape[d], *shape[d + 1 :]) for x in (input, indices)] if shape else None
    if wide is not None:
        input = input if input.shape == wide[0] else _expand(input, wide[0])
        indices = indices if indices.shape == wide[1] else _expand(indices, wide[1])
    return gather(input, d, indices)


# ---- scatter -------------------------------------------------------------------------------------


def _scattered(name: str, input: Tensor, dim, index, src, value, reduce, inplace: bool) -> Tensor:
    """What ``scatter`` and ``scatter_`` do with a tensor or a number."""
    if src is None:
        src = value
    if src is None:
        raise TypeError(f"{name}() missing required argument: 'src' or 'value'")
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if reduce is None and not hasattr(src, "array"):
        x = input if input.ndim else _view(input, (1,))
        d, index, _ = _ready(name, x, dim, index)
        number = checked_number(name, src, input.dtype)
        return _finish(input, OPS["_scatter_fill"], (x, d, index, number), inplace)
    if not hasattr(src, "array"):
        src = _expand(filled(input, checked_number(name, src, input.dtype), ()), index.shape)  # pyright: ignore[reportArgumentType]
    return _combined(name, input, dim, index, src, reduce or "set", inplace)


KERNELS = {"set": "_scatter", "add": "_scatter_add"}


def _combined(name: str, input: Tensor, dim, index, src, mode: str, inplace: bool) -> Tensor:
    x = input if input.ndim else _view(input, (1,))
    if not input.ndim:
        index, src = (a if a.ndim else _view(a, (1,)) for a in (index, src))
    d, index, src = _ready(name, x, dim, index, src)
    if mode in KERNELS:
        return _finish(input, OPS[KERNELS[mode]], (x, d, index, src), inplace)
    mode = "prod" if mode == "multiply" else mode
    return _finish(input, OPS["_scatter_reduce"], (x, d, index, src, mode), inplace)


def _finish(input: Tensor, entry, args: tuple, inplace: bool) -> Tensor:
    if inplace:
        run_inplace(entry, args)
        return input
    y = entry.function(*args)
    return y if input.ndim else _view(y, ())


@composite
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """The input with y[i, index[i, j, k], k] = src[i, j, k] for dim = 1; src may be one number.

    ``reduce``: "add" or "multiply" combines instead of overwriting. Where an index occurs twice,
    one of the values stays.
    Raises: RuntimeError for other ranks, sizes or dtypes, or an index out of range.
    """
    return _scattered("scatter", input, dim, index, src, value, reduce, False)


@composite(spaces=("Tensor",))
def scatter_(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """In-place form of :func:`scatter`."""
    return _scattered("scatter_", input, dim, index, src, value, reduce, True)


@composite
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The input with y[i, index[i, j, k], k] += src[i, j, k] for dim = 1.

    Raises: as :func:`scatter`.
    """
    return _combined("scatter_add", input, dim, index, src, "add", False)


@composite(spaces=("Tensor",))
def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """In-place form of :func:`scatter_add`."""
    return _combined("scatter_add_", input, dim, index, src, "add", True)


REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@composite
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Combine all of src that ``index`` sends to a place, with ``include_self`` the input too.

    ``reduce``: "sum", "prod", "mean", "amax" or "amin". Raises: as :func:`scatter`.
    """
    if reduce not in REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    name, x = "scatter_reduce", input
    if not include_self:
        x = scatter(input, dim, index, _identity(reduce, input))
    y = _combined(name, x, dim, index, src, "add" if reduce in ("sum", "mean") else reduce, False)
    if reduce != "mean":
        return y
    ones = filled(input, 1, ())
    start = _expand(ones, input.shape)
    if not include_self:
        start = scatter(start, dim, index, 0)
    count = scatter_add(start, dim, index, _expand(ones, index.shape))
    count = count.masked_fill(count == 0, 1)
    return y / count if y.dtype.category >= dtypes.FLOAT else y.floor_divide(count)


@composite(spaces=("Tensor",))
def scatter_reduce_(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """In-place form of :func:`scatter_reduce`."""
    old = input.clone()  # backward reads the values from before
    return input.copy_(scatter_reduce(old, dim, index, src, reduce, include_self=include_self))


def _identity(reduce: str, x: Tensor) -> float:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if x.dtype is dtypes.bool_:
        return reduce == "amin"
    if x.dtype.category >= dtypes.FLOAT:
        return float("-inf") if reduce == "amax" else float("inf")
    info = dtypes.iinfo(x.dtype)
    return info.min if reduce == "amax" else info.max


# ---- classes -------------------------------------------------------------------------------------


@composite(spaces=("nn.functional",))
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class and 0 elsewhere along a new last dim; -1 takes the largest class + 1.

    dtype: int64 in and out. Raises: RuntimeError for another dtype or classes out of range.
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return filled(tensor, 0, (*tensor.shape, num_classes))
    if num_classes == -1 or tensor.is_cpu:
        if tensor.min().item() < 0:
            raise RuntimeError("Class values must be non-negative.")
        largest = int(tensor.max().item())
        if num_classes == -1:
            num_classes = largest + 1
        elif largest >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    if num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    y = filled(tensor, 0, (*tensor.shape, num_classes))
    index = _slice(tensor, (*(ALL,) * tensor.ndim, None, ...))
    return run_inplace(OPS["_scatter_fill"], (y, tensor.ndim, index, 1))


@composite
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Combine each slice of ``source`` with the slice of ``dim`` that the index vector names.

    ``reduce``: "prod", "mean", "amax" or "amin". Without ``include_self`` slices that are named do
    not count themselves. Raises: RuntimeError for another name, unequal dtypes or sizes, IndexError
    for an index out of range.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin, got {reduce}"
        )
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"index_reduce(): self and source expected to have the same dtype, but got (self) "
            f"{input.dtype.name} and (source) {source.dtype.name}"
        )
    _check_index("index_reduce", index)
    d = normalize_dim("index_reduce", dim, input.ndim)
    if index.ndim > 1 or source.ndim != input.ndim or index.numel() != source.shape[d]:
        raise IndexError(
            f"index_reduce(): expected a vector of source.size(dim) indices, got "
            f"{list(index.shape)} for {list(source.shape)}"
        )
    check_bounds(index, 0, input.shape[d], IndexError)
    places = index.long().reshape(*(-1 if k == d else 1 for k in range(input.ndim)))
    return scatter_reduce(
        input, d, _expand(places, source.shape), source, reduce, include_self=include_self
    )


@composite(spaces=("Tensor",))
def index_reduce_(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """In-place form of :func:`index_reduce`."""
    old = input.clone()  # backward reads the values from before
    return input.copy_(index_reduce(old, dim, index, source, reduce, include_self=include_self))
