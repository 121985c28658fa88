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

    Args:
        left: features (N, C, H, W).
        right: features of the right image, of the same shape.
        bins: number of disparities.
        groups: channel groups that are correlated apart (Guo et al., CVPR 2019); divides C.

    Returns:
        (N, groups, bins, H, W): mean over a group's channels of left(x) * right(x - d), zero
        where x < d.
    """
    return correlation_planes(left, right, bins, groups).transpose(1, 2)


def correlation_planes(left: Tensor, right: Tensor, bins: int, groups: int = 1) -> Tensor:
    """Compute a `correlation_volume`, with its bins before its groups.

    Rows are cut into tiles. All matches of a tile lie in the tile itself or in the few tiles
    before it. One matrix product of each tile with these, of which only diagonals are kept,
    replaces a loop over the disparities.

    Args:
        left: features (N, C, H, W).
        right: features of the right image, of the same shape.
        bins: number of disparities.
        groups: channel groups that are correlated apart; divides C.

    Returns:
        (N, bins, groups, H, W).
    """
    batch, channels, height, width = left.shape
    depth, before = channels // groups, -(-(bins - 1) // _TILE)

    def tiles(features: Tensor, more: int) -> Tensor:
        padded = F.pad(features, (more * _TILE, -width % _TILE))
        return padded.reshape(batch, groups, depth, height, -1, _TILE)

    def numbers(count: int) -> Tensor:
        return torch.arange(count, device=left.device)

    of_left = tiles(left / depth, 0).permute(0, 1, 3, 4, 5, 2)
    of_right = tiles(right, before).transpose(2, 3)
    # The rows of a window are channels, each of which is gathered from its row of tiles.
    near = numbers(of_left.shape[3])[:, None] + numbers(before + 1)
    near = near[:, None] + numbers(depth)[:, None] * of_right.shape[4]
    window = of_right.flatten(3, 4)[:, :, :, near].flatten(-2)
    # The match of pixel x of a tile at disparity d is in column x - d + before * _TILE of the
    # product. This is a diagonal; it becomes a column when the same numbers are arranged in rows
    # that are longer by one.
    product = F.pad((of_left @ window).flatten(-2), (0, _TILE))
    columns = product.unflatten(-1, (_TILE, -1)).permute(0, 5, 1, 2, 3, 4)
    planes = columns[:, before * _TILE - numbers(bins)]
    return planes.flatten(-2)[..., :width]


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
    margin = 2 * radius + 1  # of zeros, for all matches outside of the image
    padded = F.pad(right, (0, 0, margin, margin)).reshape(-1, channels)
    row = torch.arange(batch * height, device=left.device).view(batch, height, 1)
    match = torch.arange(width, device=left.device) - disparity
    match = match.clamp(-radius - 1, width + radius)
    place = row * (width + 2 * margin) + margin + match

    def correlate(offset: int) -> Tensor:
        return (left * padded[place - offset]).sum(-1)

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
