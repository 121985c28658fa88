"""Pyramids of correlation and cost volumes, and how they are sampled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation_pyramid(left: Tensor, right: Tensor, levels: int) -> list[Tensor]:
    """Correlate every left pixel with every right pixel of its row (RAFT-Stereo, 3.2).

    Each level halves the width of the right features by averaging. Averaging the volume would give
    the same, since the product is linear.

    Args:
        left: features (N, C, h, w).
        right: features (N, C, h, w).
        levels: number of levels.

    Returns:
        For every level i, a volume (N, h, w, 1, w // 2**i + 2) for `sample_pyramid`; its last axis
        runs along the right row.
    """
    rows = left.permute(0, 2, 3, 1).contiguous()
    pyramid = []
    for level in range(levels):
        if level:
            right = F.avg_pool2d(right, (1, 2))
        volume = rows @ F.pad(right, (1, 1)).permute(0, 2, 1, 3)
        pyramid.append(volume.unsqueeze(3))
    return pyramid


def volume_pyramid(volume: Tensor, levels: int) -> list[Tensor]:
    """Halve the disparity axis of a cost volume by averaging, level by level.

    Args:
        volume: (N, C, D, h, w).
        levels: number of levels.

    Returns:
        For every level i, a volume (N, h, w, C, D // 2**i + 2) for `sample_pyramid`.
    """
    pyramid = []
    for level in range(levels):
        if level:
            volume = F.avg_pool3d(volume, (2, 1, 1))
        pyramid.append(F.pad(volume.permute(0, 3, 4, 1, 2), (1, 1)))
    return pyramid


def sample_pyramid(pyramid: Sequence[Tensor], centre: Tensor, radius: int) -> Tensor:
    """Sample 2 * radius + 1 places around a position on every level, by linear interpolation.

    All places of a level have the same fraction, so that 2 * radius + 2 neighbours are enough.

    Args:
        pyramid: for every level i, a volume (N, h, w, C, D // 2**i + 2), which is sampled along
            its last axis; the zeros at both ends of the axis stand for everything beyond it.
        centre: position on level 0, in 0 .. D - 1 or beyond, (N, h, w).
        radius: the number of whole steps to either side, on every level.

    Returns:
        (N, h, w, levels, C * (2 * radius + 1)), one channel after the other.
    """
    scales = 2 ** torch.arange(len(pyramid), device=centre.device)
    positions = centre.unsqueeze(-1) / scales
    floor = positions.floor()
    fraction = (positions - floor)[..., None, None]
    # +1 skips the first zero; converting before clamping keeps a NaN inside the volume
    steps = torch.arange(1 - radius, radius + 3, device=centre.device)
    indices = floor.long().unsqueeze(-1) + steps

    neighbours = []
    for level, volume in enumerate(pyramid):
        index = indices[:, :, :, level, None].clamp(0, volume.shape[-1] - 1)
        if volume.shape[3] > 1:
            index = index.expand(-1, -1, -1, volume.shape[3], -1)
        neighbours.append(volume.gather(-1, index))
    values = torch.stack(neighbours, 3)
    low, high = values[..., :-1], values[..., 1:]
    return (low + fraction.to(values.dtype) * (high - low)).flatten(-2)


def sample_volumes(
    costs: Sequence[Tensor], pairs: Sequence[Tensor], disparity: Tensor, radius: int
) -> Tensor:
    """Sample a cost volume and the all-pairs correlation around a disparity (IGEV-Stereo, 3.3).

    Args:
        costs: result of `volume_pyramid` with C channels.
        pairs: result of `correlation_pyramid` with as many levels.
        disparity: (N, h, w) in pixels of the volumes.
        radius: the number of whole steps to either side, on every level.

    Returns:
        (N, h, w, levels, (C + 1) * (2 * radius + 1)), costs before pairs.
    """
    columns = torch.arange(disparity.shape[-1], device=disparity.device)
    of_costs = sample_pyramid(costs, disparity, radius)
    return torch.cat([of_costs, sample_pyramid(pairs, columns - disparity, radius)], -1)
