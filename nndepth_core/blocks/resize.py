"""Resizing by a product with one matrix per axis, whose graph serves every size.

The exporter of TorchScript has no antialiased resize, and binds one by a factor to the size that
it was traced at. Both are products with weights, which a graph can make of the size of its input.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor


def resize_antialiased(image: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Resize as `F.interpolate` does with mode 'bilinear' and antialias.

    Args:
        image: (N, C, H, W).
        height: rows of the result; a tensor without dimensions while a graph is traced.
        width: columns of the result, likewise.

    Returns:
        (N, C, height, width).
    """
    down = _triangles(image.shape[-2], height, image.device)
    across = _triangles(image.shape[-1], width, image.device)
    return _product(down, image, across)


def _triangles(size: int, wanted: int | Tensor, device: torch.device) -> Tensor:
    """Weights (wanted, size) that fall off linearly to the next sample or, if farther, pixel."""
    step = size / wanted
    centres = (steps(wanted, device) + 0.5) * step - 0.5
    away = (steps(size, device) - centres[:, None]).abs()
    weights = torch.maximum(1 - away, 1 - away / step).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def resize_bicubic(
    table: Tensor, height: int | Tensor, width: int | Tensor, excess: float | Tensor = 0.0
) -> Tensor:
    """Resize as `F.interpolate` does with mode 'bicubic' and a factor for each axis.

    Args:
        table: (C, H, W); sizes are fixed.
        height: rows of the result; a tensor without dimensions while a graph is traced.
        width: columns of the result, likewise.
        excess: the factors are (height + excess) / H and (width + excess) / W, which moves the
            samples; with 0 they cover the table exactly.

    Returns:
        (C, height, width).
    """
    down = _cubics(table.shape[-2], height, excess, table.device)
    across = _cubics(table.shape[-1], width, excess, table.device)
    return _product(down, table, across)


def resized_places(
    table: Tensor,
    grid: tuple[int, int],
    rows: int | Tensor,
    columns: int | Tensor,
    excess: float | Tensor = 0.0,
) -> Tensor:
    """Resize a table of positions for a grid of patches, (1, rows * columns, width).

    Args:
        table: (1, 1 + L, width), that of the class token first.
        grid: the patches that the table is of.
        rows: of the wanted grid; a tensor without dimensions while a graph is traced.
        columns: likewise.
        excess: see `resize_bicubic`.
    """
    planes = table[0, 1:].t().unflatten(1, grid)
    return resize_bicubic(planes, rows, columns, excess).flatten(1).t().unsqueeze(0)


def _cubics(
    size: int, wanted: int | Tensor, excess: float | Tensor, device: torch.device
) -> Tensor:
    """Weights (wanted, size) of cubic convolution with the parameter -0.75 (Keys, 1981)."""
    step = size / (wanted + excess)
    centres = (steps(wanted, device) + 0.5) * step - 0.5
    x = (steps(size + 4, device) - 2 - centres[:, None]).abs()
    near = (1.25 * x - 2.25) * x * x + 1
    far = ((-0.75 * x + 3.75) * x - 6) * x + 3
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    first, inner, last = weights.split((3, size - 2, 3), 1)  # outside the border's value holds
    return torch.cat((first.sum(1, keepdim=True), inner, last.sum(1, keepdim=True)), 1)


def _product(down: Tensor, maps: Tensor, across: Tensor) -> Tensor:
    """Apply weights to rows and columns, in float32 whatever autocast wants."""
    with torch.autocast('cuda' if maps.is_cuda else 'cpu', enabled=False):
        return down @ (maps @ across.t())


def steps(count: int | Tensor, device: torch.device) -> Tensor:
    """The numbers 0, 1, 2 ... below a count, float32; the count may be a traced tensor."""
    return torch.arange(cast(int, count), device=device).float()
