"""Instance norm without weights; the normalisation of images that ImageNet encoders take."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageNetNorm(nn.Module):
    """Brings RGB in 0..255 to the mean and deviation that encoders of ImageNet were trained on."""

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
    """Instance norm without weights; uses the input's statistics in eval mode too."""

    epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, h, ...) over all axes but the first two."""
        return F.instance_norm(x, eps=self.epsilon)
