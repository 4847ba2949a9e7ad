"""Bytes that must move and multiplications that must be done: what a sample's time is held against.

Counted from the outputs' and inputs' shapes of each op that a sample runs, so from its Specs: every
input is read once and every output written once. Flops are those of matrix products and
convolutions, two for each multiplication; other ops are bound by memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Cost(NamedTuple):
    """One op of a sample's run."""

    op: str
    bytes: int
    flops: int


def cost(op: str, outputs: Sequence[Any], inputs: Sequence[Any]) -> Cost:
    """The cost of one op from its arrays; ``inputs`` may hold its other arguments too."""
    ins, outs = arrays(inputs), arrays(outputs)
    flops = FLOPS[op]([a.shape for a in outs], [a.shape for a in ins]) if op in FLOPS else 0
    return Cost(op, sum(map(touched, (*outs, *ins))), flops)


def arrays(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for v in values:
        if isinstance(v, (list, tuple)):
            found += arrays(v)
        elif hasattr(v, "strides"):
            found.append(v)
    return found


def touched(a: Any) -> int:
    """Bytes of the elements that a (maybe expanded) array has in memory."""
    sizes = (n for n, s in zip(a.shape, a.strides, strict=True) if s != 0 or n == 0)
    return math.prod(sizes) * np.dtype(a.dtype).itemsize


def product(outs: list[Shape], ins: list[Shape]) -> int:
    """y = x @ other, of any ranks: each element of y takes as many products as x has columns."""
    return 2 * math.prod(outs[0]) * ins[0][-1]


def added_product(outs: list[Shape], ins: list[Shape]) -> int:
    """beta * x + alpha * a @ b."""
    return product(outs, ins[1:])


def correlation(outs: list[Shape], ins: list[Shape]) -> int:
    """y (N, K, P, Q) of w (K, C / G, R, S)."""
    return 2 * math.prod(outs[0]) * math.prod(ins[1][1:])


def correlation_input(outs: list[Shape], ins: list[Shape]) -> int:
    """dx of g (N, K, P, Q) and w (K, C / G, R, S)."""
    return 2 * math.prod(ins[0]) * math.prod(ins[1][1:])


def correlation_weight(outs: list[Shape], ins: list[Shape]) -> int:
    """dw (K, C / G, R, S) of g (N, K, P, Q)."""
    return 2 * math.prod(ins[0]) * math.prod(outs[0][1:])


def attention(outs: list[Shape], ins: list[Shape]) -> int:
    """y of q (B, L, H, D), k and v (B, S, H or less, D or DV): scores and their sum of values. What
    a causal mask leaves out is counted, since shapes do not tell it."""
    (b, length, heads, d), (_, keys, _, dv) = ins[0], ins[2]
    return 2 * b * heads * length * keys * (d + dv)


def attention_backward(outs: list[Shape], ins: list[Shape]) -> int:
    """dq, dk, dv of g, q, k, v: the scores again, and four more products."""
    (b, length, heads, d), (_, keys, _, dv) = ins[1], ins[3]
    return 2 * b * heads * length * keys * (3 * d + 2 * dv)


FLOPS: dict[str, Callable[[list[Shape], list[Shape]], int]] = {
    "matmul": product, "linear": product, "addmm": added_product, "baddbmm": added_product,
    "_convolution": correlation, "convolution_backward_input": correlation_input,
    "convolution_backward_weight": correlation_weight,
    "_attention": attention, "attention_backward": attention_backward,
}  # fmt: skip
