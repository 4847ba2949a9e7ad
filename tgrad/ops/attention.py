"""Scaled dot-product attention: softmax(q k^T * scale + mask) v without the matrix of weights.

The kernel ops take (batch, length, heads, features), as a projection leaves them, so that what a
layer does before and after is free of copies. Backward computes the weights again from q, k and
each row's logsumexp (Dao 2023, arXiv:2307.08691); dropout draws its bits again from its counter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tgrad import dtypes
from tgrad.device import CPU
from tgrad.dispatch import Spec, composite, gradient, op
from tgrad.ops.dropout import _dropout
from tgrad.ops.matmul import check_tensor, matmul
from tgrad.ops.random import reserve, words_for
from tgrad.ops.softmax import _softmax, softmax_backward
from tgrad.pointwise import broadcast
from tgrad.runtime import settings

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]

LARGEST_HEAD = 256  # features that the CUDA kernels keep on chip; beyond, matrices are multiplied
KEYS = 4  # the dim of keys in a :class:`Matrices`
LANES = 8  # 32-bit integers of one Philox block: rows of the dropout mask begin with a block


@op(spaces=())
def _attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool, p: float,
    key: int, counter: int,
) -> tuple[Spec, Spec]:  # fmt: skip
    """(y, lse): y = dropout(softmax(scale q k^T + mask)) v by head, lse the logsumexp of each row.

    Shape: q (B, L, H, E), k (B, S, H / G, E), v (B, S, H / G, Ev), mask with sizes 1 or those of
    (B, H, L, S) -> (B, L, H, Ev), (B, H, L). Head h reads key and value head h // G.
    A bool mask is True where a query sees a key; another is added. ``causal``: query i sees keys
    0 to i. Rows that see nothing give 0 and have lse +inf. ``scale`` is above 0.
    ``p``: the weight of (b, h, i, j) is dropped as ``_dropout`` would drop it in (B, H, L, S'), S'
    being S rounded up to a multiple of 8.
    """
    b, length, heads, _ = q.shape
    lse = dtypes.float64 if q.dtype is dtypes.float64 else dtypes.float32
    return Spec((b, length, heads, v.shape[-1]), q.dtype), Spec((b, heads, length), lse)


@gradient(_attention, "q", "k", "v")
def _(g0, q, k, v, mask, y0, y1, scale, causal, p, key, counter):
    delta = _row_dots(g0, y0)
    return attention_backward(g0, q, k, v, mask, y1, delta, scale, causal, p, key, counter)


@gradient(_attention, "mask")
def _(g0, q, k, v, mask, y0, y1, scale, causal, p, key, counter):
    delta = _row_dots(g0, y0)
    return attention_backward_mask(g0, q, k, v, mask, y1, delta, scale, causal, p, key, counter)


@op(spaces=())
def _row_dots(g: Tensor, y: Tensor) -> Spec:
    """sum(g * y) over the features: (B, L, H, E) twice -> (B, H, L), in float32 or wider.

    Its gradient is taken care of by the ops that read it.
    """
    b, length, heads, _ = y.shape
    wide = dtypes.float64 if y.dtype is dtypes.float64 else dtypes.float32
    return Spec((b, heads, length), wide)


@op
def attention_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, lse: Tensor, delta: Tensor,
    scale: float, causal: bool, p: float, key: int, counter: int,
) -> tuple[Spec, Spec, Spec]:  # fmt: skip
    """(dq, dk, dv) of :func:`_attention`; ``delta`` is :func:`_row_dots` of g and y.

    With P the weights and D their dropout factors: dv = (P D)^T g, dS = P (D (g v^T) - delta),
    dq = scale dS k, dk = scale dS^T q. Its own gradient takes lse and delta as functions of the
    other inputs, and has the whole matrix of weights in memory.
    """
    return Spec(q.shape, q.dtype), Spec(k.shape, k.dtype), Spec(v.shape, v.dtype)


@op(spaces=())
def attention_backward_mask(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, lse: Tensor, delta: Tensor,
    scale: float, causal: bool, p: float, key: int, counter: int,
) -> Spec:  # fmt: skip
    """dS of :func:`attention_backward` summed to the shape of ``mask``: the gradient of a mask."""
    return Spec(mask.shape, mask.dtype)


@gradient(attention_backward)
def _(g0, g1, g2, g, q, k, v, mask, scale, causal, p, key, counter):
    m = _matrices(q, k, v, mask, scale, causal, p, key, counter)
    return _second_order(m, g, (g0, g1, g2, None))


@gradient(attention_backward_mask)
def _(gg, g, q, k, v, mask, scale, causal, p, key, counter):
    m = _matrices(q, k, v, mask, scale, causal, p, key, counter)
    return _second_order(m, g, (None, None, None, gg))


# ---- by matrices ---------------------------------------------------------------------------------


class Matrices(NamedTuple):
    """Attention's operands by (batch, key heads, heads of each, rows, columns)."""

    q: Tensor
    k: Tensor
    v: Tensor
    weights: Tensor  # softmax of the scores
    kept: Tensor | None  # factors of dropout
    scale: float
    mask: Tensor | None

    def dropped(self, x: Tensor) -> Tensor:
        return x if self.kept is None else x * self.kept


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(B, L, H, E) -> (B, heads, H / heads, L, E)."""
    return x.transpose(1, 2).unflatten(1, (heads, -1 if x.shape[2] else 1))


def _from_heads(x: Tensor) -> Tensor:
    """The way back: (B, heads, G, L, E) -> (B, L, heads * G, E)."""
    return x.flatten(1, 2).transpose(1, 2)


def _matrices(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool, p: float,
    key: int, counter: int,
) -> Matrices:  # fmt: skip
    """The weights in full, by differentiable ops. Memory: (B, H, L, S), several times."""
    heads = k.shape[2]
    b, length, all_heads, _ = q.shape
    size = k.shape[1]
    q5, k5, v5 = (_by_head(x, heads) for x in (q, k, v))
    s = matmul(q5, k5.transpose(-1, -2)) * scale
    if mask is not None:
        m = _mask_by_head(mask, heads)
        s = s.masked_fill(~m, -math.inf) if mask.dtype is dtypes.bool_ else s + m.to(s.dtype)
    if causal:
        future = s.detach().new_ones((length, size)).triu(1) > 0
        s = s.masked_fill(future, -math.inf)
    if mask is None:
        weights = _softmax(s, KEYS, s.dtype)
    else:
        blind = (s == -math.inf).all(-1, keepdim=True)
        weights = _softmax(s.masked_fill(blind, 0), KEYS, s.dtype).masked_fill(blind, 0)
    kept = None
    if p:
        padded = -(-size // LANES) * LANES
        ones = s.detach().new_ones((b, all_heads, length, padded))
        kept = _dropout(ones, p, key, counter)[..., :size].unflatten(1, (heads, -1))
    return Matrices(q5, k5, v5, weights, kept, scale, mask)


def _product(m: Matrices) -> Tensor:
    return _from_heads(matmul(m.dropped(m.weights), m.v))


def _second_order(m: Matrices, g: Tensor, gs: tuple) -> tuple:
    """Gradients of g, q, k, v, mask from those of dq, dk, dv and dmask, any of which may be None.

    dS is linear in what comes from the output's side; its gradient s_bar collects the three uses
    of dS, and goes through the softmax and its backward in turn.
    """
    q, k, v, weights, _, scale, mask = m
    heads = k.shape[1]
    gq, gk, gv = (None if x is None else _by_head(x, heads) for x in gs[:3])
    g = _by_head(g, heads)
    dweights = m.dropped(matmul(g, v.transpose(-1, -2)))
    ds = softmax_backward(dweights, weights, KEYS)
    s_bar = None if gs[3] is None else _mask_by_head(gs[3], heads).to(ds.dtype)
    q_bar = k_bar = g_bar = v_bar = p_bar = None
    if gq is not None:
        s_bar = _sum(s_bar, matmul(gq, k.transpose(-1, -2)) * scale)
        k_bar = matmul(ds.transpose(-1, -2), gq) * scale
    if gk is not None:
        s_bar = _sum(s_bar, matmul(q, gk.transpose(-1, -2)) * scale)
        q_bar = matmul(ds, gk) * scale
    if gv is not None:
        p_bar = m.dropped(matmul(g, gv.transpose(-1, -2)))
        g_bar = matmul(m.dropped(weights), gv)
    if s_bar is not None:
        inner = (dweights * weights).sum(-1, keepdim=True)
        p_bar = _sum(p_bar, s_bar * (dweights - inner)
                     - dweights * (s_bar * weights).sum(-1, keepdim=True))  # fmt: skip
        da_bar = m.dropped(softmax_backward(s_bar.expand(weights.shape), weights, KEYS))
        g_bar = _sum(g_bar, matmul(da_bar, v))
        v_bar = matmul(da_bar.transpose(-1, -2), g)
    assert p_bar is not None
    scores = softmax_backward(p_bar, weights, KEYS)
    q_bar = _sum(q_bar, matmul(scores, k) * scale)
    k_bar = _sum(k_bar, matmul(scores.transpose(-1, -2), q) * scale)
    results = [None if x is None else _from_heads(x) for x in (g_bar, q_bar)]
    results += [None if x is None else _from_heads(x.sum(2, keepdim=True)) for x in (k_bar, v_bar)]
    if mask is None or not mask.dtype.is_floating_point:
        return (*results, None, None, None)
    full = scores.flatten(1, 2)
    over = [i for i, n in enumerate(mask.shape) if n == 1 and full.shape[i] != 1]
    dmask = full.sum(over, keepdim=True) if over else full
    return (*results, dmask.to(mask.dtype), None, None)


def _sum(x: Tensor | None, y: Tensor) -> Tensor:
    return y if x is None else x + y


def _mask_by_head(mask: Tensor, heads: int) -> Tensor:
    return mask.unflatten(1, (heads, -1)) if mask.shape[1] > 1 else mask.unsqueeze(2)


# ---- the public function -------------------------------------------------------------------------


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float) -> None:
    """Raise as PyTorch does where dtypes or ranks do not agree."""
    name = "scaled_dot_product_attention"
    given = (("query", query), ("key", key), ("value", value))
    for argument, x in (*given, *((("attn_mask", mask),) if mask is not None else ())):
        check_tensor(name, argument, x)
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            f"{name}: Expected query, key, and value to have the same dtype, but got "
            + ", ".join(f"{argument}.dtype: {x.dtype.name}" for argument, x in given)
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            f"{name}: Expected query, key, and value to all be at least 2 dimensional, but got "
            + ", ".join(f"{argument}.dim: {x.ndim}" for argument, x in given)
        )
    if query.dtype.category != dtypes.FLOAT:
        raise NotImplementedError(f"\"{name}\" not implemented for '{query.dtype.name}'")
    if query.shape[-1] != key.shape[-1]:
        raise RuntimeError(
            f"{name}: query and key have different sizes in their last dim, {list(query.shape)} "
            f"and {list(key.shape)}"
        )
    if key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"{name}: key and value differ in length, {list(key.shape)} and {list(value.shape)}"
        )
    if mask is not None and mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
        raise RuntimeError(
            f"{name}: Expected attn_mask dtype to be bool or float or to match query dtype, but "
            f"got attn_mask.dtype: {mask.dtype.name} and query.dtype: {query.dtype.name} instead."
        )
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, int]:
    """key and value with one number of heads, and how many heads of the query share one of them."""
    name = "scaled_dot_product_attention"
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise IndexError(f"{name}: enable_gqa needs a dim of heads, got {list(query.shape)}")
    heads, k_heads, v_heads = (x.shape[-3] for x in (query, key, value))
    for n in (k_heads, v_heads):
        if n and heads % n:
            raise RuntimeError(
                f"{name}: Number of heads in key and value must divide the number of heads in "
                f"query, got {heads}, {k_heads} and {v_heads}"
            )
    if k_heads == v_heads:
        return key, value, heads // k_heads if k_heads else 1
    return (key.repeat_interleave(heads // k_heads, -3),
            value.repeat_interleave(heads // v_heads, -3), 1)  # fmt: skip


def _as_rows(x: Tensor, batch: tuple[int, ...], flat: tuple[int, int]) -> Tensor:
    """(..., L, E) broadcast to (*batch, L, E) and seen as (B, L, H, E)."""
    return x.expand(*batch, *x.shape[-2:]).reshape(*flat, *x.shape[-2:]).transpose(1, 2)


def _mask_rows(
    mask: Tensor, batch: tuple[int, ...], flat: tuple[int, int], length: int, size: int
) -> Tensor:
    """The mask with 4 dims, each of size 1 or that of (B, H, L, S)."""
    name = "scaled_dot_product_attention"
    full = (*batch, length, size)
    if broadcast(name, (full, mask.shape)) != full:
        raise RuntimeError(
            f"{name}: output with shape {list(full)} doesn't match the broadcast shape "
            f"{list(broadcast(name, (full, mask.shape)))}"
        )
    shape = (1,) * (max(len(full), 4) - mask.ndim) + tuple(mask.shape)
    if len(batch) == 1 and flat[1] == 1:  # its one batch dim is B, not H
        return mask.reshape(shape[1], 1, *shape[2:])
    if len(batch) > 2 and any(n > 1 for n in shape[:-3]):
        mask = mask.expand(*batch[:-1], *shape[-3:])
        return mask.reshape(flat[0], *shape[-3:])
    return mask.reshape(*shape[-4:])


def by_products(query: Tensor, features: int) -> bool:
    """Whether plain products take the place of the fused kernel: where it is forbidden, or cannot.

    Raises: RuntimeError if they are forbidden too (``tgrad.nn.attention.sdpa_kernel``).
    """
    ways = settings.attention
    needed = not ways.fused or (query.device is not CPU and features > LARGEST_HEAD)
    if needed and not ways.math:
        allowed = "one of more than 256 features" if ways.fused else "one of any kind"
        raise RuntimeError(
            "scaled_dot_product_attention: No available kernel. The enabled backends have none for "
            f"{allowed} on {query.device.type}; SDPBackend.MATH has"
        )
    return needed


@composite(spaces=("nn.functional",))
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T * scale + attn_mask) value, in one kernel forward and two backward.

    A bool mask is True where a query may look; a floating one is added to the scores.
    ``is_causal``: query i sees keys 0 to i, whatever the lengths, and those that the mask allows.
    A query that sees nothing gives zeros. ``dropout_p`` drops weights always: pass 0 in evaluation.
    ``scale`` defaults to 1 / sqrt(E). ``enable_gqa``: the query has a multiple of key's and value's
    heads, neighbours among them sharing one.

    Shape: (..., L, E), (..., S, E), (..., S, Ev), the mask broadcastable to (..., L, S) ->
    (..., L, Ev); the dims before broadcast.
    dtype: all alike, floating; the mask bool, float32 or that of the query. Scores and sums are
    kept in float32 for half types. Memory beside inputs and output: O(L) forward, O(L + S)
    backward; features beyond 256 on CUDA, and double backward, take O(L S).
    Raises: RuntimeError where sizes, dtypes or heads do not agree.
    Source: Vaswani et al. 2017, arXiv:1706.03762; Dao 2023, arXiv:2307.08691.
    """
    _check(query, key, value, attn_mask, dropout_p)
    groups = 1
    if enable_gqa:
        key, value, groups = _grouped(query, key, value)
    name = "scaled_dot_product_attention"
    own = tuple(query.shape[:-2])
    if groups > 1:
        own = (*own[:-1], key.shape[-3])
    batch = broadcast(name, (own, tuple(key.shape[:-2]), tuple(value.shape[:-2])))
    by_batch = len(batch) == 1 and not enable_gqa
    few = (batch[0], 1) if by_batch else (math.prod(batch[:-1]), batch[-1] if batch else 1)
    every = (few[0], few[1] * groups)
    q_batch = (*batch[:-1], batch[-1] * groups) if groups > 1 else batch
    q = _as_rows(query, q_batch, every)
    k, v = _as_rows(key, batch, few), _as_rows(value, batch, few)
    length, size, features = q.shape[1], k.shape[1], q.shape[-1]
    products = by_products(query, max(features, v.shape[-1]))
    mask = attn_mask
    if mask is not None:
        mask = _mask_rows(mask, q_batch, every, length, size)
    if scale is None:
        scale = 1.0 / math.sqrt(features) if features else 1.0
    if scale <= 0:
        q, scale = q * scale, 1.0
    p, bits = (dropout_p, (0, 0)) if 0 < dropout_p < 1 else (0.0, (0, 0))
    if p:
        n = math.prod(every) * length * (-(-size // LANES) * LANES)
        bits = reserve(None, query.device, words_for(n, wide=False))
    arguments = (q, k, v, mask, float(scale), bool(is_causal), float(p), *bits)
    if products:
        y = _product(_matrices(*arguments))
    else:
        y, _ = _attention(*arguments)
    y = y.transpose(1, 2).reshape(*q_batch, length, v.shape[-1])
    return y * 0.0 if dropout_p == 1 else y
