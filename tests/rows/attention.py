"""Rows of attention; ``tests/test_attention.py`` has dropout, long rows and the tiles."""

import numpy as np

import tgrad.nn.functional  # noqa: F401 - its rows are found by attribute
from tests.table import b, own, row, s, t, value

INF = float("inf")


def attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    if enable_gqa:
        key, value = (x.repeat(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    if scale is None:
        scale = 1 / np.sqrt(query.shape[-1]) if query.shape[-1] else 1
    scores = query @ np.swapaxes(key, -1, -2) * scale
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -INF)
    if attn_mask is not None:
        hidden = np.where(attn_mask, 0, -INF) if attn_mask.dtype == bool else attn_mask
        scores = scores + hidden
    top = np.max(scores, -1, keepdims=True, initial=-1e300)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return weights @ value * (dropout_p != 1)


def multi_head(
    query, key, value, embed_dim, heads, weight, bias, bias_k, bias_v, zero_attn, dropout_p,
    out_weight, out_bias, need_weights=True, attn_mask=None, key_padding_mask=None,
):  # fmt: skip
    """For (L, N, E) and bool masks."""
    q, k, v = (
        x @ w.T + b
        for x, w, b in zip((query, key, value), np.split(weight, 3), np.split(bias, 3), strict=True)
    )
    if bias_k is not None:
        k, v = (
            np.concatenate([x, np.repeat(b, x.shape[1], 1)]) for x, b in ((k, bias_k), (v, bias_v))
        )
    if zero_attn:
        k, v = (np.concatenate([x, np.zeros_like(x[:1])]) for x in (k, v))
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2, 0, 3) for x in (q, k, v))
    seen = np.ones((q.shape[0], 1, q.shape[2], k.shape[2]), bool)
    if attn_mask is not None:
        seen[..., : attn_mask.shape[-1]] &= ~attn_mask
    if key_padding_mask is not None:
        seen[..., : key_padding_mask.shape[-1]] &= ~key_padding_mask[:, None, None]
    y = attention(q, k, v, seen).transpose(2, 0, 1, 3)
    y = y.reshape(*query.shape) @ out_weight.T + out_bias
    return y, attention(q, k, np.eye(k.shape[2]), seen).mean(1)


def qkv(*batch, length=5, size=7, features=3, values=4):
    return t(*batch, length, features), t(*batch, size, features), t(*batch, size, values)


# Row 1 sees nothing, row 2 one key.
SEEN = value([[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]], "bool")
ADDED = value([[0.5, -INF, 1, 0], [-INF] * 4, [-INF, -INF, 2, -INF]], grad=False)
FUTURE = value(np.triu(np.ones((3, 5)), 1), "bool")
PADDING = value([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]], "bool")
BOTH = "torch's math takes a mask or is_causal, its fused kernel both"

NAME = "nn.functional.scaled_dot_product_attention"
ROWS = [
    row(
        NAME,
        s(*qkv(1, 2, length=3, size=4)), s(*qkv(2, 1, length=4, size=3), is_causal=True),
        s(*qkv(1, 2, length=3, size=4), t(3, 1)), s(*qkv(1, 2, length=3, size=4), SEEN),
        s(t(1, 2, 3, 2), t(1, 1, 4, 2), t(1, 1, 4, 2), t(2, 1, 4), scale=-0.7, enable_gqa=True),
        ref=attention,
    ),
    row(
        NAME,
        s(*qkv(2, 3)), s(*qkv(2)), s(*qkv()),
        s(*qkv(1, 2, length=37, size=35, features=19, values=17)),  # several tiles, none full
        s(*qkv(1, 2, length=35, size=19), is_causal=True),
        s(*qkv(2, 1, length=4, size=18), is_causal=True),
        s(*qkv(2, 3), t(5, 7)), s(*qkv(2, 3), t(2, 1, 1, 7)), s(*qkv(2, 3), t(3, 5, 1)),
        s(*qkv(2, 3), t(1, 1)), s(*qkv(2), t(2, 5, 7)), s(*qkv(2), b(2, 1, 7)),
        s(*qkv(1, 2, length=18, size=33), t(2, 1, 33)),
        s(*qkv(1, 2, length=18, size=33), t(18, 1)),
        s(*qkv(2, 3), b(5, 7)), s(*qkv(2, 3), b(2, 3, 5, 7)),
        s(*qkv(2, 2, length=3, size=4), ADDED),
        own(BOTH, s(*qkv(2), t(5, 7), is_causal=True)),
        s(*qkv(2, 3), scale=0.3), s(*qkv(2, 3), scale=0.0), s(*qkv(2, 3), None, 1.0),
        s(t(2, 6, 5, 3), t(2, 2, 7, 3), t(2, 3, 7, 4), t(6, 1, 7), enable_gqa=True),
        s(t(4, 5, 3), t(2, 5, 3), t(2, 5, 4), is_causal=True, enable_gqa=True),
        s(t(2, 1, 5, 3), t(1, 2, 7, 3), t(2, 2, 7, 4)),  # batches broadcast
        s(t(2, 1, 2, 5, 3), t(1, 2, 2, 4, 3), t(2, 2, 2, 4, 3), t(2, 1, 1, 5, 4)),
        s(t(2, 3, 0, 3), t(2, 3, 4, 3), t(2, 3, 4, 4)),
        s(t(2, 3, 2, 3), t(2, 3, 0, 3), t(2, 3, 0, 4), t(2, 0)), s(*qkv(0, 3)),
        s(*qkv(2, 3, features=0)),
        ref=attention, gradgrad=False,  # of second order above: it has one way, by matrices
    ),
    row(
        "nn.functional.multi_head_attention_forward",
        s(t(3, 2, 4), t(5, 2, 4), t(5, 2, 4), 4, 2, t(12, 4), t(12), None, None, False, 0.0,
          t(4, 4), t(4)),
        s(t(3, 2, 4), t(5, 2, 4), t(5, 2, 4), 4, 2, t(12, 4), t(12), t(1, 1, 4), t(1, 1, 4), True,
          0.0, t(4, 4), t(4), need_weights=True, attn_mask=FUTURE, key_padding_mask=PADDING),
        ref=multi_head, gradgrad=False,  # made of ops that have rows of their own
    ),
]  # fmt: skip
