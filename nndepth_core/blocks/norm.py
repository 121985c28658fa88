"""Norms of maps, and the normalisation of images for ImageNet encoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageNetNorm(nn.Module):
    """Normalises RGB in 0..255 by the mean and deviation of ImageNet."""

    mean = (0.485, 0.456, 0.406)
    deviation = (0.229, 0.224, 0.225)
    scale: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = torch.tensor((self.mean, self.deviation)).view(2, 3, 1, 1)
        self.register_buffer('scale', 1 / (255 * deviation), persistent=False)
        self.register_buffer('offset', mean / deviation, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (N, 3, H, W)."""
        return image * self.scale - self.offset


class InstanceNorm(nn.Module):
    """Instance norm without weights; in eval mode, too, it uses the statistics of the input."""

    epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, h, ...) over all axes except the first two."""
        return F.instance_norm(x, eps=self.epsilon)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every pixel.

    Args:
        channels: width of the map.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__(channels, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
