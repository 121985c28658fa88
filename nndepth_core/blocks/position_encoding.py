"""Position encodings: the position of a pixel as numbers that a network can compare."""

from __future__ import annotations

import torch
from torch import Tensor

from nndepth_core.blocks.resize import steps


def sine_encoding(height: int, width: int, frequencies: Tensor) -> Tensor:
    """Encode columns and rows, counted from 1, by sines and cosines.

    Args:
        height: rows.
        width: columns.
        frequencies: (K,) in radians per pixel.

    Returns:
        (4 K, height, width): sin x, cos x, sin y, cos y for each frequency in turn.
    """
    of_column = _waves(torch.arange(1, width + 1, device=frequencies.device), frequencies)
    of_row = _waves(torch.arange(1, height + 1, device=frequencies.device), frequencies)
    of_column, of_row = of_column[:, :, None, :], of_row[:, :, :, None]
    shape = (-1, 2, height, width)
    return torch.cat((of_column.expand(shape), of_row.expand(shape)), 1).flatten(0, 1)


def window_encoding(height: int, width: int, windows: int, channels: int, like: Tensor) -> Tensor:
    """Encode the position inside of a window, which spans one turn of the slowest wave.

    Source: DETR (Carion et al., ECCV 2020, appendix A.4), in windows as in GMFlow (Xu et al.,
    CVPR 2022).

    Args:
        height: rows, a multiple of `windows`.
        width: columns, a multiple of `windows`.
        windows: number of windows along each axis; all have the same code.
        channels: channels of the code, a multiple of 4.
        like: a tensor on the device of the result.

    Returns:
        (height, width, channels), float32: the rows' sine and cosine of each frequency in turn,
        then those of the columns.
    """
    count = channels // 4
    frequencies = 10000.0 ** (-torch.arange(count, device=like.device) / count)

    def axis(length: int) -> Tensor:
        side = length // windows
        place = torch.arange(length, device=like.device) % side + 1
        return _waves(place * (2 * torch.pi / (side + 1e-6)), frequencies).flatten(0, 1).t()

    of_row = axis(height)[:, None].expand(height, width, 2 * count)
    of_column = axis(width)[None].expand(height, width, 2 * count)
    return torch.cat((of_row, of_column), 2)


def grid_places(image: Tensor, rows: int | Tensor, columns: int | Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels of a grid lie in an image whose half diagonal is 1 (MoGe, CVPR 2025).

    Args:
        image: (..., H, W), of which the aspect ratio and the device count.
        rows: of the grid; a tensor without dimensions while a graph is traced.
        columns: likewise.

    Returns:
        Positions from the centre, those of columns (1, columns) and those of rows (rows, 1).
    """
    height, width = image.shape[-2:]
    diagonal = (height * height + width * width) ** 0.5
    across, down = (
        ((2 * steps(count, image.device) + 1) / count - 1) * (side / diagonal)
        for side, count in ((width, columns), (height, rows))
    )
    return across[None], down[:, None]


def _waves(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Sine and cosine (K, 2, L) of positions (L,) at frequencies (K,)."""
    angles = frequencies[:, None] * positions
    return torch.stack((angles.sin(), angles.cos()), 1)
