"""A transformer that continues text: tied weights, two kinds of attention, the top k."""

# Written as users write: pyright is told less.
# pyright: reportPossiblyUnboundVariable=false, reportArgumentType=false, reportCallIssue=false

import math
from dataclasses import dataclass

import numpy as np

import tgrad as torch
import tgrad.nn as nn
from tgrad import Tensor
from tgrad.nn import functional as F

TEXT = "the quick brown fox jumps over the lazy dog and the lazy dog sleeps under the brown fox "


@dataclass
class Config:
    vocab: int = 27
    length: int = 16
    width: int = 16
    heads: int = 2
    layers: int = 2
    fast: bool = True


class Attention(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.qkv, self.proj = nn.Linear(c.width, 3 * c.width), nn.Linear(c.width, c.width)
        self.heads, self.fast = c.heads, c.fast
        self.register_buffer("mask", torch.tril(torch.ones(c.length, c.length)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.size()
        q, k, v = [
            a.view(n, t, self.heads, c // self.heads).transpose(1, 2)
            for a in self.qkv(x).split(c, dim=2)
        ]
        if self.fast:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(k.size(-1)))
            scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
            y = F.softmax(scores, dim=-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(n, t, c))


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(c.width), nn.LayerNorm(c.width, bias=False)
        self.attention = Attention(c)
        self.mlp = nn.Sequential(
            nn.Linear(c.width, 4 * c.width), nn.GELU(), nn.Linear(4 * c.width, c.width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Words(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        self.words, self.places = nn.Embedding(c.vocab, c.width), nn.Embedding(c.length, c.width)
        self.blocks = nn.ModuleList([Block(c) for _ in range(c.layers)])
        self.head = nn.Linear(c.width, c.vocab, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids, targets=None):
        x = self.words(ids) + self.places(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = block(x)
        if targets is None:
            return self.head(x[:, [-1], :]), None
        logits = self.head(x)
        return logits, F.cross_entropy(
            logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1
        )

    @torch.no_grad()
    def extend(self, ids, count, k):
        for _ in range(count):
            logits = self(ids[:, -self.config.length :])[0][:, -1, :] / 0.8
            v, _ = torch.topk(logits, min(k, logits.size(-1)))
            logits[logits < v[:, [-1]]] = -float("Inf")
            ids = torch.cat((ids, F.softmax(logits, dim=-1).argmax(-1, keepdim=True)), dim=1)
        return ids


def main():
    found = []
    data = torch.tensor([ord(c) - 96 if c != " " else 0 for c in TEXT], dtype=torch.long)
    for fast in (True, False):
        rng = np.random.default_rng(2)
        model = Words(Config(fast=fast))
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.data = torch.tensor(rng.normal(0, 0.1, p.shape), dtype=torch.float32)
            elif "bias" in name:
                torch.nn.init.zeros_(p)
        print(model, f"{sum(p.numel() for p in model.parameters()):,} parameters")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / 4)
        )
        for _ in range(12):
            at = torch.from_numpy(rng.integers(0, len(data) - 17, 8))
            x = torch.stack([data[i : i + 16] for i in at])
            y = torch.stack([data[i + 1 : i + 17] for i in at])
            y[:, 0] = -1
            _, loss = model(x, y)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            schedule.step()
            found += [loss.item(), norm.item(), schedule.get_last_lr()[0]]
        print(loss, x.shape, model.extend(data[None, :5], 6, 3))
    return found


if __name__ == "__main__":
    main()
