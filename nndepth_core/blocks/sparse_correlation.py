"""Correlation at some of all matches only: at places with gaps, or at the best ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def dilated_correlation(
    left: Tensor,
    right: Tensor,
    rows: Sequence[int],
    columns: Sequence[int],
    dilation: int = 1,
    stride: int = 1,
) -> Tensor:
    """Correlate each left pixel with right pixels at given places around it (DCVNet).

    Left pixel (y, x) lies at (stride * y, stride * x) of the right map.

    Args:
        left: features (N, C, h, w).
        right: features (N, C, stride * h, stride * w), zero outside.
        rows: places above and below, counted in steps downwards.
        columns: places to the sides, counted in steps to the right.
        dilation: size of a step in pixels of the right map.
        stride: how many times finer the right map is.

    Returns:
        The sums over the channels of left * right, (N, len(rows) * len(columns), h, w), the places
        row by row.
    """
    height, width = left.shape[2:]
    across, down = (dilation * max(map(abs, steps)) for steps in (columns, rows))
    padded = F.pad(right, (across, across, down, down)).permute(0, 2, 3, 1)
    steps = across + dilation * torch.tensor(columns, device=left.device)
    places = (stride * torch.arange(width, device=left.device)[:, None] + steps).flatten()
    pixels = left.permute(0, 2, 3, 1).unsqueeze(4)
    products = []
    for row in rows:
        top = down + dilation * row
        found = padded[:, top : top + stride * height : stride].index_select(2, places)
        products.append((found.unflatten(2, (-1, len(columns))) @ pixels)[..., 0])
    return torch.cat(products, 3).permute(0, 3, 1, 2)
