"""Correlation in small windows around a flow, by channel groups (CREStereo, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Window = tuple[int, int]
"""Rows and columns of a search window, odd."""


class OffsetCorrelation:
    """Correlates left pixels with a window around their match whose points learned to deviate.

    Made once for a pair of feature maps; what does not depend on the flow is computed here.

    Args:
        left: features (N, C, h, w).
        right: features of the same shape.
        offsets: deviation (N, 2 P, h, w) of the P points of every window in pixels, x and y of
            the first point first.
        windows: search windows of P points each.
        groups: channel groups; divides C.
    """

    def __init__(
        self, left: Tensor, right: Tensor, offsets: Tensor, windows: list[Window], groups: int
    ) -> None:
        self.left = left.unflatten(1, (groups, -1)).unsqueeze(3)
        self.right = right
        deviation = offsets.unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2)
        around = _grid(left.shape[2], left.shape[3], left.device) + deviation
        self.positions = {
            window: around + window_steps(window, left.device)[:, None, None] for window in windows
        }

    def __call__(self, flow: Tensor, window: Window) -> Tensor:
        """Correlate around a flow (N, 2, h, w); returns (N, groups * P, h, w), group by group."""
        positions = self.positions[window] + flow.permute(0, 2, 3, 1).unsqueeze(1)
        points = positions.shape[1]
        samples = sample_bilinear(self.right, positions.flatten(1, 2))
        samples = samples.unflatten(2, (points, -1)).unflatten(1, (self.left.shape[1], -1))
        return (self.left * samples).mean(2).flatten(1, 2)


class WarpedCorrelation:
    """Correlates left pixels with a window of right features that were warped by the flow.

    Args:
        left: features (N, C, h, w).
        right: features of the same shape.
        groups: channel groups; divides C.
    """

    def __init__(self, left: Tensor, right: Tensor, groups: int) -> None:
        self.left = left.unflatten(1, (groups, -1))
        self.right = right
        self.positions = _grid(left.shape[2], left.shape[3], left.device)

    def __call__(self, flow: Tensor, window: Window) -> Tensor:
        """Correlate around a flow (N, 2, h, w); returns (N, groups * P, h, w), group by group."""
        rows, columns = window
        height, width = flow.shape[-2:]
        warped = sample_bilinear(self.right, self.positions + flow.permute(0, 2, 3, 1))
        margins = (columns // 2, columns // 2, rows // 2, rows // 2)
        padded = F.pad(warped, margins, mode='replicate').unflatten(1, (self.left.shape[1], -1))
        bands = [padded[..., y : y + height, :] for y in range(rows)]
        shifted = (band[..., x : x + width] for band in bands for x in range(columns))
        points = [(self.left * right).mean(2, keepdim=True) for right in shifted]
        return torch.cat(points, 2).flatten(1, 2)


def window_steps(window: Window, device: torch.device) -> Tensor:
    """Points (P, 2) of a centred window as x and y, row by row, float32."""
    rows, columns = window
    return _grid(rows, columns, device).flatten(0, 1) - torch.cat(
        [torch.full((1,), size // 2, device=device) for size in (columns, rows)]
    )


def sample_bilinear(features: Tensor, positions: Tensor) -> Tensor:
    """Sample features (N, C, H, W) at column and row (N, h, w, 2); outside lies zero.

    Returns:
        (N, C, h, w).
    """
    height, width = features.shape[-2:]
    x, y = positions.unbind(-1)
    grid = torch.stack((x * (2 / (width - 1)), y * (2 / (height - 1))), -1) - 1
    return F.grid_sample(features.to(grid.dtype), grid, align_corners=True)


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row (height, width, 2) of every pixel; float32, since half would round them."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing='ij',
    )
    return torch.stack((x, y), -1)
