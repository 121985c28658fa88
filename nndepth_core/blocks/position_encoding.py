"""Position encodings: where a pixel is, in numbers a network can compare."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_encoding(height: int, width: int, frequencies: Tensor) -> Tensor:
    """Sines and cosines of columns and rows, counted from 1.

    Args:
        height: rows.
        width: columns.
        frequencies: (K,) in radians a pixel.

    Returns:
        (4 K, height, width): sin x, cos x, sin y, cos y of each frequency in turn.
    """
    columns = frequencies[:, None] * torch.arange(1, width + 1, device=frequencies.device)
    rows = frequencies[:, None] * torch.arange(1, height + 1, device=frequencies.device)
    of_column = torch.stack((columns.sin(), columns.cos()), 1)[:, :, None, :]
    of_row = torch.stack((rows.sin(), rows.cos()), 1)[:, :, :, None]
    shape = (-1, 2, height, width)
    return torch.cat((of_column.expand(shape), of_row.expand(shape)), 1).flatten(0, 1)
