"""3-D aggregation of cost volumes, written as 2-D convolutions of pairs of planes.

A volume is (N, D, C, h, w) here: D planes, one per disparity, with C channels each; D is even. Two
neighbouring planes are seen as one image of 2 C channels and go through a 2-D convolution, which
needs no copy. Blocks that pair the planes with an offset of one connect the pairs. All pairs share
their weights, so that what is learned at one disparity holds at others.
Runtimes for CPUs are much slower at real 3-D convolutions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock


class PlaneBlock(nn.Module):
    """2x3x3 convolution of pairs of planes, batch norm and ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: 1, or 2 to halve planes, rows and columns.
        shifted: pair planes 1 and 2, 3 and 4 and so on, instead of 0 and 1, 2 and 3; stride 1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, shifted: bool = False) -> None:
        super().__init__()
        self.shifted = shifted
        self.planes = 2 // stride
        relu = nn.ReLU(inplace=True)
        self.conv = ConvBlock(2 * inputs, self.planes * outputs, 3, stride, activation=relu)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, D, inputs, h, w) to (N, D / stride, outputs, h / stride, w / stride)."""
        if self.shifted:
            volume = F.pad(volume, (0, 0, 0, 0, 0, 0, 1, 1))
        batch, planes, channels, height, width = volume.shape
        pairs = self.conv(volume.reshape(-1, 2 * channels, height, width))
        height, width = pairs.shape[-2:]
        volume = pairs.reshape(batch, planes // 2 * self.planes, -1, height, width)
        return volume[:, 1:-1] if self.shifted else volume


class PlaneUp(nn.Module):
    """Doubles planes, rows and columns; each plane becomes two, which have their own weights.

    Args:
        inputs: input channels.
        outputs: output channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, D, inputs, h, w) to (N, 2 D, outputs, 2 h, 2 w)."""
        pairs = F.interpolate(self.conv(volume.flatten(0, 1)), scale_factor=2.0)
        return pairs.reshape(volume.shape[0], 2 * volume.shape[1], -1, *pairs.shape[-2:])


class PlaneOut(nn.Module):
    """Doubles planes, rows and columns of a volume and reduces it to one channel.

    A pair of planes becomes four and each pixel becomes 2x2; each of these has its own weights.

    Args:
        inputs: input channels.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(2 * inputs, 4, 2, 2)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, D, inputs, h, w) to (N, 2 D, 2 h, 2 w)."""
        batch, planes, channels, height, width = volume.shape
        fours = self.conv(volume.reshape(-1, 2 * channels, height, width))
        return fours.reshape(batch, 2 * planes, 2 * height, 2 * width)
