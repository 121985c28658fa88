"""Image features of the IGEV family: MobileNetV2 with a decoder up to 1/4, and a shallow stem."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, conv_pair
from nndepth_core.encoders.mobilenet_v2 import MobileNetV2


class IgevFeatures(nn.Module):
    """Features at four scales and a guide at half resolution (IGEV-Stereo, 3.1).

    Attributes:
        channels: widths at 1/4, 1/8, 1/16 and 1/32.
        guide: width of the map at 1/2.
    """

    channels = (96, 64, 192, 160)
    guide = 32

    def __init__(self) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(inplace=True)
        self.encoder = MobileNetV2()
        fine, middle, coarse, _ = widths = self.encoder.channels
        self.up = nn.ModuleList()
        self.join = nn.ModuleList()
        inputs = widths[-1]
        for skip in (coarse, middle, fine):
            self.up.append(
                ConvBlock(inputs, skip, 4, 2, norm='instance', activation=leaky, transposed=True)
            )
            inputs = 2 * skip
            self.join.append(ConvBlock(inputs, inputs, norm='instance', activation=leaky))
        self.last = ConvBlock(inputs, inputs, norm='instance', activation=leaky)
        self.stem_half = conv_pair(3, self.guide, 2, 'instance')
        self.stem_quarter = conv_pair(self.guide, self.channels[0] - inputs, 2, 'instance')

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map an image (N, 3, H, W), sides multiples of 32, to maps at 1/4 .. 1/32, and at 1/2."""
        *skips, x = self.encoder(image)
        maps = [x]
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), skips.pop()], 1))
            maps.insert(0, x)
        half = self.stem_half(image)
        maps[0] = torch.cat([self.last(x), self.stem_quarter(half)], 1)
        return maps, half
