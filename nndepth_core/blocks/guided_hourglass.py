"""2-D aggregation of a volume whose channels are the disparities (LightStereo, 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, Norm
from nndepth_core.blocks.strip_attention import MultiScaleAttention

MakeBlock = Callable[[int, int, int], nn.Module]
"""Makes a block of (inputs, outputs, stride)."""


class GuidedHourglass(nn.Module):
    """Hourglass over the volume, weighted by attention to the left features.

    Args:
        bins: disparities of the volume; they are the channels at 1/4.
        guides: channels of the left features at 1/4, 1/8 and 1/16.
        blocks: blocks at each of these scales, among them the one that halves the size.
        block: makes the blocks.
        shrink: makes the two blocks that halve the size; None takes `block`.
        up_norm: norm of the convolutions that double the size.
        raw_skip: whether the skip connection at 1/4 takes the volume as it comes in, instead of
            the one after blocks and attention.
    """

    def __init__(
        self,
        bins: int,
        guides: Sequence[int],
        blocks: Sequence[int],
        block: MakeBlock,
        *,
        shrink: MakeBlock | None = None,
        up_norm: Norm | None = 'batch',
        raw_skip: bool = False,
    ) -> None:
        super().__init__()
        widths = (bins, 2 * bins, 4 * bins)
        shrink = block if shrink is None else shrink
        self.raw_skip = raw_skip
        self.shrink = nn.ModuleList(
            [nn.Identity(), shrink(widths[0], widths[1], 2), shrink(widths[1], widths[2], 2)]
        )
        self.refine = nn.ModuleList(
            nn.Sequential(*(block(width, width, 1) for _ in range(count)))
            for width, count in zip(widths, (blocks[0], blocks[1] - 1, blocks[2] - 1), strict=True)
        )
        self.attention = nn.ModuleList(map(MultiScaleAttention, guides, widths))
        self.skip = nn.ModuleList(block(width, width, 1) for width in widths[:2])
        self.up = nn.ModuleList(
            ConvBlock(2 * width, width, 3, 2, norm=up_norm, transposed=True)
            for width in widths[:2]
        )

    def forward(self, volume: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Map the volume (N, bins, H / 4, W / 4) to softmax logits of the same shape."""
        scales = []
        x = volume
        for shrink, refine, attention, guide in zip(
            self.shrink, self.refine, self.attention, guides, strict=True
        ):
            x = refine(shrink(x)) * attention(guide)
            scales.append(x)
        quarter, eighth, sixteenth = scales
        if self.raw_skip:
            quarter = volume
        eighth = torch.relu(self.up[1](sixteenth) + self.skip[1](eighth))
        return torch.relu(self.up[0](eighth) + self.skip[0](quarter))
