"""Fuses a feature pyramid from coarse to fine for dense prediction (RefineNet, CVPR 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Margin = Literal['zeros', 'replicate']


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions, a ReLU before each, added to the input (RefineNet, fig. 3b).

    Args:
        channels: channels of input and output.
        margin: what stands around the map, as `nn.Conv2d` calls it.
        rectified: whether the activation's result is what the convolutions' result is added to.
        activate: what stands in place of the ReLU.
        scaled: whether each channel has a learned factor before it is added.
    """

    def __init__(
        self,
        channels: int,
        margin: Margin = 'zeros',
        *,
        rectified: bool = False,
        activate: Callable[[Tensor], Tensor] = F.relu,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.rectified = rectified
        self.activate = activate
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=margin)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=margin)
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        active = self.activate(x)
        change = self.second(self.activate(self.first(active)))
        base = active if self.rectified else x
        return base + (change if self.scale is None else self.scale * change)


class FusionBlock(nn.Module):
    """Adds a refined skip connection, refines the sum, enlarges it and projects it.

    Args:
        inputs: channels of the running map and of the skip connection.
        outputs: channels of the result.
        skip: whether there is a skip connection; the coarsest block of a pyramid has none.
        rectified: see `ResidualConvUnit`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, skip: bool = True, rectified: bool = False
    ) -> None:
        super().__init__()
        self.refine_skip = ResidualConvUnit(inputs, rectified=rectified) if skip else None
        self.refine = ResidualConvUnit(inputs, rectified=rectified)
        self.project = nn.Conv2d(inputs, outputs, 1)

    def forward(
        self, x: Tensor, skip: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """Fuse a running map with a skip connection.

        Args:
            x: the running map (N, inputs, h, w).
            skip: the skip connection, of the same shape; None for a block without.
            size: height and width of the result; None doubles them.

        Returns:
            (N, outputs, height, width).
        """
        if self.refine_skip is not None:
            x = x + self.refine_skip(skip)
        x = F.interpolate(
            self.refine(x),
            size,
            scale_factor=2.0 if size is None else None,
            mode='bilinear',
            align_corners=True,
        )
        return self.project(x)
