"""Attention by long thin kernels (SegNeXt; Guo et al., NeurIPS 2022)."""

from __future__ import annotations

from torch import Tensor, nn


class MultiScaleAttention(nn.Module):
    """Multi-scale convolutional attention: weights for the volume from the left features.

    Pairs of long thin depthwise kernels, of three lengths, cover a large area at low cost.

    Args:
        inputs: channels of the features.
        outputs: channels of the volume.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, outputs, 1)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(outputs, outputs, (1, n), padding=(0, n // 2), groups=outputs),
                nn.Conv2d(outputs, outputs, (n, 1), padding=(n // 2, 0), groups=outputs),
            )
            for n in (7, 11, 21)
        )
        self.leave = nn.Conv2d(outputs, outputs, 1)

    def forward(self, guide: Tensor) -> Tensor:
        """Map features (N, inputs, h, w) to factors (N, outputs, h, w) of any size and sign."""
        x = self.enter(guide)
        return self.leave(x + sum(strip(x) for strip in self.strips))
