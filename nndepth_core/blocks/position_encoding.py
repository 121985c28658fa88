"""Position encodings: the position of a pixel as numbers that a network can compare."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_encoding(height: int, width: int, frequencies: Tensor) -> Tensor:
    """Encode columns and rows, counted from 1, by sines and cosines.

    Args:
        height: rows.
        width: columns.
        frequencies: (K,) in radians per pixel.

    Returns:
        (4 K, height, width): sin x, cos x, sin y, cos y for each frequency in turn.
    """
    columns = frequencies[:, None] * torch.arange(1, width + 1, device=frequencies.device)
    rows = frequencies[:, None] * torch.arange(1, height + 1, device=frequencies.device)
    of_column = torch.stack((columns.sin(), columns.cos()), 1)[:, :, None, :]
    of_row = torch.stack((rows.sin(), rows.cos()), 1)[:, :, :, None]
    shape = (-1, 2, height, width)
    return torch.cat((of_column.expand(shape), of_row.expand(shape)), 1).flatten(0, 1)
