"""Multi-head attention as one function: projections, masks, attention, output projection."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from tgrad import dtypes
from tgrad.dispatch import OPS, composite
from tgrad.ops.attention import scaled_dot_product_attention
from tgrad.ops.dropout import dropout
from tgrad.ops.matmul import linear, matmul
from tgrad.ops.softmax import softmax

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

__all__ = ["multi_head_attention_forward"]

NAME = "multi_head_attention_forward"


def require(holds: bool, text: str) -> None:
    """PyTorch raises AssertionError for these."""
    if not holds:
        raise AssertionError(f"{NAME}: {text}")


def check_ranks(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None,
    num_heads: int,
) -> bool:  # fmt: skip
    """Whether the input has a batch dim; raises where ranks do not agree."""
    require(
        query.ndim in (2, 3),
        "query should be unbatched 2D or batched 3D tensor but received "
        f"{query.ndim}-D query tensor",
    )
    n = query.ndim
    what = "batched (3-D)" if n == 3 else "unbatched (2-D)"
    require(
        key.ndim == n and value.ndim == n,
        f"For {what} `query`, expected `key` and `value` to be {n}-D but found {key.ndim}-D and "
        f"{value.ndim}-D tensors respectively",
    )
    if padding is not None:
        require(
            padding.ndim == n - 1,
            f"For {what} `query`, expected `key_padding_mask` to be `None` or {n - 1}-D but found "
            f"{padding.ndim}-D tensor instead",
        )
    if mask is not None:
        require(
            mask.ndim in (2, 3),
            f"For {what} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{mask.ndim}-D tensor instead",
        )
        if n == 2 and mask.ndim == 3:
            want = (num_heads, query.shape[0], key.shape[0])
            require(
                tuple(mask.shape) == want,
                f"Expected `attn_mask` shape to be {want} but got {tuple(mask.shape)}",
            )
    for name, m in (("key_padding_mask", padding), ("attn_mask", mask)):
        if m is not None:
            floating = m.dtype.is_floating_point or m.dtype is dtypes.bool_
            require(floating, f"only bool and floating types of {name} are supported")
    if padding is not None and mask is not None and padding.dtype is not mask.dtype:
        warnings.warn(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type "
            "for both instead.",
            stacklevel=4,
        )
    return n == 3


def merged_masks(mask: Tensor | None, padding: Tensor | None, dtype: dtypes.dtype) -> Tensor | None:
    """One mask of what broadcasts to (N, H, L, S): bool, True where a query may look, if both are
    bool, else what is added to the scores."""
    given = [m for m in (mask, padding) if m is not None]
    if not given:
        return None
    if all(m.dtype is dtypes.bool_ for m in given):
        hidden = given[0] if len(given) == 1 else given[0] | given[1]
        return ~hidden
    added = [added_mask(~m, dtype) if m.dtype is dtypes.bool_ else m for m in given]
    return added[0] if len(added) == 1 else added[0] + added[1]


def added_mask(allowed: Tensor, dtype: dtypes.dtype) -> Tensor:
    """0 where ``allowed``, else -inf."""
    zeros = allowed.new_zeros(allowed.shape, dtype=dtype)
    return zeros.masked_fill(~allowed, -math.inf)


def padded(mask: Tensor | None) -> Tensor | None:
    """The mask with one more key, which all may see."""
    if mask is None:
        return None
    more = mask.new_zeros((*mask.shape[:-1], 1))
    return OPS["cat"].function([mask, more], -1)


def projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None, bias: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None] | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Query, key and value by their projections; equal inputs share one product."""
    biases = (None, None, None) if bias is None else bias.chunk(3)
    if separate is not None:
        for which, w in zip(("q", "k", "v"), separate, strict=True):
            require(
                w is not None, f"use_separate_proj_weight is True but {which}_proj_weight is None"
            )
        q, k, v = (
            linear(x, w, b)  # pyright: ignore[reportArgumentType]
            for x, w, b in zip((query, key, value), separate, biases, strict=True)
        )
        return q, k, v
    require(weight is not None, "use_separate_proj_weight is False but in_proj_weight is None")
    assert weight is not None
    if query is key and key is value:
        q, k, v = linear(query, weight, bias).chunk(3, -1)
        return q, k, v
    width = query.shape[-1]
    if key is value:
        some = None if bias is None else bias[width:]
        k, v = linear(key, weight[width:], some).chunk(2, -1)
        return linear(query, weight[:width], biases[0]), k, v
    q, k, v = (
        linear(x, w, b)
        for x, w, b in zip((query, key, value), weight.chunk(3), biases, strict=True)
    )
    return q, k, v


