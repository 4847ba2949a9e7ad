"""Making tensors by chance: rand, randn, randint, randperm, normal and those like other tensors.

The options are those of ``sizes``, and ``generator``: without one the device's default generator
is drawn from. The same seed gives the same values on every device.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.creation.sizes import Options, Target, like, new, ordered, shape_of, write
from tgrad.dispatch import OPS
from tgrad.layout import axis_order
from tgrad.ops.random import checked_range, integers, require_floating, reserve, sample
from tgrad.pointwise import broadcast
from tgrad.runtime.random import Generator
from tgrad.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    Sizes = int | Sequence[int] | Tensor


class SampleOptions(Options, total=False):
    """The options of creation functions, and where the bits come from."""

    generator: Generator | None


class SizeSampleOptions(SampleOptions, total=False):
    """The same for functions whose sizes may be given by keyword."""

    size: Sequence[int]


def _split(options: Any) -> tuple[Generator | None, Any]:
    """The generator, and the options without it."""
    generator = options.pop("generator", None)
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(
            "argument 'generator' must be tgrad.Generator, not " + type(generator).__name__
        )
    return generator, options


def _samples(name: str, kind: str, size: tuple, options: Any) -> Tensor:
    generator, options = _split(options)
    shape = shape_of(name, size, options)
    t = Target(name, options)
    require_floating(name, t.dtype)
    y = ordered(t, shape, axis_order(options.get("memory_format"), len(shape)))
    return t.finish(name, write("_sample", *sample(y, kind, 0, 1, generator)))


def _samples_like(name: str, kind: str, input: Tensor, options: Any) -> Tensor:
    generator, options = _split(options)
    t, y = like(name, input, options)
    require_floating(name, t.dtype)
    return t.finish(name, write("_sample", *sample(y, kind, 0, 1, generator)))


def rand(*size: Sizes, **options: Unpack[SizeSampleOptions]) -> Tensor:
    """Uniform in [0, 1). Raises NotImplementedError for integer dtypes."""
    return _samples("rand", "uniform", size, options)


def randn(*size: Sizes, **options: Unpack[SizeSampleOptions]) -> Tensor:
    """Normal with mean 0 and variance 1. Raises NotImplementedError for integer dtypes."""
    return _samples("randn", "normal", size, options)


def rand_like(input: Tensor, **options: Unpack[SampleOptions]) -> Tensor:
    """Uniform in [0, 1), of the input's shape, dtype and device."""
    return _samples_like("rand_like", "uniform", input, options)


def randn_like(input: Tensor, **options: Unpack[SampleOptions]) -> Tensor:
    """Normal with mean 0 and variance 1, of the input's shape, dtype and device."""
    return _samples_like("randn_like", "normal", input, options)


def _bounds(name: str, args: tuple, options: Any) -> tuple[Any, Any, Any]:
    """(low, high, size) of ``(high, size)``, ``(low, high, size)`` or keywords."""
    given = dict(builtins.zip(("high", "size") if len(args) < 3 else ("low", "high", "size"), args,
                              strict=False))  # fmt: skip
    if len(args) == 2 and "size" in options:
        given = {"low": args[0], "high": args[1]}
    if len(args) > 3:
        raise TypeError(f"{name}(): takes at most 3 positional arguments, got {len(args)}")
    for key in ("low", "high", "size"):
        if key in options:
            given[key] = options.pop(key)
    if "high" not in given:
        raise TypeError(f'{name}() missing 1 required positional arguments: "high"')
    return given.get("low", 0), given["high"], given.get("size")


def randint(*args: int | Sequence[int], **options: Any) -> Tensor:
    """``randint(high, size)`` or ``randint(low, high, size)``: integers in [low, high).

    dtype: int64 unless given. Raises: RuntimeError for an empty range, or one outside the dtype.
    """
    generator, options = _split(options)
    low, high, size = _bounds("randint", args, options)
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}"
        )
    shape = shape_of("randint", (size,), {})
    t = Target("randint", options, dtypes.int64)
    low, span = checked_range("randint", low, high, t.dtype)
    return t.finish("randint", write("_integers", *integers(t.new(shape), low, span, generator)))


def randint_like(input: Tensor, *args: int, **options: Any) -> Tensor:
    """``randint_like(input, high)`` or ``(input, low, high)``, of the input's shape and dtype."""
    generator, options = _split(options)
    if len(args) == 2:
        options = {**options, "low": args[0], "high": args[1]}
        args = ()
    low, high, _ = _bounds("randint_like", args, options)
    t, y = like("randint_like", input, options)
    low, span = checked_range("randint_like", low, high, t.dtype)
    return t.finish("randint_like", write("_integers", *integers(y, low, span, generator)))


def randperm(n: int, **options: Unpack[SampleOptions]) -> Tensor:
    """A random permutation of 0 .. n-1: the order of n random keys.

    dtype: int64 unless given. Raises: RuntimeError for n < 0, or n - 1 outside the dtype.
    """
    generator, options = _split(options)
    if isinstance(n, (bool, float)) or not hasattr(n, "__index__"):
        raise TypeError(
            f"randperm(): argument 'n' (position 1) must be int, not {type(n).__name__}"
        )
    (n,) = shape_of("randperm", (n,), {})
    t = Target("randperm", options, dtypes.int64)
    if t.dtype.category <= dtypes.INT and n:
        checked_range("randperm", 0, n, t.dtype)
    bits = max(n - 1, 0).bit_length()
    keys = write("_keys", new((n,), dtypes.int64, t.where), bits, *reserve(generator, t.where, n))
    order = write("_low_bits", sorted_keys(keys), bits)
    return t.finish("randperm", order.to(t.dtype))


def sorted_keys(keys: Tensor) -> Tensor:
    """Distinct int64 keys in ascending order."""
    if keys.is_cpu:
        keys.array.sort()  # pyright: ignore[reportAttributeAccessIssue]
        return keys
    return OPS["sort"].function(keys)[0]


def normal(
    mean: float | Tensor,
    std: float | Tensor = 1.0,
    size: Sequence[int] | None = None,
    **options: Unpack[SampleOptions],
) -> Tensor:
    """mean + std * randn, for numbers (with ``size``) or tensors that broadcast.

    Raises: RuntimeError for a negative std, NotImplementedError for integer tensors.
    """
    tensors = [a for a in (mean, std) if isinstance(a, Variable)]
    if not isinstance(std, Variable) and not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if not tensors:
        if size is None:
            raise TypeError(
                "normal() received an invalid combination of arguments: numbers need size"
            )
        generator, options = _split(options)
        t = Target("normal", options)
        require_floating("normal", t.dtype)
        y = t.new(shape_of("normal", (tuple(size),), {}))
        return t.finish(
            "normal", write("_sample", *sample(y, "normal", float(mean), float(std), generator))
        )
    if size is not None:
        raise TypeError("normal() received an invalid combination of arguments: size with tensors")
    for a in tensors:
        require_floating("normal", a.dtype)
    if isinstance(std, Variable) and std.numel() and std.min().item() < 0:
        raise RuntimeError("normal expects all elements of std >= 0.0")
    generator, options = _split(options)
    out = options.pop("out", None)
    shape = broadcast("normal", [a.shape for a in tensors])
    y = tensors[0].detach().new_empty(shape)
    write("_sample", *sample(y, "normal", 0, 1, generator))
    y = y * (std.detach() if isinstance(std, Variable) else std)
    y = y + (mean.detach() if isinstance(mean, Variable) else mean)
    return y if out is None else out.copy_(y)


__all__ = ["normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
           "randperm"]  # fmt: skip
