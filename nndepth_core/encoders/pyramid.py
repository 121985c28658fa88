"""The small pyramid of this project's own networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from nndepth_core.blocks.conv import ResidualBlock, conv_relu


class Pyramid(nn.Module):
    """Residual encoder down to 1/32, and a decoder that brings coarse features up to 1/4.

    The first features, at 1/2 and 1/4, see only a few pixels around. Convolutions are dense,
    because CPUs run these closer to their peak than depthwise ones.

    Args:
        inputs: channels of the image.
        half: channels at 1/2.
        widths: channels at 1/4, 1/8, 1/16 and 1/32.
        coarsest: what the coarsest features pass before they are brought up; None if nothing.
    """

    def __init__(
        self, inputs: int, half: int, widths: Sequence[int], coarsest: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_relu(inputs, half, 2), conv_relu(half, widths[0], 2))
        self.stages = nn.ModuleList([ResidualBlock(widths[0], widths[0])])
        for fine, coarse in pairwise(widths):
            down = ResidualBlock(fine, coarse, 2)
            self.stages.append(nn.Sequential(down, ResidualBlock(coarse, coarse)))
        self.coarsest = nn.Identity() if coarsest is None else coarsest
        self.lateral = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths)
        )
        self.smooth = nn.ModuleList(conv_relu(width, width) for width in widths[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image (N, inputs, H, W) to features at 1/2, 1/4, and 1/4 to 1/32."""
        half = self.stem[0](image)
        quarter = self.stem[1](half)
        maps = [self.stages[0](quarter)]
        for stage in self.stages[1:]:
            maps.append(stage(maps[-1]))
        maps[-1] = self.coarsest(maps[-1])
        for level in (2, 1, 0):
            coarse = F.interpolate(self.lateral[level](maps[level + 1]), scale_factor=2.0)
            maps[level] = self.smooth[level](maps[level] + coarse)
        return [half, quarter, *maps]
