"""Cost volumes over candidate disparities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nndepth_core.blocks.upsample import softmax_mean

_TILE = 16
"""The number of columns of a tile."""


def correlation_volume(left: Tensor, right: Tensor, bins: int, groups: int = 1) -> Tensor:
    """Correlate each left pixel with the right pixels 0 .. bins - 1 columns to its left.

    Rows are cut into tiles. All matches of a tile lie in the tile itself or in the few tiles
    before it. One matrix product of each tile with these, of which only diagonals are kept,
    replaces a loop over the disparities.

    Args:
        left: features (N, C, H, W).
        right: features of the right image, of the same shape.
        bins: number of disparities.
        groups: channel groups that are correlated apart (Guo et al., CVPR 2019); divides C.

    Returns:
        (N, groups, bins, H, W): mean over a group's channels of left(x) * right(x - d), zero
        where x < d.
    """
    batch, channels, height, width = left.shape
    depth = channels // groups

    def tiles(features: Tensor) -> Tensor:
        padded = F.pad(features, (0, -width % _TILE))
        return padded.reshape(batch, groups, depth, height, -1, _TILE).transpose(2, 3)

    of_left = tiles(left / depth).permute(0, 1, 2, 4, 5, 3)
    of_right = tiles(right).permute(0, 1, 2, 4, 3, 5).flip(-1)
    count, before = of_right.shape[3], -(-(bins - 1) // _TILE)
    padded = F.pad(of_right, (0, 0, 0, 0, before, 0))
    window = torch.cat([padded[:, :, :, k : k + count] for k in range(before, -1, -1)], -1)
    # Column j of the product belongs to the right pixel _TILE - 1 - j of the tile, so that the
    # match of pixel x at disparity d is at j = _TILE - 1 - x + d. This is a diagonal; it becomes a
    # column when the same numbers are arranged in rows that are shorter by one.
    columns = window.shape[-1] - 1
    product = (of_left @ window).flatten(-2)
    rows = product[..., _TILE - 1 : _TILE - 1 + _TILE * columns].unflatten(-1, (_TILE, columns))
    return rows[..., :bins].permute(0, 1, 5, 2, 3, 4).flatten(-2)[..., :width]


def local_correlation(left: Tensor, right: Tensor, disparity: Tensor, radius: int) -> Tensor:
    """Correlate each left pixel with the right pixels around its present match.

    Args:
        left: features (N, H, W, C).
        right: features of the right image, of the same shape.
        disparity: whole numbers (N, H, W), int64.
        radius: the number of pixels to either side.

    Returns:
        (N, 2 * radius + 1, H, W): sum over the channels of left(x) * right(x - disparity - k) for
        k = -radius .. radius, zero outside of the image.
    """
    batch, height, width, channels = left.shape
    padded = F.pad(right, (0, 0, 1, 1)).reshape(-1, channels)  # zeros all around
    row = torch.arange(batch * height, device=left.device).view(batch, height, 1) * (width + 2)
    match = torch.arange(1, width + 1, device=left.device) - disparity

    def correlate(offset: int) -> Tensor:
        found = padded[row + (match - offset).clamp(0, width + 1)]
        return (left * found).sum(-1)

    return torch.stack([correlate(offset) for offset in range(-radius, radius + 1)], 1)


def soft_argmin(logits: Tensor) -> Tensor:
    """Compute the mean disparity under the softmax of the bins (Kendall et al., ICCV 2017).

    Args:
        logits: (N, bins, H, W).

    Returns:
        (N, 1, H, W) in pixels of the volume.
    """
    disparities = _bin_disparities(logits)
    return softmax_mean(logits.to(disparities.dtype), disparities, 1).unsqueeze(1)


def fine_soft_argmin(logits: Tensor, factor: int) -> Tensor:
    """Compute the mean disparity after linear interpolation to `factor` times as many bins.

    The interpolated bins are computed a `factor`-th at a time, because all of them together, at
    the size of the image, take more memory than the rest of most networks.

    Args:
        logits: (N, bins, H, W); bin 0 covers the disparities 0 .. factor - 1, and so on.
        factor: number of disparities of a bin.

    Returns:
        (N, 1, H, W) in pixels of the image.
    """
    before = torch.cat((logits[:, :1], logits[:, :-1]), 1)
    after = torch.cat((logits[:, 1:], logits[:, -1:]), 1)

    def interpolate(step: int) -> Tensor:
        offset = (step + 0.5) / factor - 0.5
        return logits + abs(offset) * ((before if offset < 0 else after) - logits)

    # All other interpolated bins lie between two that are next to the middle of a bin.
    middle = interpolate((factor - 1) // 2), interpolate(factor // 2)
    peak = torch.maximum(*middle).amax(1, keepdim=True)
    disparities = factor * _bin_disparities(logits)
    mass = moment = torch.zeros_like(peak, dtype=disparities.dtype)
    for step in range(factor):
        weights = (interpolate(step) - peak).to(disparities.dtype).exp()
        mass = mass + weights.sum(1, keepdim=True)
        moment = moment + (weights * (disparities + step)).sum(1, keepdim=True)
    return moment / mass


def near_peak(logits: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Select the bins around the strongest one of each pixel.

    Args:
        logits: (N, bins, H, W).
        radius: the number of bins to either side; bins past an end are replaced by the last bin.

    Returns:
        The numbers of the bins and their logits, both (N, 2 * radius + 1, H, W).
    """
    offsets = torch.arange(-radius, radius + 1, device=logits.device).view(-1, 1, 1)
    bins = (logits.argmax(1, keepdim=True) + offsets).clamp(0, logits.shape[1] - 1)
    return bins, logits.gather(1, bins)


def peak_mass(logits: Tensor, disparity: Tensor, radius: float = 1.0) -> Tensor:
    """Confidence of a soft-argmin: the probability of disparities close to its result.

    Args:
        logits: (N, bins, H, W).
        disparity: (N, 1, H, W) in pixels of the volume.
        radius: the distance that counts as close, in pixels of the volume.

    Returns:
        (N, 1, H, W) in 0..1; it is small if several disparities compete.
    """
    close = (_bin_disparities(logits) - disparity).abs() <= radius
    return softmax_mean(logits, close, 1).unsqueeze(1)


def bin_mass(logits: Tensor, disparity: Tensor, factor: int) -> Tensor:
    """Confidence of a `fine_soft_argmin`: the probability of the bins around its result.

    Bins within one bin of the result count in full, those two bins away not at all, and those
    between by their distance: a sharp limit would let rounding errors decide about whole bins.

    Args:
        logits: (N, bins, H, W), as `fine_soft_argmin` got them.
        disparity: (N, 1, H, W) in pixels of the image.
        factor: number of disparities of a bin.

    Returns:
        (N, 1, H, W) in 0..1.
    """
    centre = (disparity - (factor - 1) / 2) / factor  # (factor - 1) / 2 is the middle of bin 0
    close = (2 - (_bin_disparities(logits) - centre).abs()).clamp(0, 1)
    return softmax_mean(logits, close, 1).unsqueeze(1)


def _bin_disparities(logits: Tensor) -> Tensor:
    bins = logits.shape[1]
    dtype = torch.promote_types(logits.dtype, torch.float32)  # half would round the mean
    return torch.arange(bins, dtype=dtype, device=logits.device).view(bins, 1, 1)
