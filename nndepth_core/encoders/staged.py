"""What image classifiers that serve as feature pyramids have in common."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock

_TAPS = (1, 2, 4, 5)


class StagedEncoder(nn.Module):
    """A strided stem and six stages of blocks; the last maps at 1/4, 1/8, 1/16 and 1/32 come out.

    Args:
        stem_width: channels after the stem.
        activation: of the stem.
        stages: the blocks of each stage, the second, third, fourth and sixth of stride 2.
    """

    def __init__(
        self, stem_width: int, activation: type[nn.Module], stages: Sequence[Sequence[nn.Module]]
    ) -> None:
        super().__init__()
        self.stem = ConvBlock(3, stem_width, 3, 2, activation=activation(inplace=True))
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (N, 3, H, W) to (N, C, ceil(H / s), ceil(W / s)) for s = 4, 8, 16, 32."""
        x = self.stem(image)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPS:
                maps.append(x)
        return tuple(maps)
