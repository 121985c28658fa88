"""Attention between the pixels or patches of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention at a cost linear in the number of tokens (Katharopoulos et al., ICML 2020).

    The similarity of query and key is the product of their elu + 1, so that the sum over keys and
    values does not depend on the query. Means instead of sums keep half precision in range.

    Args:
        queries: (N, L, heads, D).
        keys: (N, S, heads, D).
        values: (N, S, heads, D).

    Returns:
        (N, L, heads, D).
    """
    tokens = keys.shape[1]
    queries, keys = (F.elu(x).add(1).transpose(1, 2) for x in (queries, keys))
    summary = keys.transpose(2, 3) @ (values.transpose(1, 2) / tokens)
    norm = queries @ keys.mean(2).unsqueeze(3) + 1e-6 / tokens
    return (queries @ summary / norm).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Transformer layer whose MLP sees tokens and message together (LoFTR, CVPR 2021, 3.2).

    Args:
        channels: width of the tokens.
        hidden: inner width of the MLP; None for a layer that adds the message itself.
        activation: activation of the MLP.
    """

    def __init__(self, channels: int, hidden: int | None, activation: nn.Module) -> None:
        super().__init__()
        self.to_queries = nn.Linear(channels, channels, bias=False)
        self.to_keys = nn.Linear(channels, channels, bias=False)
        self.to_values = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.merge_norm = nn.LayerNorm(channels)
        self.mlp: nn.Module | None = None
        if hidden is not None:
            self.mlp = nn.Sequential(
                nn.Linear(2 * channels, hidden, bias=False),
                activation,
                nn.Linear(hidden, channels, bias=False),
                nn.LayerNorm(channels),
            )

    def forward(self, tokens: Tensor, source: Tensor, *how: Any) -> Tensor:
        """Let tokens (N, ..., channels) attend to a source (N, ..., channels).

        Args:
            tokens: what is updated; the result has their shape.
            source: where the keys and values come from.
            how: further arguments of `attend`.
        """
        attended = self.attend(
            self.to_queries(tokens), self.to_keys(source), self.to_values(source), *how
        )
        message = self.merge_norm(self.merge(attended))
        if self.mlp is not None:
            message = self.mlp(torch.cat((tokens, message), -1))
        return tokens + message

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *how: Any) -> Tensor:
        """Mix the values by the similarity of queries and keys; the shape of the queries."""
        raise NotImplementedError


class LinearTransformerLayer(TransformerLayer):
    """Transformer layer of linear attention for tokens (N, L, channels).

    Args:
        channels: width of the tokens.
        heads: number of attention heads; divides `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__(channels, 2 * channels, nn.ReLU(inplace=True))
        self.heads = heads

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *how: Any) -> Tensor:
        """See `linear_attention`; (N, L, channels)."""
        parts = (x.unflatten(2, (self.heads, -1)) for x in (queries, keys, values))
        return linear_attention(*parts).flatten(2)


class SelfAttention(nn.Module):
    """Attention between all tokens, in several heads (Vaswani et al., NeurIPS 2017, 3.2).

    Args:
        channels: width of the tokens.
        heads: number of attention heads; divides `channels`.
        norm: whether queries and keys pass a layer norm of their own in each head.
    """

    def __init__(self, channels: int, heads: int, *, norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.width = channels // heads
        self.project = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.query_norm = nn.LayerNorm(self.width) if norm else nn.Identity()
        self.key_norm = nn.LayerNorm(self.width) if norm else nn.Identity()

    def forward(self, tokens: Tensor, place: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map tokens (N, L, channels) to the same shape.

        Args:
            tokens: what attends to itself.
            place: puts the positions of the tokens into queries and keys (N, heads, L, D).
        """
        parts = self.project(tokens).unflatten(2, (3, self.heads, self.width))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind()
        queries, keys = self.query_norm(queries), self.key_norm(keys)
        if place is not None:
            queries, keys = place(queries), place(keys)
        # Given the scale, the exporter does not compute it from shapes in each layer.
        mixed = F.scaled_dot_product_attention(queries, keys, values, scale=self.width**-0.5)
        return self.merge(mixed.transpose(1, 2).flatten(2))
