"""Correlation along image rows, and its lookup by gather and linear interpolation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation_pyramid(left: Tensor, right: Tensor, levels: int) -> list[Tensor]:
    """Dot products of every left pixel with every right pixel of its row (RAFT-Stereo, 3.2).

    A level halves the right width by averaging, which commutes with the product: the right
    features are pooled instead of the volume.

    Args:
        left: features (N, C, h, w).
        right: features (N, C, h, w).
        levels: number of levels.

    Returns:
        Per level i a volume (N, h, w, w // 2**i + 2): the last axis runs along the right row and
        has a zero at both ends, which stands for everything outside of the image.
    """
    rows = left.permute(0, 2, 3, 1).contiguous()
    pyramid = []
    for level in range(levels):
        if level:
            right = F.avg_pool2d(right, (1, 2))
        pyramid.append(rows @ F.pad(right, (1, 1)).permute(0, 2, 1, 3))
    return pyramid


def groupwise_volume(left: Tensor, right: Tensor, groups: int, disparities: int) -> Tensor:
    """Mean product of left and shifted right features by group (GwcNet, CVPR 2019, 3.2).

    Args:
        left: features (N, C, h, w).
        right: features (N, C, h, w).
        groups: number of groups the channels fall into.
        disparities: number of shifts, 0 to disparities - 1 pixels.

    Returns:
        Volume (N, groups, disparities, h, w); zero where the match lies left of the image.
    """
    width = left.shape[-1]
    padded = F.pad(right, (disparities - 1, 0))
    shifts = []
    for disparity in range(disparities):
        start = disparities - 1 - disparity
        product = left * padded[..., start : start + width]
        shifts.append(product.unflatten(1, (groups, -1)).mean(2))
    return torch.stack(shifts, 2)


def sample_window(volume: Tensor, centre: Tensor, radius: int, dim: int) -> Tensor:
    """Sample the 2 * radius + 1 places around a position, by linear interpolation.

    All places share one fraction, so 2 * radius + 2 neighbours serve them all.

    Args:
        volume: cost volume whose axis `dim` has a zero at both ends, see `correlation_pyramid`.
        centre: position along `dim`, in elements of the volume without its ends; shaped as the
            volume but for size 1 along `dim` and along axes it is broadcast over.
        radius: how many whole steps to go to either side.
        dim: axis sampled along.

    Returns:
        As the volume, with size 2 * radius + 1 along `dim`.
    """
    count = 2 * radius + 1
    floor = centre.floor()
    fraction = (centre - floor).to(volume.dtype)
    along_dim = [1] * volume.ndim
    along_dim[dim] = count + 1
    # +1 skips the zero in front; converting before clamping keeps a NaN from leaving the volume
    steps = torch.arange(1 - radius, radius + 3, device=volume.device).view(along_dim)
    index = (floor.long() + steps).clamp(0, volume.shape[dim] - 1)
    shape = list(volume.shape)
    shape[dim] = count + 1
    values = volume.gather(dim, index.expand(shape))
    return torch.lerp(values.narrow(dim, 0, count), values.narrow(dim, 1, count), fraction)
