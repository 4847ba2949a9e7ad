"""Random numbers as ops: cards that write samples of a distribution over a tensor.

Every card takes the ``key`` and ``counter`` that a generator reserved, so that a kernel is a pure
function of its arguments, and element ``i`` in row-major order has the bits that
``runtime/random.py`` says, on either device. float64 samples use 64 bits an element, all others 32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tgrad import dtypes
from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, Spec, composite, gradient, op, run_inplace
from tgrad.runtime.random import Generator, default_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgrad.tensor import Tensor

CONTINUOUS = {  # how each is made of u in (0, 1), and what its two parameters are
    "uniform": "low + u * (high - low), u in [0, 1)",
    "normal": "mean + std * sqrt(-2 log u) * cos or sin(2 pi v), one (u, v) for elements 2k, 2k+1",
    "log_normal": "exp of normal(mean, std)",
    "exponential": "-log(u) / rate",
    "cauchy": "median + sigma * tan(pi * (u - 1/2))",
    "geometric": "ceil(log(u) / log(1 - p))",
}


@op(spaces=(), inplace="direct")
def _sample(x: Tensor, kind: str, a: float, b: float, key: int, counter: int) -> Spec:
    """x replaced by samples of the distribution ``kind`` (see CONTINUOUS) with parameters a, b.

    Normal samples by Box and Muller (1958).
    """
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _integers(x: Tensor, low: int, span: int, key: int, counter: int) -> Spec:
    """x replaced by integers in [low, low + span): the upper half of the product of span and random
    bits (Lemire 2019), 32 of them where span is at most 2^16, else 64. Bias: below 2^-16 of each
    probability.
    """
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _bernoulli(x: Tensor, p: Tensor, key: int, counter: int) -> Spec:
    """x replaced by 1 where a 32-bit random integer is below p * 2^32, else 0; p broadcasts."""
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _bernoulli_number(x: Tensor, p: float, key: int, counter: int) -> Spec:
    """:func:`_bernoulli` with one probability for all."""
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _keys(x: Tensor, bits: int, key: int, counter: int) -> Spec:
    """63-bit random sort keys with their own index in the low ``bits``: sorted, a permutation."""
    return Spec(x.shape, x.dtype)


@op(spaces=(), inplace="direct")
def _low_bits(x: Tensor, bits: int) -> Spec:
    """x modulo 2^bits."""
    return Spec(x.shape, x.dtype)


@op(spaces=())
def _draw(x: Tensor, num_samples: int, key: int, counter: int) -> Spec:
    """Per row of weights x (N, C): ``num_samples`` indices with replacement, by binary search of a
    uniform number in the cumulative weights (float64).
    """
    return Spec((x.shape[0], num_samples), dtypes.int64)


for _card in (_sample, _integers, _bernoulli, _bernoulli_number):

    @gradient(_card, "x")
    def _(g):
        return OPS["_fill"].function(g, 0)


def reserve(generator: Generator | None, device: Any, n64: int) -> tuple[int, int]:
    """(key, counter) for ``n64`` words of ``generator`` or of the device's default one.

    Raises: TypeError unless it is a Generator, RuntimeError if it is of another device.
    """
    if generator is None:
        return default_generator(device).reserve(n64)
    if not isinstance(generator, Generator):
        raise TypeError(f"expected a tgrad.Generator, got {type(generator).__name__}")
    if generator.device.type != device.type:
        raise RuntimeError(
            f"Expected a '{device}' device type for generator but found '{generator.device}'"
        )
    return generator.reserve(n64)


def words_for(n: int, wide: bool) -> int:
    """How many 64-bit words ``n`` elements take."""
    return n if wide else (n + 1) // 2


def require_floating(name: str, dtype: dtypes.dtype) -> None:
    """Raise NotImplementedError unless ``dtype`` is floating, as PyTorch does for samples."""
    if not dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype.name}'")


def sample(x: Tensor, kind: str, a: float, b: float, generator: Generator | None) -> tuple:
    """The arguments of ``_sample`` for ``x``, with reserved randomness. Normals come in pairs."""
    n = x.numel() + x.numel() % 2
    return (x, kind, float(a), float(b),
            *reserve(generator, x.device, words_for(n, x.dtype is dtypes.float64)))  # fmt: skip


def _in_place(name: str, kind: str, check: Callable[[Tensor, float, float], None]) -> Callable:
    """The body that all continuous in-place distributions share."""

    def run(input: Tensor, a: float, b: float, generator: Generator | None) -> Tensor:
        if not isinstance(input, Variable):
            raise TypeError(f"{name}(): expected a Tensor, got {type(input).__name__}")
        check(input, a, b)
        return run_inplace(OPS["_sample"], sample(input, kind, a, b, generator))

    return run


def _check_uniform(x: Tensor, a: float, b: float) -> None:
    require_floating("uniform_", x.dtype)
    if not a <= b:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}"
        )


def _check_normal(x: Tensor, a: float, b: float) -> None:
    require_floating("normal_", x.dtype)
    if not b >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {b}")


def _check_log_normal(x: Tensor, a: float, b: float) -> None:
    require_floating("log_normal_", x.dtype)
    if not b > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={b}")


def _check_exponential(x: Tensor, a: float, b: float) -> None:
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            "exponential_: Exponential distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {x.dtype.name}"
        )
    if not a > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={a}")


def _check_cauchy(x: Tensor, a: float, b: float) -> None:
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            "cauchy_: Cauchy distribution is a continuous probability distribution. dtype must be "
            f"a floating point but you specified {x.dtype.name}"
        )
    if not b > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={b}")


def _check_geometric(x: Tensor, a: float, b: float) -> None:
    if not 0 < a < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={a}")


_uniform = _in_place("uniform_", "uniform", _check_uniform)
_normal = _in_place("normal_", "normal", _check_normal)
_log_normal = _in_place("log_normal_", "log_normal", _check_log_normal)
_exponential = _in_place("exponential_", "exponential", _check_exponential)
_cauchy = _in_place("cauchy_", "cauchy", _check_cauchy)
_geometric = _in_place("geometric_", "geometric", _check_geometric)


@composite(spaces=("Tensor",))
def uniform_(
    input: Tensor, from_: float = 0, to: float = 1, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with samples of the uniform distribution on [from_, to).

    Raises: RuntimeError if from_ > to, NotImplementedError for integer tensors.
    """
    return _uniform(input, from_, to, generator)


