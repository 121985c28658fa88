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
    """Prepare a cost volume for `sample_volumes`; a level halves the disparities by averaging.

    Args:
        volume: (N, C, D, h, w).
        levels: number of levels.

    Returns:
        Per level i a volume (N, h, w, C, D // 2**i + 2), with a zero at both ends of D.
    """
    pyramid = []
    for level in range(levels):
        if level:
            volume = F.avg_pool3d(volume, (2, 1, 1))
        pyramid.append(F.pad(volume.permute(0, 3, 4, 1, 2), (1, 1)))
    return pyramid


def sample_correlation(pyramid: Sequence[Tensor], disparity: Tensor, radius: int) -> list[Tensor]:
    """Sample a correlation pyramid around the match of each left pixel.

    Args:
        pyramid: see `correlation_pyramid`.
        disparity: (N, h, w).
        radius: see `sample_window`.

    Returns:
        Per level (N, h, w, 2 * radius + 1), along the right row.
    """
    columns = torch.arange(disparity.shape[-1], device=disparity.device)
    matches = columns - disparity
    return [
        sample_window(volume, matches / 2**level, radius) for level, volume in enumerate(pyramid)
    ]


def sample_volumes(pyramid: Sequence[Tensor], disparity: Tensor, radius: int) -> list[Tensor]:
    """Sample a volume pyramid around the disparity.

    Args:
        pyramid: see `volume_pyramid`.
        disparity: (N, h, w).
        radius: see `sample_window`.

    Returns:
        Per level (N, h, w, C * (2 * radius + 1)), channel by channel.
    """
    return [
        sample_window(volume, disparity.unsqueeze(-1) / 2**level, radius).flatten(-2)
        for level, volume in enumerate(pyramid)
    ]


def sample_window(volume: Tensor, centre: Tensor, radius: int) -> Tensor:
    """Sample the 2 * radius + 1 places around a position, by linear interpolation.

    All places share one fraction, so 2 * radius + 2 neighbours serve them all.

    Args:
        volume: (..., D + 2), sampled along its last axis, which has a zero at both ends to stand
            for everything beyond them.
        centre: position in 0 .. D - 1; shaped as the volume without its last axis, or with ones.
        radius: how many whole steps to go to either side.

    Returns:
        (..., 2 * radius + 1).
    """
    floor = centre.floor()
    fraction = (centre - floor).unsqueeze(-1).to(volume.dtype)
    # +1 skips the zero in front; converting before clamping keeps a NaN from leaving the volume
    steps = torch.arange(1 - radius, radius + 3, device=volume.device)
    index = (floor.long().unsqueeze(-1) + steps).clamp(0, volume.shape[-1] - 1)
    values = volume.gather(-1, index.expand(*volume.shape[:-1], -1))
    low, high = values[..., :-1], values[..., 1:]
    return low + fraction * (high - low)