def by_heads(x: Tensor, heads: int, batch_first: bool) -> Tensor:
    """(N, L, E) or (L, N, E) seen as (N, H, L, E / H)."""
    split = x.unflatten(-1, (heads, x.shape[-1] // heads))
    return split.transpose(1, 2) if batch_first else split.permute(1, 2, 0, 3)


def static_heads(x: Tensor, which: str, batch: int, heads: int, size: int) -> Tensor:
    """Ready keys or values (N * H, S, E / H) as (N, H, S, E / H)."""
    require(
        x.shape[0] == batch * heads,
        f"expecting static_{which}.size(0) of {batch * heads}, but got {x.shape[0]}",
    )
    require(x.shape[2] == size, f"expecting static_{which}.size(2) of {size}, but got {x.shape[2]}")
    return x.unflatten(0, (batch, heads))


def with_key(x: Tensor, more: Tensor | None, heads: int) -> Tensor:
    """(N, H, S, E / H) with one more key: ``more`` (1, 1, E), or zeros."""
    shape = (*x.shape[:2], 1, x.shape[3])
    if more is None:
        last = x.new_zeros(shape)
    else:
        last = more.reshape(1, heads, 1, x.shape[3]).expand(*shape).to(x.dtype)
    return OPS["cat"].function([x, last], 2)


def weighed(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """(attention, its weights) by matrices, where the weights are asked for."""
    scores = matmul(q * math.sqrt(1 / q.shape[-1]), k.transpose(-1, -2))
    if mask is not None:
        added = added_mask(mask, q.dtype) if mask.dtype is dtypes.bool_ else mask
        scores = scores + added
    weights = dropout(softmax(scores, -1), dropout_p)
    return matmul(weights, v), weights


def check_masks(
    mask: Tensor | None, padding: Tensor | None, batch: int, heads: int, length: int, size: int
) -> None:
    if mask is not None:
        want = (length, size) if mask.ndim == 2 else (batch * heads, length, size)
        if tuple(mask.shape) != want:
            raise RuntimeError(
                f"{NAME}: The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but "
                f"should be {want}."
            )
    if padding is not None:
        require(
            tuple(padding.shape) == (batch, size),
            f"expected key_padding_mask of {(batch, size)}, got {tuple(padding.shape)}",
        )


@composite(spaces=("nn.functional",))
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """(attention, its weights or None) of (L, N, E) or (L, E): see ``nn.MultiheadAttention``.

    Masks hide where they are True, or are added. ``is_causal`` promises that ``attn_mask`` is the
    causal one, and is used in its place where no weights and no padding are asked for.
    Raises: AssertionError or RuntimeError, as PyTorch does, where shapes do not agree.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
    """
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    return multi_head(
        query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k,
        bias_v, add_zero_attn, dropout_p if training else 0.0, out_proj_weight, out_proj_bias,
        key_padding_mask, need_weights, attn_mask, separate, (static_k, static_v),
        average_attn_weights, is_causal, False,
    )  # fmt: skip


def multi_head(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, weight: Tensor | None,
    bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, zero_attn: bool, p: float,
    out_weight: Tensor, out_bias: Tensor | None, padding: Tensor | None, need_weights: bool,
    mask: Tensor | None, separate: tuple | None, static: tuple[Tensor | None, Tensor | None],
    average: bool, is_causal: bool, batch_first: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """:func:`multi_head_attention_forward` for either order of batch and length."""
    batched = check_ranks(query, key, value, padding, mask, heads)
    if is_causal and mask is None:
        raise RuntimeError(
            f"{NAME}: Need attn_mask if specifying the is_causal hint. You may use the Transformer "
            "module method `generate_square_subsequent_mask` to create this mask."
        )
    if not batched:
        at = 0 if batch_first else 1
        alike = query is key and key is value, key is value
        query = query.unsqueeze(at)
        key = query if alike[0] else key.unsqueeze(at)
        value = key if alike[1] else value.unsqueeze(at)
        padding = None if padding is None else padding.unsqueeze(0)
    causal = is_causal and padding is None and not need_weights
    mask = None if causal else mask
    check_widths(query, key, value, embed_dim, heads, separate is not None)
    batch, length = query.shape[:2] if batch_first else query.shape[1::-1]
    q, k, v = (
        by_heads(x, heads, batch_first)
        for x in projected(query, key, value, weight, bias, separate)
    )
    check_masks(mask, padding, batch, heads, length, k.shape[2])
    if bias_k is not None or bias_v is not None:
        require(bias_v is not None, "bias_k is set but bias_v is None")
        require(bias_k is not None, "bias_v is set but bias_k is None")
        require(static[0] is None, "bias cannot be added to static key.")
        require(static[1] is None, "bias cannot be added to static value.")
        k, v = with_key(k, bias_k, heads), with_key(v, bias_v, heads)
        mask, padding = padded(mask), padded(padding)
    size = embed_dim // heads
    if static[0] is not None:
        k = static_heads(static[0], "k", batch, heads, size)
    if static[1] is not None:
        v = static_heads(static[1], "v", batch, heads, size)
    if zero_attn:
        k, v = with_key(k, None, heads), with_key(v, None, heads)
        mask, padding = padded(mask), padded(padding)
    if mask is not None and mask.ndim == 3:
        mask = mask.unflatten(0, (batch, heads))
    padding = None if padding is None else padding[:, None, None]
    both = merged_masks(mask, padding, q.dtype)
    weights = None
    if need_weights:
        y, weights = weighed(q, k, v, both, p)
        weights = weights.mean(1) if average else weights
    else:
        y = scaled_dot_product_attention(q, k, v, both, p, causal)
    y = y.transpose(1, 2) if batch_first else y.permute(2, 0, 1, 3)
    y = linear(y.flatten(2), out_weight, out_bias)
    if not batched:
        y = y.squeeze(0 if batch_first else 1)
        weights = None if weights is None else weights.squeeze(0)
    return y, weights


def check_widths(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, separate: bool
) -> None:
    width = query.shape[-1]
    require(
        width == embed_dim, f"was expecting embedding dimension of {embed_dim}, but got {width}"
    )
    require(embed_dim % heads == 0, f"embed_dim {embed_dim} not divisible by num_heads {heads}")
    if separate:
        require(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's "
            f"{tuple(value.shape[:2])}",
        )
    else:
        require(
            key.shape == value.shape,
            f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}",
        )
