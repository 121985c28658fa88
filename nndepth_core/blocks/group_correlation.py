"""Correlation in small windows around a flow, by channel groups (CREStereo, 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Window = tuple[int, int]
"""Rows and columns of a search window, odd."""


class OffsetCorrelation:
    """Correlates left pixels with a window around their match; its points have learned offsets.

    It is made once for a pair of feature maps and computes what does not depend on the flow.

    Args:
        left: features (N, C, h, w).
        right: features of the same shape.
        offsets: offsets (N, 2 P, h, w) of the P points of every window in pixels; x and y of the
            first point come first.
        windows: search windows of P points each.
        groups: channel groups; divides C.
    """

    def __init__(
        self, left: Tensor, right: Tensor, offsets: Tensor, windows: list[Window], groups: int
    ) -> None:
        self.left = left.unflatten(1, (groups, -1)).unsqueeze(3)
        self.right = right
        deviation = offsets.unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2)
        around = pixel_positions(left) + deviation
        self.pixel = pixel_size(left)
        self.grids = {
            window: (around + window_steps(window, left)[:, None, None]) * self.pixel - 1
            for window in windows
        }

    def __call__(self, flow: Tensor, window: Window) -> Tensor:
        """Correlate around a flow (N, 2, h, w); returns (N, groups * P, h, w), by groups."""
        move = flow.permute(0, 2, 3, 1) * self.pixel
        grid = self.grids[window] + move.unsqueeze(1)
        samples = sample_bilinear(self.right, grid.flatten(1, 2))
        samples = samples.unflatten(2, (grid.shape[1], -1)).unflatten(1, (self.left.shape[1], -1))
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
        self.pixel = pixel_size(left)
        self.grid = pixel_positions(left) * self.pixel - 1

    def __call__(self, flow: Tensor, window: Window) -> Tensor:
        """Correlate around a flow (N, 2, h, w); returns (N, groups * P, h, w), by groups."""
        rows, columns = window
        height, width = flow.shape[-2:]
        grid = self.grid + flow.permute(0, 2, 3, 1) * self.pixel
        warped = sample_bilinear(self.right, grid)
        margins = (columns // 2, columns // 2, rows // 2, rows // 2)
        padded = F.pad(warped, margins, mode='replicate').unflatten(1, (self.left.shape[1], -1))
        bands = [padded[..., y : y + height, :] for y in range(rows)]
        shifted = (band[..., x : x + width] for band in bands for x in range(columns))
        points = [(self.left * right).mean(2, keepdim=True) for right in shifted]
        return torch.cat(points, 2).flatten(1, 2)


def sample_bilinear(features: Tensor, grid: Tensor) -> Tensor:
    """Sample features (N, C, H, W) at x and y (N, h, w, 2); -1 and 1 are the outer pixel centres.

    Outside of the map the features are zero. Returns (N, C, h, w) in the grid's type.
    """
    return F.grid_sample(features.to(grid.dtype), grid, align_corners=True)


def window_steps(window: Window, like: Tensor) -> Tensor:
    """The points (P, 2) of a centred window as x and y in pixels, row by row."""
    rows, columns = window
    return _grid(rows, columns, -(rows // 2), -(columns // 2), like).flatten(0, 1)


def pixel_positions(like: Tensor) -> Tensor:
    """Column and row (h, w, 2) of every pixel of a map (N, C, h, w)."""
    return _grid(like.shape[-2], like.shape[-1], 0, 0, like)


def pixel_size(like: Tensor) -> Tensor:
    """Width and height (2,) of a pixel where -1..1 spans the pixel centres of a map."""
    height, width = like.shape[-2:]
    extent = [torch.full((1,), size - 1, device=like.device) for size in (width, height)]
    return 2 / torch.cat(extent)


def _grid(height: int, width: int, top: int, left: int, like: Tensor) -> Tensor:
    """Column and row (height, width, 2) in float32, since half precision would round them."""
    y, x = torch.meshgrid(
        torch.arange(top, top + height, dtype=torch.float32, device=like.device),
        torch.arange(left, left + width, dtype=torch.float32, device=like.device),
        indexing='ij',
    )
    return torch.stack((x, y), -1)
