"""Vision transformers (Dosovitskiy et al. 2020, arXiv:2010.11929): attention among patches."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from tgrad import nn
from tgrad.creation import empty, zeros
from tgrad.nn import init
from tgrad.ops import cat
from tgrad.tensor import Tensor
from tgrad.vision.models.weights import Weights, loaded

Norm = Callable[[int], nn.Module]
LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class MLPBlock(nn.Sequential):
    """Linear, GELU, dropout, linear, dropout: D -> mlp_dim -> D."""

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float):
        super().__init__(
            nn.Linear(in_dim, mlp_dim), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(mlp_dim, in_dim), nn.Dropout(dropout),
        )  # fmt: skip
        for m in self.modules():
            if isinstance(m, nn.Linear):
                init.xavier_uniform_(m.weight)
                init.normal_(m.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """x + dropout(attention(ln(x))), then x + mlp(ln(x)).

    Shape: (N, L, D) -> (N, L, D).
    """

    def __init__(
        self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float,
        attention_dropout: float, norm_layer: Norm = LayerNorm,
    ):  # fmt: skip
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, dropout=attention_dropout, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(x) + input
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Places added to tokens, blocks and a last normalisation.

    Shape: (N, L, D) -> (N, L, D).
    """

    def __init__(
        self, seq_length: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int,
        dropout: float, attention_dropout: float, norm_layer: Norm = LayerNorm,
    ):  # fmt: skip
        super().__init__()
        self.pos_embedding = nn.Parameter(empty(1, seq_length, hidden_dim))
        init.normal_(self.pos_embedding, std=0.02)
        self.dropout = nn.Dropout(dropout)
        sizes = (num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer)
        self.layers = nn.Sequential(OrderedDict(
            (f"encoder_layer_{i}", EncoderBlock(*sizes)) for i in range(num_layers)))  # fmt: skip
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Patches as tokens, one more for the class, an encoder and a linear head.

    ``representation_size`` puts a linear layer and tanh before the head.
    Shape: (N, 3, image_size, image_size) -> (N, num_classes).
    Raises: AssertionError unless patches divide the image, or for images of another size.
    """

    def __init__(
        self, image_size: int, patch_size: int, num_layers: int, num_heads: int, hidden_dim: int,
        mlp_dim: int, dropout: float = 0.0, attention_dropout: float = 0.0,
        num_classes: int = 1000, representation_size: int | None = None,
        norm_layer: Norm = LayerNorm,
    ):  # fmt: skip
        super().__init__()
        if image_size % patch_size:
            raise AssertionError("Input shape indivisible by patch size!")
        self.image_size, self.patch_size = image_size, patch_size
        self.hidden_dim, self.mlp_dim, self.num_classes = hidden_dim, mlp_dim, num_classes
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.representation_size, self.norm_layer = representation_size, norm_layer
        self.conv_proj = nn.Conv2d(3, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(self.seq_length, num_layers, num_heads, hidden_dim, mlp_dim,
                               dropout, attention_dropout, norm_layer)  # fmt: skip
        heads: OrderedDict[str, nn.Module] = OrderedDict()
        wide = hidden_dim
        if representation_size is not None:
            wide = representation_size
            heads["pre_logits"] = self._narrow(nn.Linear(hidden_dim, wide), hidden_dim)
            heads["act"] = nn.Tanh()
        heads["head"] = last = nn.Linear(wide, num_classes)
        self.heads = nn.Sequential(heads)
        self._narrow(self.conv_proj, 3 * patch_size**2)
        init.zeros_(last.weight)
        init.zeros_(last.bias)

    @staticmethod
    def _narrow(layer: Any, fan_in: int) -> Any:
        """Weights with the standard deviation 1 / sqrt(fan_in), cut off at 2; biases of 0."""
        init.trunc_normal_(layer.weight, std=math.sqrt(1 / fan_in))
        init.zeros_(layer.bias)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        for name, side in (("height", h), ("width", w)):
            if side != self.image_size:
                raise AssertionError(
                    f"Wrong image {name}! Expected {self.image_size} but got {side}!"
                )
        x = self.conv_proj(x).flatten(2).transpose(1, 2)  # (N, patches, D)
        x = cat([self.class_token.expand(n, -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])


def _vit(size: tuple[int, int, int, int, int], weights: Weights, options: dict[str, Any]) -> Any:
    patch, layers, heads, hidden, mlp = size
    image = options.pop("image_size", 224)
    return loaded(VisionTransformer(image, patch, layers, heads, hidden, mlp, **options), weights)


def vit_b_16(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VisionTransformer:
    """ViT-B/16, 86,567,656 parameters; ``weights``: a path or a state_dict."""
    del progress
    return _vit((16, 12, 12, 768, 3072), weights, kwargs)


def vit_b_32(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VisionTransformer:
    """ViT-B/32, 88,224,232 parameters; ``weights``: a path or a state_dict."""
    del progress
    return _vit((32, 12, 12, 768, 3072), weights, kwargs)


def vit_l_16(*, weights: Weights = None, progress: bool = True, **kwargs: Any) -> VisionTransformer:
    """ViT-L/16, 304,326,632 parameters; ``weights``: a path or a state_dict."""
    del progress
    return _vit((16, 24, 16, 1024, 4096), weights, kwargs)
