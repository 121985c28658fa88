"""Upsamples coarse features and merges them with finer ones (FPN; Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock
from nndepth_core.blocks.norm import InstanceNorm


class FeaturePyramid(nn.Module):
    """Upsamples coarse features to 1/4, where an instance norm makes the matching features.

    Args:
        widths: channels at 1/4, 1/8, 1/16 and 1/32.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        quarter, eighth, sixteenth, coarsest = widths
        self.to_sixteenth = UpAndJoin(coarsest, sixteenth)
        self.to_eighth = UpAndJoin(sixteenth, eighth)
        self.to_quarter = UpAndJoin(eighth, quarter)
        self.to_matching = nn.Sequential(
            nn.Conv2d(quarter, quarter, 3, padding=1, bias=False, padding_mode='replicate'),
            InstanceNorm(),
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Map the encoder's four maps to those at 1/4, 1/8 and 1/16, of the same widths."""
        quarter, eighth, sixteenth, coarsest = maps
        sixteenth = self.to_sixteenth(coarsest, sixteenth)
        eighth = self.to_eighth(sixteenth, eighth)
        return self.to_matching(self.to_quarter(eighth, quarter)), eighth, sixteenth


class UpAndJoin(nn.Module):
    """Doubles the size of a coarse map and merges it with a finer one.

    Args:
        coarse: channels of the coarse map.
        fine: channels of the finer map and of the result.
    """

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(0.2, inplace=True)
        self.up = ConvBlock(coarse, fine, 4, 2, activation=leaky, transposed=True)
        self.join = ConvBlock(2 * fine, fine, activation=leaky)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (N, coarse, h, w) and (N, fine, 2h, 2w) to (N, fine, 2h, 2w)."""
        return self.join(torch.cat((fine, self.up(coarse)), 1))
