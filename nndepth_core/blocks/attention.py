"""Attention between the pixels of feature maps."""

from __future__ import annotations

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


class LinearTransformerLayer(nn.Module):
    """Transformer layer of linear attention (LoFTR, Sun et al., CVPR 2021, 3.2).

    Args:
        channels: width of the tokens.
        heads: number of attention heads; divides `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(channels, channels, bias=False)
        self.to_keys = nn.Linear(channels, channels, bias=False)
        self.to_values = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.merge_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(2 * channels, channels, bias=False),
            nn.LayerNorm(channels),
        )

    def forward(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Let tokens (N, L, channels) attend to a source (N, S, channels); (N, L, channels)."""
        attended = linear_attention(
            *(
                linear(x).unflatten(2, (self.heads, -1))
                for linear, x in (
                    (self.to_queries, tokens),
                    (self.to_keys, source),
                    (self.to_values, source),
                )
            )
        )
        message = self.merge_norm(self.merge(attended.flatten(2)))
        return tokens + self.mlp(torch.cat((tokens, message), 2))
