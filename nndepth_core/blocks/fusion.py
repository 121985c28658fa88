"""Fuses a feature pyramid from coarse to fine for dense prediction (RefineNet, CVPR 2017)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Margin = Literal['zeros', 'replicate']


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions, a ReLU before each, added to the input (RefineNet, fig. 3b).

    Args:
        channels: channels of input and output.
        margin: what stands around the map, as `nn.Conv2d` calls it.
    """

    def __init__(self, channels: int, margin: Margin = 'zeros') -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=margin)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=margin)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        return x + self.second(F.relu(self.first(F.relu(x))))


class FusionBlock(nn.Module):
    """Adds a refined skip connection, refines the sum, doubles its size and projects it.

    Args:
        inputs: channels of the running map and of the skip connection.
        outputs: channels of the result.
        skip: whether there is a skip connection; the coarsest block of a pyramid has none.
    """

    def __init__(self, inputs: int, outputs: int, *, skip: bool = True) -> None:
        super().__init__()
        self.refine_skip = ResidualConvUnit(inputs) if skip else None
        self.refine = ResidualConvUnit(inputs)
        self.project = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x and, if there is one, the skip, (N, inputs, h, w) to (N, outputs, 2h, 2w)."""
        if self.refine_skip is not None:
            x = x + self.refine_skip(skip)
        x = F.interpolate(self.refine(x), scale_factor=2.0, mode='bilinear', align_corners=True)
        return self.project(x)
