"""Upsampling of coarse disparities to full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nndepth_core.blocks.conv import ConvBlock, Norm


def convex_upsample(estimate: Tensor, logits: Tensor, factor: int) -> Tensor:
    """Upsample by a learned convex combination of the 3x3 coarse neighbours (RAFT, 3.3).

    Args:
        estimate: disparity or flow (N, C, h, w) in coarse pixels; it counts as zero outside.
        logits: weights before softmax, neighbours row by row: (N, 9, h, factor, w, factor).
        factor: the factor of the size.

    Returns:
        Estimate (N, C, h * factor, w * factor) in fine pixels.
    """
    height, width = estimate.shape[-2:]
    fine = []
    for channel in (estimate * factor).split(1, 1):  # OpenVINO is wrong at more than 6 dimensions
        around = torch.cat(neighbours(channel), 1)[:, :, :, None, :, None]
        fine.append(softmax_mean(logits, around, 1))
    return torch.stack(fine, 1).reshape(*estimate.shape[:2], height * factor, width * factor)


def convex_upsample_coarse(estimate: Tensor, logits: Tensor, factor: int) -> Tensor:
    """Do the same as `convex_upsample`, with weights in the channels of a coarse map.

    Args:
        estimate: disparity or flow (N, C, h, w) in coarse pixels.
        logits: (N, 9 * factor**2, h, w), neighbours before the fine pixels, both row by row.
        factor: the factor of the size.
    """
    around = [x.unsqueeze(2) for x in neighbours(estimate * factor)]
    fine = combine(logits.unsqueeze(1).split(factor**2, 2), around)
    return F.pixel_shuffle(fine.flatten(1, 2), factor)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """Do the same as `F.pixel_shuffle`, with operators that are faster in ONNX Runtime."""
    rows = torch.stack(x.unflatten(1, (-1, factor, factor)).unbind(3), -1).flatten(-2)
    return rows.transpose(2, 3).flatten(2, 3)


def softmax_mean(logits: Tensor, values: Tensor, dim: int) -> Tensor:
    """Compute the mean of values along a dimension, weighted by the softmax of logits.

    The sums are written out, because runtimes transpose for a softmax over an inner dimension.
    """
    weights = (logits - logits.amax(dim, keepdim=True)).exp()
    return (weights * values).sum(dim) / weights.sum(dim)


def neighbours(estimate: Tensor) -> list[Tensor]:
    """The 3x3 neighbours of each pixel of (N, C, h, w), row by row, each of the same shape.

    Neighbours outside of the map are zero.
    """
    height, width = estimate.shape[-2:]
    padded = F.pad(estimate, (1, 1, 1, 1))
    bands = [padded[:, :, y : y + height] for y in range(3)]
    return [band[..., x : x + width] for band in bands for x in range(3)]


def combine(logits: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """Compute `softmax_mean` of a few values without stacking them, which saves memory access."""
    peak = reduce(torch.maximum, logits)
    weights = [(logit - peak).exp() for logit in logits]
    total = reduce(torch.add, (x * y for x, y in zip(weights, values, strict=True)))
    return total / reduce(torch.add, weights)


class GuidedMask(nn.Module):
    """Weights for `convex_upsample` by 4, from coarse features and a finer guide (IGEV, 3.4).

    Args:
        inputs: channels of the coarse features.
        guide: channels of the guide.
        norm: 'batch', 'instance' or None.
        widths: channels of the features after upsampling, and after joining them to the guide.
    """

    factor = 4

    def __init__(
        self, inputs: int, guide: int, norm: Norm | None, widths: tuple[int, int] = (32, 64)
    ) -> None:
        super().__init__()
        up, joined = widths
        leaky = nn.LeakyReLU(inplace=True)
        self.up = ConvBlock(inputs, up, 4, 2, norm=norm, activation=leaky, transposed=True)
        self.join = ConvBlock(up + guide, joined, norm=norm, activation=leaky)
        self.to_logits = nn.ConvTranspose2d(joined, 9, 4, 2, 1)

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Map (N, inputs, h, w) and (N, guide, 2h, 2w) to (N, 9, h, 4, w, 4)."""
        joined = self.join(torch.cat([self.up(features), guide], 1))
        return split_fine(self.to_logits(joined), self.factor)


def split_fine(mask: Tensor, factor: int) -> Tensor:
    """View a full-size mask (N, 9, H, W) as (N, 9, h, factor, w, factor)."""
    return mask.unflatten(3, (-1, factor)).unflatten(2, (-1, factor))


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Resize x (N, C, h, w) to the height and width of `like`, bilinear, corners aligned."""
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=True)


def residual_confidence(step: Tensor, factor: int) -> Tensor:
    """Confidence of an iterative estimate: high if its last step changed it little.

    Args:
        step: the last change (N, 1, h, w) in coarse pixels.
        factor: the factor of the size at full resolution.

    Returns:
        exp(-|step| / 1 px) in fine pixels, (N, 1, h * factor, w * factor).
    """
    coarse = torch.exp(-factor * step.abs())
    return F.interpolate(coarse, scale_factor=float(factor), mode='bilinear')
