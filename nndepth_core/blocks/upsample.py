"""Bringing coarse disparities to full resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, Norm


def convex_upsample(estimate: Tensor, logits: Tensor, factor: int) -> Tensor:
    """Enlarge by a learned convex combination of the 3x3 coarse neighbours (RAFT, 3.3).

    Args:
        estimate: disparity or flow (N, C, h, w) in coarse pixels; outside of it lies zero.
        logits: weights before softmax, neighbours row by row: (N, 9, h, factor, w, factor).
        factor: enlargement.

    Returns:
        Estimate (N, C, h * factor, w * factor) in fine pixels.
    """
    height, width = estimate.shape[-2:]
    padded = F.pad(estimate * factor, (1, 1, 1, 1))
    bands = [padded[:, :, y : y + height] for y in range(3)]
    neighbours = torch.stack([band[..., x : x + width] for band in bands for x in range(3)], 2)
    weights = logits.softmax(1).unsqueeze(1)
    fine = (weights * neighbours[:, :, :, :, None, :, None]).sum(2)
    return fine.reshape(*estimate.shape[:2], height * factor, width * factor)


class GuidedMask(nn.Module):
    """Weights for `convex_upsample` by four, from coarse features and a finer guide (IGEV, 3.4).

    Args:
        inputs: channels of the coarse features.
        guide: channels of the guide.
        norm: 'batch' or 'instance'.
    """

    factor = 4

    def __init__(self, inputs: int, guide: int, norm: Norm) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(inplace=True)
        self.up = ConvBlock(inputs, 32, 4, 2, norm=norm, activation=leaky, transposed=True)
        self.join = ConvBlock(32 + guide, 64, norm=norm, activation=leaky)
        self.to_logits = nn.ConvTranspose2d(64, 9, 4, 2, 1)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Map (N, inputs, h, w) and (N, guide, 2h, 2w) to (N, 9, h, 4, w, 4)."""
        joined = self.join(torch.cat([self.up(features), guide], 1))
        return split_fine(self.to_logits(joined), self.factor)


def split_coarse(mask: Tensor, factor: int) -> Tensor:
    """View coarse mask channels (N, 9 * factor**2, h, w) as (N, 9, h, factor, w, factor)."""
    return mask.unflatten(1, (9, factor, factor)).permute(0, 1, 4, 2, 5, 3)


def split_fine(mask: Tensor, factor: int) -> Tensor:
    """View a full-size mask (N, 9, H, W) as (N, 9, h, factor, w, factor)."""
    return mask.unflatten(3, (-1, factor)).unflatten(2, (-1, factor))


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Resize x (N, C, h, w) to the height and width of `like`, bilinear, corners aligned."""
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=True)


def residual_confidence(step: Tensor, factor: int) -> Tensor:
    """Confidence of an iterative estimate from how little its last step moved it.

    Args:
        step: last change (N, 1, h, w) in coarse pixels.
        factor: enlargement to full resolution.

    Returns:
        exp(-|step| / 1 px) in fine pixels, (N, 1, h * factor, w * factor).
    """
    coarse = torch.exp(-factor * step.abs())
    return F.interpolate(coarse, scale_factor=float(factor), mode='bilinear')
