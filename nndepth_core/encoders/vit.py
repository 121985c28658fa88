"""The vision transformer of masked autoencoders.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377. Joint
encoding of two views follows CroCo (Weinzaepfel et al., NeurIPS 2022, arXiv 2210.10716) in that
each view sees the other one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nndepth_core.blocks.resize import resized_places
from nndepth_core.encoders.dinov2 import Block, Dinov2

_EPSILON = 1e-6
_SAME = 1e-4
"""How far values of a table may differ that stand for the same row or column."""

Size = Literal['tiny', 'small', 'base', 'large']
Grid = tuple[int, int]
"""Rows and columns of patches."""


class VisionTransformer(nn.Module):
    """Tokens of one or two views, one class token and one for each patch.

    Args:
        size: of the transformer.
        patch: height and width of a patch in pixels.
        grid: the patches of an image for which the table of positions is made. For other images
            the table is resized.
        joint: whether the tokens of two views attend to each other.
        dropout: of the tokens that the first layer takes.

    Attributes:
        width: channels of the tokens.
        official_rules: from our entry names to those of MAE.
    """

    shapes: ClassVar[dict[str, tuple[int, int, int]]] = {
        'tiny': (192, 12, 3),
        'small': (384, 12, 6),
        'base': (768, 12, 12),
        'large': (1024, 24, 16),
    }
    """Width, layers and heads by size."""
    official_rules = Dinov2.official_rules

    def __init__(
        self,
        size: Size,
        patch: tuple[int, int],
        grid: Grid,
        *,
        joint: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, layers, heads = self.shapes[size]
        self.patch, self.grid, self.joint = (patch[0], patch[1]), grid, joint
        self.patches = nn.Conv2d(3, self.width, self.patch, self.patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, self.width) * 0.02)
        self.positions = nn.Parameter(sine_table(grid, self.width), requires_grad=False)
        self.views = nn.Parameter(torch.randn(2, 1, self.width) * 0.02) if joint else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = layers_of(self.width, layers, heads)
        self.norm = nn.LayerNorm(self.width, _EPSILON)
        nn.init.xavier_uniform_(self.patches.weight.view(self.width, -1))

    def embed(self, image: Tensor) -> Tensor:
        """Map a normalised image (N, 3, H, W) to tokens (N, L, width) with their positions."""
        patches = self.patches(image)
        places = resized_places(self.positions, self.grid, *patches.shape[-2:])
        return patches.flatten(2).transpose(1, 2) + places

    def forward(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Let tokens attend to each other.

        Args:
            views: tokens of `embed`, all or some of them, (N, L, width) each.

        Returns:
            (N, 1 + L, width) of each view, the class token first.
        """
        first = self.class_token + self.positions[:, :1]
        views = [
            self.dropout(torch.cat((first.expand(view.shape[0], -1, -1), view), 1))
            for view in views
        ]
        return [self.norm(view) for view in attended(self.blocks, views, self.views)]

    def refit(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Resize the tables of positions of a checkpoint to those of this encoder.

        Args:
            state: its entries by our names or MAE's, whatever stands before them.

        Raises:
            ValueError: its patches are of another size, or a table is of no known grid.
        """
        for name, value in state.items():
            patch = tuple(value.shape[2:])
            if (
                name.endswith(('patches.weight', 'patch_embed.proj.weight'))
                and patch != self.patch
            ):
                raise ValueError(
                    f'its patches have {patch[0]}x{patch[1]} pixels, those of the network '
                    f'{self.patch[0]}x{self.patch[1]}; set patch to {list(patch)}'
                )
        return {
            name: refitted_table(value, self.grid)
            if name.endswith(('pos_embed', 'positions'))
            else value
            for name, value in state.items()
        }


def attended(blocks: nn.ModuleList, views: Sequence[Tensor], marks: Tensor | None) -> list[Tensor]:
    """Send the tokens of two views through layers.

    Args:
        blocks: the layers.
        views: tokens (N, L, C) of each view.
        marks: what is added to the tokens of each view (2, 1, C), which then attend to those of
            the other view too; None where each view is alone.
    """
    sequences = [*views]
    if marks is not None:
        sequences = [torch.cat([v + m for v, m in zip(views, marks, strict=True)], 1)]
    for block in blocks:
        sequences = [block(tokens) for tokens in sequences]
    if marks is None:
        return sequences
    length = views[0].shape[1]
    return [sequences[0][:, :length], sequences[0][:, length:]]


def layers_of(width: int, layers: int, heads: int) -> nn.ModuleList:
    """Make the layers of a transformer, with the weights that MAE begins with."""
    blocks = nn.ModuleList(Block(width, heads, scaled=False) for _ in range(layers))
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return blocks


def sine_table(grid: Grid, width: int) -> Tensor:
    """The positions of MAE, (1, 1 + rows * columns, width); that of the class token is zero.

    The first half of the channels holds sines, then cosines of the column, the second half those
    of the row.
    """
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = (
        torch.cat((angles.sin(), angles.cos()), 1)
        for angles in (torch.arange(side)[:, None] * frequencies for side in grid)
    )
    table = torch.cat(
        (
            columns[None].expand(grid[0], -1, -1),
            rows[:, None].expand(-1, grid[1], -1),
        ),
        2,
    ).flatten(0, 1)
    return torch.cat((torch.zeros(1, width), table.float())).unsqueeze(0)


def refitted_table(table: Tensor, grid: Grid) -> Tensor:
    """Resize a table of positions for another grid.

    A table of sines shows its own grid. That of another table has the number of places of the
    wanted one, or its aspect ratio, or else is a square.

    Args:
        table: (1, 1 + L, width).
        grid: the wanted rows and columns.

    Raises:
        ValueError: the table is of no such grid.
    """
    if table.ndim != 3:
        return table
    own = _shown_grid(table) or _likely_grid(table.shape[1] - 1, grid)
    if own is None:
        raise ValueError(
            f'its table of positions has {table.shape[1] - 1} rows, which make no square and no '
            f'grid like {grid[0]}x{grid[1]}; set image to the height and width that it was '
            'trained with: --set image=[HEIGHT,WIDTH], in training --model.image [HEIGHT,WIDTH]'
        )
    if own == grid:
        return table
    return torch.cat((table[:, :1], resized_places(table, own, *grid)), 1)


def _shown_grid(table: Tensor) -> Grid | None:
    """The one grid that a table of `sine_table`, resized or not, can be of; None for others."""
    count, half = table.shape[1] - 1, table.shape[2] // 2
    shown = []
    for columns in (n for n in range(1, count + 1) if count % n == 0):
        places = table[0, 1:].float().unflatten(0, (-1, columns))
        of_columns, of_rows = places[..., :half], places[..., half:]
        if torch.allclose(of_rows, of_rows[:, :1], atol=_SAME) and torch.allclose(
            of_columns, of_columns[:1], atol=_SAME
        ):
            shown.append((count // columns, columns))
    return shown[0] if len(shown) == 1 else None


def _likely_grid(count: int, grid: Grid) -> Grid | None:
    """The grid of `count` places in a table that is to serve another grid; None if unknown."""
    if count == grid[0] * grid[1]:
        return grid
    step = math.gcd(*grid)
    scale = math.isqrt(count * step * step // (grid[0] * grid[1]))
    side = math.isqrt(count)
    alike = grid[0] // step * scale, grid[1] // step * scale
    return next((g for g in (alike, (side, side)) if g[0] * g[1] == count and count), None)
