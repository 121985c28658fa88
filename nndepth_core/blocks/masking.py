"""Masking of patches: which are removed, and putting tokens back to their places."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mask(NamedTuple):
    """Which patches of a batch of images are removed.

    Attributes:
        kept: indices of those that are kept, in the order of their noise (N, K).
        removed: bool (N, L), in the order of the patches.
    """

    kept: Tensor
    removed: Tensor


def mask_by(noise: Tensor, ratio: float) -> Mask:
    """Remove the patches of largest noise; the same number in all images of a batch.

    Args:
        noise: a random number for each patch (N, L).
        ratio: the part to remove; L * ratio is rounded, and at least one patch is kept and one
            removed.
    """
    count = noise.shape[1]
    keep = min(max(count - round(count * ratio), 1), count - 1)
    kept = noise.argsort(1)[:, :keep]
    return Mask(kept, torch.ones_like(noise, dtype=torch.bool).scatter(1, kept, False))


def take(tokens: Tensor, kept: Tensor) -> Tensor:
    """Take the tokens (N, K, C) of the patches that are kept, out of all (N, L, C)."""
    return tokens.gather(1, kept.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


def put_back(tokens: Tensor, kept: Tensor, filler: Tensor, count: int) -> Tensor:
    """Put tokens (N, K, C) to their places among `count` others, which are the filler (1, 1, C).

    Returns:
        (N, count, C), in the order of the patches.
    """
    places = kept.unsqueeze(2).expand(-1, -1, tokens.shape[2])
    everywhere = filler.to(tokens.dtype).expand(tokens.shape[0], count, -1)
    return everywhere.scatter(1, places, tokens)


def from_patches(values: Tensor, grid: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Lay out patches, whose pixels come by row, column and channel, as an image.

    Args:
        values: (N, rows * columns, height * width * 3).
        grid: rows and columns of patches.
        patch: height and width of a patch.

    Returns:
        (N, 3, rows * height, columns * width).
    """
    pixels = values.reshape(values.shape[0], *grid, *patch, 3)
    return pixels.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
