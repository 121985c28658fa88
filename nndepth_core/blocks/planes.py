"""3-D convolutions of cost volumes, written as 2-D convolutions of their planes.

A volume is (N, D, C, h, w) here: one plane of C channels for each of D disparities. All planes go
through the same weights, so that what is learned at one disparity holds at all of them. Runtimes
for CPUs are much slower at convolutions that are 3-D by name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ConvBlock


class PlaneBlock(nn.Module):
    """3x3x3 convolution, batch norm and ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: 1 or 2, of planes, rows and columns alike.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = ConvBlock(3 * inputs, outputs, 3, stride, activation=nn.ReLU(inplace=True))

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, D, inputs, h, w) to (N, D / stride, outputs, h / stride, w / stride)."""
        planes = volume.shape[1]
        padded = F.pad(volume, (0, 0, 0, 0, 0, 0, 1, 1))
        shifted = [padded[:, k : k + planes : self.stride] for k in range(3)]
        joined = self.conv(torch.cat(shifted, 2).flatten(0, 1))
        return joined.unflatten(0, (-1, planes // self.stride))


class PlaneShuffle(nn.Module):
    """Doubles planes, rows and columns: each voxel becomes 2x2x2, by weights of their own.

    Args:
        inputs: input channels.
        outputs: output channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 8 * outputs, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """Map (N, D, inputs, h, w) to (N, 2 D, outputs, 2 h, 2 w)."""
        planes = volume.shape[1]
        pairs = F.pixel_shuffle(self.conv(volume.flatten(0, 1)), 2)
        return pairs.unflatten(1, (2, -1)).flatten(0, 1).unflatten(0, (-1, 2 * planes))
