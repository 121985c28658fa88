"""ConvNeXt blocks (Liu et al., CVPR 2022, arXiv 2201.03545)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.norm import ChannelNorm

_EPSILON = 1e-6


class ConvNextBlock(nn.Module):
    """Depthwise 7x7 convolution, layer norm, two linear layers with GELU (fig. 4).

    Args:
        channels: width of input and output.
        expansion: the inner width divided by `channels`.
    """

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.normalize = nn.LayerNorm(channels, eps=_EPSILON)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        y = self.normalize(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.widen(y)))
        return x + (self.scale * y).permute(0, 3, 1, 2)


def shrink(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Layer norm, then a convolution whose kernel is as large as its stride (2.3)."""
    return nn.Sequential(ChannelNorm(inputs), nn.Conv2d(inputs, outputs, stride, stride))
