"""Multi-head attention as a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgrad.creation import empty
from tgrad.nn import init
from tgrad.nn.modules.linear import Linear
from tgrad.nn.modules.module import Module
from tgrad.nn.parameter import Parameter
from tgrad.ops.multi_head import multi_head

if TYPE_CHECKING:
    from tgrad.device import device as Device
    from tgrad.dtypes import dtype as DType
    from tgrad.tensor import Tensor


class NonDynamicallyQuantizableLinear(Linear):
    """:class:`Linear` under the name that PyTorch's output projection has."""


class MultiheadAttention(Module):
    """Concat(head_1, ..., head_h) W^O, head_i = attention(q W_i^Q, k W_i^K, v W_i^V)
    (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2).

    Shape: query (L, N, E), key (S, N, kdim), value (S, N, vdim), or batch first, or without N ->
    (L, N, E) and, with ``need_weights``, the weights averaged over heads, (N, L, S), or by head,
    (N, H, L, S). ``key_padding_mask`` (N, S) and ``attn_mask`` (L, S) or (N * H, L, S) hide where
    they are True, or are added. Without weights the fused kernel runs; a query that sees nothing
    then gives zeros and no NaN. Projections start by Glorot and Bengio, biases at 0.
    Raises: ValueError unless sizes are positive, AssertionError unless heads divide the features.
    """

    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: str | Device | None = None,
        dtype: DType | None = None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}"
            )

        def new(*shape: int) -> Parameter:
            return Parameter(empty(*shape, device=device, dtype=dtype))

        same = self._qkv_same_embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        for which, width in widths.items():
            self.register_parameter(f"{which}_proj_weight", None if same else new(embed_dim, width))
        self.register_parameter("in_proj_weight", new(3 * embed_dim, embed_dim) if same else None)
        self.register_parameter("in_proj_bias", new(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        self.bias_k = new(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = new(1, 1, embed_dim) if add_bias_kv else None
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the projections anew."""
        for which in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, which)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for more in (self.bias_k, self.bias_v):
            if more is not None:
                init.xavier_normal_(more)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        separate = None
        if not self._qkv_same_embed_dim:
            separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        return multi_head(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn,
            self.dropout if self.training else 0.0, self.out_proj.weight, self.out_proj.bias,
            key_padding_mask, need_weights, attn_mask, separate, (None, None),
            average_attn_weights, is_causal, self.batch_first,
        )  # fmt: skip
