"""FasterNet as a feature pyramid (Chen et al., CVPR 2023, arXiv 2303.03667)."""

from __future__ import annotations

from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock
from nndepth_core.blocks.faster import FasterBlock

# widths and numbers of blocks of FasterNet-T0, table 8 of the paper
_WIDTHS = (40, 80, 160, 320)
_BLOCKS = (1, 2, 8, 2)


class FasterNet(nn.Module):
    """FasterNet-T0; returns the maps at 1/4, 1/8, 1/16 and 1/32.

    Attributes:
        channels: widths of the four maps, finest first.
        official_rules: (pattern, replacement), applied one after the other, from our entry names
            to those of timm's `fasternet_t0`.
    """

    channels = _WIDTHS
    official_rules = (
        (r'down\.0\.conv', 'patch_embed.proj'),
        (r'down\.0\.norm', 'patch_embed.norm'),
        (r'down\.(\d)\.conv', r'stages_\1.downsample.reduction'),
        (r'down\.(\d)\.norm', r'stages_\1.downsample.norm'),
        (r'blocks\.(\d)', r'stages_\1.blocks'),
        *FasterBlock.official_rules,
    )

    def __init__(self) -> None:
        super().__init__()
        sides = 4, 2, 2, 2
        self.down = nn.ModuleList(
            ConvBlock(inputs, outputs, side, side, padding=0)
            for inputs, outputs, side in zip((3, *_WIDTHS), _WIDTHS, sides, strict=False)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(FasterBlock(width, 2) for _ in range(count)))
            for width, count in zip(_WIDTHS, _BLOCKS, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (N, 3, H, W) to (N, C, H / s, W / s) for s = 4, 8, 16, 32."""
        maps = []
        for down, blocks in zip(self.down, self.blocks, strict=True):
            image = blocks(down(image))
            maps.append(image)
        return tuple(maps)