@composite(spaces=("Tensor",))
def normal_(
    input: Tensor, mean: float = 0, std: float = 1, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with samples of the normal distribution (Box and Muller 1958).

    Raises: RuntimeError for a negative std, NotImplementedError for integer tensors.
    """
    return _normal(input, mean, std, generator)


@composite(spaces=("Tensor",))
def log_normal_(
    input: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with exp of samples of normal(mean, std). Raises RuntimeError unless std > 0."""
    return _log_normal(input, mean, std, generator)


@composite(spaces=("Tensor",))
def exponential_(input: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with samples of the density lambd * exp(-lambd * x), all positive.

    Raises: RuntimeError unless lambd > 0 and the tensor is floating.
    """
    return _exponential(input, lambd, 0, generator)


@composite(spaces=("Tensor",))
def cauchy_(
    input: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with samples of the Cauchy distribution. Raises RuntimeError unless sigma > 0."""
    return _cauchy(input, median, sigma, generator)


@composite(spaces=("Tensor",))
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with the number of trials up to the first success, 1, 2, ...

    Raises: RuntimeError unless 0 < p < 1.
    """
    return _geometric(input, p, 0, generator)


@composite(spaces=("Tensor",))
def bernoulli_(
    input: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None
) -> Tensor:
    """Overwrite with 1 (with probability p) and 0; ``p`` is a number or a tensor that broadcasts.

    Raises: RuntimeError for p outside [0, 1] (on a GPU a tensor's values are not checked).
    """
    if isinstance(p, Variable):
        check_probabilities(p)
        at = reserve(generator, input.device, words_for(input.numel(), False))
        return run_inplace(OPS["_bernoulli"], (input, p.detach(), *at))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    at = reserve(generator, input.device, words_for(input.numel(), False))
    return run_inplace(OPS["_bernoulli_number"], (input, float(p), *at))


def check_probabilities(p: Tensor) -> None:
    require_floating("bernoulli", p.dtype)
    a: Any = p.array
    if p.is_cpu and a.size and not (a.min() >= 0 and a.max() <= 1):
        raise RuntimeError("bernoulli: Expected p_in >= 0 && p_in <= 1 to be true, but got false.")


@composite
def bernoulli(
    input: Tensor,
    p: float | None = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """1 with the probability that the input's element says (or ``p``), else 0. No gradient.

    Raises: RuntimeError for probabilities outside [0, 1], NotImplementedError for integers.
    """
    fresh = input.detach().new_empty(input.shape)
    result = fresh.bernoulli_(input if p is None else p, generator=generator)
    if out is None:
        return result
    return out.copy_(result)


@composite(spaces=("Tensor",))
def random_(
    input: Tensor,
    from_: int | None = None,
    to: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Overwrite with integers: ``random_()`` over all that the dtype holds (0 up to the largest, or
    2^mantissa in floating dtypes), ``random_(to)`` in [0, to), ``random_(from, to)`` in [from, to).

    Raises: RuntimeError for an empty range or one that leaves the dtype.
    """
    low, top = (0, from_) if to is None and from_ is not None else (from_ or 0, to)
    if top is None:
        span = largest(input.dtype) + 1
    else:
        low, span = checked_range("random_", low, top, input.dtype)
    return run_inplace(OPS["_integers"], integers(input, low, span, generator))


def largest(dtype: dtypes.dtype) -> int:
    """The largest integer up to which ``dtype`` holds all."""
    if dtype is dtypes.bool_:
        return 1
    if dtype.category == dtypes.INT:
        return dtypes.iinfo(dtype).max
    return round(2 / dtypes.finfo(dtype).eps)


def checked_range(name: str, low: int, high: int, dtype: dtypes.dtype) -> tuple[int, int]:
    """(low, span). Raises RuntimeError for an empty range or one that leaves ``dtype``."""
    for which, value in (("low", low), ("high", high)):
        if isinstance(value, (bool, float, complex, str)) or not hasattr(value, "__index__"):
            raise TypeError(f"{name}(): argument '{which}' must be int, not {type(value).__name__}")
    low, high = low.__index__(), high.__index__()
    if low >= high:
        raise RuntimeError(
            f"{name}: random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if dtype.category <= dtypes.INT:
        least = dtypes.iinfo(dtype).min if dtype.category == dtypes.INT else 0
        for which, value in (("from", low), ("to - 1", high - 1)):
            if not least <= value <= largest(dtype):
                raise RuntimeError(f"{name}: {which} is out of bounds for {dtype.name}, {value}")
    return low, high - low


def integers(x: Tensor, low: int, span: int, generator: Generator | None) -> tuple:
    """The arguments of ``_integers``, with reserved randomness."""
    wide = span > 1 << 16
    return (x, low, span, *reserve(generator, x.device, words_for(x.numel(), wide)))


@composite
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``num_samples`` indices per row, drawn with the row's elements as weights.

    Shape: (C) -> (num_samples), (N, C) -> (N, num_samples). dtype: int64.
    Without replacement the race of exponential clocks: the indices of the largest weight / E,
    E ~ exponential(1) (Efraimidis and Spirakis 2006). With replacement by inverting the
    cumulative weights.
    Raises: RuntimeError for negative, infinite or NaN weights, rows that sum to 0, too many
    samples.
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {input.dtype.name}"
        )
    if input.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got {input.ndim}")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(
            "multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement, "
            f"{num_samples} > {input.shape[-1]}"
        )
    weights = input.detach()
    total = weights.sum(-1)
    if weights.numel() and not (weights.min().item() >= 0 and math.isfinite(total.max().item())):
        raise RuntimeError(
            "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
        )
    if total.numel() and not total.min().item() > 0:
        raise RuntimeError(
            "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
        )
    rows = weights.reshape(-1, input.shape[-1])
    if replacement:
        at = reserve(generator, input.device, rows.shape[0] * num_samples)
        result = _draw(rows, num_samples, *at)
    else:
        clocks = rows.new_empty(rows.shape).exponential_(generator=generator)
        result = OPS["topk"].function(rows / clocks, num_samples, -1)[1]
    result = result.reshape(*input.shape[:-1], num_samples)
    return result if out is None else out.copy_(result)
