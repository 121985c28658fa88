"""Partial convolution: a part of the channels sees its neighbours, the others pass.

Chen et al., "Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks", CVPR 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock


class FasterBlock(nn.Module):
    """3x3 convolution of the first quarter of the channels, then two 1x1 convolutions (fig. 4).

    Only the wide part in the middle has a norm and an activation. The input is added.

    Args:
        channels: width of input and output, a multiple of 4.
        expansion: the inner width divided by `channels`.
    """

    official_rules = (
        (r'\.mix\.', '.spatial_mixing.partial_conv3.'),
        (r'\.expand\.conv\.', '.mlp.0.'),
        (r'\.expand\.norm\.', '.mlp.1.'),
        (r'\.project\.', '.mlp.3.'),
    )

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.parts = channels // 4, channels - channels // 4
        self.mix = nn.Conv2d(self.parts[0], self.parts[0], 3, padding=1, bias=False)
        self.expand = ConvBlock(channels, expansion * channels, 1, activation=nn.GELU())
        self.project = nn.Conv2d(expansion * channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        first, rest = x.split(self.parts, 1)
        return x + self.project(self.expand(torch.cat((self.mix(first), rest), 1)))


class FasterUnit(nn.Module):
    """A `FasterBlock`, after a 3x3 convolution with norm where size or width change.

    Args:
        inputs: width of the input.
        outputs: width of the output, a multiple of 4.
        stride: stride of the 3x3 convolution.
        expansion: expansion of the block.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, expansion: int = 4) -> None:
        super().__init__()
        same = stride == 1 and inputs == outputs
        self.resize = nn.Identity() if same else ConvBlock(inputs, outputs, 3, stride)
        self.block = FasterBlock(outputs, expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, ceil(h / stride), ceil(w / stride))."""
        return self.block(self.resize(x))
