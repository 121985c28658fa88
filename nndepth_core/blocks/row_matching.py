"""Matching features along image rows by softmax, and carrying a disparity to neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nndepth_core.blocks.upsample import combine, neighbours, softmax_mean

_NEVER = -1e9
"""The score of a match that cannot be."""


def global_match(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Match each left pixel with all right pixels that are not to its right (GMStereo, 3.2).

    Args:
        left: features (N, h, w, C).
        right: features of the right image, of the same shape.

    Returns:
        The disparity (N, h, w), the mean under the softmax of the scores; and the scores
        (N, h, w, w), whose last axis runs along the right row. Both are float32.
    """
    columns = torch.arange(left.shape[2], device=left.device, dtype=torch.float32)
    scores = ((left * left.shape[3] ** -0.5) @ right.transpose(2, 3)).float()
    scores = torch.where(columns > columns[:, None], _NEVER, scores)
    return columns - softmax_mean(scores, columns, 3), scores


def match_mass(scores: Tensor, disparity: Tensor, radius: float = 1.0) -> Tensor:
    """Confidence of a disparity: the probability of the matches close to it.

    Args:
        scores: the scores of `global_match`.
        disparity: (N, h, w) in pixels of the scores.
        radius: the distance that counts as close, in pixels of the scores.

    Returns:
        (N, h, w) in 0..1.
    """
    columns = torch.arange(scores.shape[3], device=scores.device)
    match = (columns - disparity).unsqueeze(3)
    return softmax_mean(scores, (columns - match).abs() <= radius, 3)


def warp_rows(features: Tensor, disparity: Tensor) -> Tensor:
    """Take the features (N, h, w, C) at x - disparity by linear interpolation, zero outside.

    Args:
        features: features of the right image.
        disparity: (N, h, w) in pixels of the features.
    """
    batch, height, width, channels = features.shape
    padded = F.pad(features, (0, 0, 1, 1)).reshape(-1, channels)  # a zero at both ends
    row = torch.arange(batch * height, device=features.device).view(batch, height, 1)
    place = torch.arange(1, width + 1, device=features.device) - disparity
    floor = place.floor()
    first = floor.long()
    low, high = (
        padded[row * (width + 2) + (first + step).clamp(0, width + 1)] for step in range(2)
    )
    return torch.lerp(low, high, (place - floor).unsqueeze(3).to(low.dtype))


def local_match(left: Tensor, right: Tensor, radius: int) -> Tensor:
    """Match each left pixel with the right pixels of at most `radius` columns away.

    Args:
        left: features (N, h, w, C).
        right: features of the right image, of the same shape.
        radius: the number of columns to either side.

    Returns:
        The disparity (N, h, w), float32, from -radius to radius.
    """
    width = left.shape[2]
    left, padded = left * left.shape[3] ** -0.5, F.pad(right, (0, 0, radius, radius))
    steps = range(2 * radius + 1)
    scores = torch.stack([(left * padded[:, :, k : k + width]).sum(3) for k in steps], 3).float()
    offsets = torch.arange(-radius, radius + 1, device=left.device)
    match = torch.arange(width, device=left.device)[:, None] + offsets
    scores = torch.where((match >= 0) & (match < width), scores, _NEVER)
    return softmax_mean(scores, -offsets.float(), 3)


def neighbour_mean(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Average the 3x3 neighbours of each pixel, weighted by the softmax of their scores.

    Neighbours outside of the map take part, with the score 0 and the value 0.

    Args:
        queries: (N, C, h, w).
        keys: (N, C, h, w).
        values: (N, K, h, w).

    Returns:
        (N, K, h, w).
    """
    queries = queries * queries.shape[1] ** -0.5
    scores = [(queries * key).sum(1, keepdim=True).to(values.dtype) for key in neighbours(keys)]
    return combine(scores, neighbours(values))


def row_volume(left: Tensor, right: Tensor, radius: int) -> Tensor:
    """Correlate each left pixel with all right pixels of its row and of the rows around it.

    It serves all positions along the rows: `sample_pyramid` takes it as a pyramid of one level.

    Args:
        left: features (N, h, w, C).
        right: features of the right image, of the same shape; they are zero outside.
        radius: the number of rows above and below.

    Returns:
        (N, h, w, 2 * radius + 1, w + 2); zeros at both ends of the last axis stand for what is
        beyond the right row.
    """
    batch, height, width, channels = left.shape
    padded = F.pad(right, (0, 0, 1, 1, radius, radius))
    rows = 2 * radius + 1
    window = torch.cat([padded[:, k : k + height] for k in range(rows)], 2)
    products = (left * channels**-0.5) @ window.transpose(2, 3)
    return products.reshape(batch, height, width, rows, width + 2)
