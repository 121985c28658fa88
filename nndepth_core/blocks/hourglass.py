"""3-D aggregation of a cost volume, guided by image features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock


class FeatureAttention(nn.Module):
    """Scales a volume's channels by gates in 0..1 that image features give (IGEV-Stereo, 3.2).

    Args:
        volume: channels of the volume.
        features: channels of the image features.
    """

    def __init__(self, volume: int, features: int) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(inplace=True)
        self.gate = nn.Sequential(
            ConvBlock(features, features // 2, 1, activation=leaky),
            nn.Conv2d(features // 2, volume, 1),
        )

    def forward(self, volume: Tensor, features: Tensor) -> Tensor:
        """Gate the volume (N, volume, D, h, w) by features (N, features, h, w)."""
        return torch.sigmoid(self.gate(features)).unsqueeze(2) * volume


class Hourglass(nn.Module):
    """3-D encoder and decoder with skip connections (IGEV-Stereo, 3.2).

    Args:
        widths: channels of the volume at each scale, finest first; the last is the bottom.
        features: channels of the image features at each scale but the finest.
    """

    def __init__(self, widths: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(inplace=True)

        def block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> ConvBlock:
            return ConvBlock(inputs, outputs, kernel, stride, activation=leaky, dims=3)

        def enlarge(inputs: int, outputs: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, 4, 2, activation=leaky, dims=3, transposed=True)

        middle = widths[-2:0:-1]
        self.down = nn.ModuleList(
            nn.Sequential(block(fine, coarse, stride=2), block(coarse, coarse))
            for fine, coarse in pairwise(widths)
        )
        self.down_attention = nn.ModuleList(map(FeatureAttention, widths[1:], features))
        self.up = nn.ModuleList(map(enlarge, widths[:1:-1], middle))
        self.join = nn.ModuleList(
            nn.Sequential(block(2 * width, width, 1), block(width, width), block(width, width))
            for width in middle
        )
        self.up_attention = nn.ModuleList(map(FeatureAttention, middle, features[-2::-1]))
        self.last = ConvBlock(widths[1], widths[0], 4, 2, norm=None, dims=3, transposed=True)

    def forward(self, volume: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Aggregate a volume.

        Args:
            volume: (N, widths[0], D, h, w), D, h and w multiples of 2**(len(widths) - 1).
            features: (N, features[i], h / 2**(i + 1), w / 2**(i + 1)).

        Returns:
            Volume of the same shape.
        """
        skips = []
        for down, attention, guide in zip(self.down, self.down_attention, features, strict=True):
            volume = attention(down(volume), guide)
            skips.append(volume)
        skips.pop()
        for up, join, attention, guide in zip(
            self.up, self.join, self.up_attention, features[-2::-1], strict=True
        ):
            volume = attention(join(torch.cat([up(volume), skips.pop()], 1)), guide)
        return self.last(volume)
