"""What image classifiers have in common when they are used as feature pyramids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock

Stage = tuple[Callable[[int, int, int], nn.Module], int, int, int]
"""What makes a block of (inputs, outputs, stride); width; number of blocks; first stride."""


class StagedEncoder(nn.Module):
    """A strided stem and stages of blocks; returns the last maps at 1/4, 1/8, 1/16 and 1/32.

    Args:
        stem_width: channels after the stem.
        activation: the activation of the stem.
        stages: the stages; the second, third, fourth and sixth must have stride 2.
        same: whether to pad the stem as `SameConv2d` does.
    """

    def __init__(
        self,
        stem_width: int,
        activation: type[nn.Module],
        stages: Sequence[Stage],
        *,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.stem = ConvBlock(3, stem_width, 3, 2, activation=activation(inplace=True), same=same)
        self.stages = nn.ModuleList()
        width = stem_width
        for block, outputs, count, stride in stages:
            rest = (block(outputs, outputs, 1) for _ in range(count - 1))
            self.stages.append(nn.Sequential(block(width, outputs, stride), *rest))
            width = outputs
        self._taps = (1, 2, 4, len(stages) - 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map an image (N, 3, H, W) to (N, C, ceil(H / s), ceil(W / s)) for s = 4, 8, 16, 32."""
        x = self.stem(image)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self._taps:
                maps.append(x)
        return tuple(maps)
