"""Attention to channels and to places, from means and maxima (CBAM; Woo et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Gates channels by their mean and their maximum over the whole map (3, channel attention).

    Args:
        channels: width of the map.
        squeezed: width between the two convolutions, which mean and maximum share.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the gated map of the same shape."""
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * torch.sigmoid(self.gate(mean) + self.gate(peak))


class SpatialAttention(nn.Module):
    """Weighs places by the mean and the maximum of their channels (3, spatial attention)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to weights (N, 1, h, w) in 0..1."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return torch.sigmoid(self.conv(pooled))
