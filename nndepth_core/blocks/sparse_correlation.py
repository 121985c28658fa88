"""Correlation of some of all matches only: those at places with gaps, or the best ones.

The first are of DCVNet (Jiang and Learned-Miller, WACV 2023, arXiv 2103.17271), the second of SCV
(Jiang et al., "Learning optical flow from a few matches", CVPR 2021, arXiv 2104.02166).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_NEVER = -1e9
"""The product of a match that cannot be."""


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


def best_matches(left: Tensor, right: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the best matches of each left pixel among the right pixels that are not to its right.

    Args:
        left: features (N, C, h, w).
        right: features of the right image, of the same shape.
        count: the number of matches, at most w.

    Returns:
        The products of the features, divided by the root of C, the best first; and the columns of
        the matches. Both are (N, h, w, count). Where there are fewer pixels, products are zero.
    """
    columns = torch.arange(left.shape[3], device=left.device)
    rows = left.permute(0, 2, 3, 1) * left.shape[1] ** -0.5
    products = (rows @ right.permute(0, 2, 1, 3)).float()
    best, places = torch.where(columns > columns[:, None], _NEVER, products).topk(count, 3)
    return torch.where(best > _NEVER, best, 0.0), places


def cell_weights(offsets: Tensor, levels: int, radius: int) -> Tensor:
    """Weigh how far matches lie in the cells of windows of several scales (SCV).

    A window has 2 * radius + 1 cells of 2**level pixels, whose middle one is at offset 0. A match
    lies between two cells and counts for both by linear interpolation.

    Args:
        offsets: where the matches lie, in pixels, (N, h, w, K).
        levels: the number of windows.
        radius: the number of cells to either side.

    Returns:
        (N, h, w, levels * (2 * radius + 1), K), one window after the other.
    """
    sizes = 2.0 ** torch.arange(levels, device=offsets.device)
    steps = torch.arange(-radius, radius + 1, device=offsets.device)
    places = offsets.unsqueeze(3) / sizes.repeat_interleave(2 * radius + 1)[:, None]
    return torch.relu(1 - (places - steps.repeat(levels)[:, None]).abs())


def gather_matches(products: Tensor, offsets: Tensor, levels: int, radius: int) -> Tensor:
    """Add up what the matches of each pixel put into the cells of windows around it.

    Args:
        products: result of `best_matches`, (N, h, w, K).
        offsets: where the matches lie in relation to the present estimate, of the same shape.
        levels: see `cell_weights`.
        radius: see `cell_weights`.

    Returns:
        (N, levels * (2 * radius + 1), h, w).
    """
    cells = cell_weights(offsets, levels, radius) @ products.unsqueeze(4)
    return cells[..., 0].permute(0, 3, 1, 2)
