"""Correlation along image rows, and its lookup by gather and linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence

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


def volume_pyramid(volume: Tensor, levels: int) -> list[Tensor]:
    """Halve the disparities of a volume by averaging, level by level.

    Args:
        volume: (N, C, D, h, w).
        levels: number of levels.

    Returns:
        Per level i a volume (N, C, D // 2**i + 2, h, w), with a zero at both ends of D.
    """
    pyramid = []
    for level in range(levels):
        if level:
            volume = F.avg_pool3d(volume, (2, 1, 1))
        pyramid.append(F.pad(volume, (0, 0, 0, 0, 1, 1)))
    return pyramid


def sample_pyramid(pyramid: Sequence[Tensor], disparity: Tensor, radius: int) -> Tensor:
    """Sample every level of a correlation pyramid around the match of each left pixel.

    Args:
        pyramid: see `correlation_pyramid`.
        disparity: (N, 1, h, w).
        radius: see `sample_window`.

    Returns:
        (N, levels * (2 * radius + 1), h, w), level by level, from left to right.
    """
    columns = torch.arange(disparity.shape[-1], device=disparity.device)
    matches = (columns - disparity).permute(0, 2, 3, 1)
    samples = [
        sample_window(volume, matches / 2**level, radius, dim=3)
        for level, volume in enumerate(pyramid)
    ]
    return torch.cat(samples, 3).permute(0, 3, 1, 2)


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
    low, high = values.narrow(dim, 0, count), values.narrow(dim, 1, count)
    return low + fraction * (high - low)
