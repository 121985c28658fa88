"""Instance norm without weights, and the normalisation of images for ImageNet encoders."""

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
